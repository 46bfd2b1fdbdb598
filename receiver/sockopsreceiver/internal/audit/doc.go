// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package audit compares what the flows of a network namespace counted with what the
// kernel counted there by itself, in /proc/<pid>/net/snmp. The two have nothing in
// common but the traffic: what a socket that nobody watched did shows as a difference.
//
//	seen by the kernel        covered by the flows
//	ActiveOpens               connections attempted
//	PassiveOpens              connections opened by servers
//	RetransSegs               retransmissions, and SYN-ACKs sent again for handshakes that
//	                          were not completed
//	OutSegs + RetransSegs     segments out (OutSegs is without retransmissions); see segments.go
//	                          for those that no socket sent
//
// The two are not read at one moment. The kernel's counters are read before the harvest
// (S₁) and after it (S₂); what the flows covered up to it (C) lies between them if nothing
// is lost. So in all rounds since the first (0) at least (S₁ − S₂⁰) − (C − C⁰) were lost,
// whatever happened meanwhile; that much, and no more, is reported, once it has stood for
// a whole round. What was counted twice is at least (C − C⁰) − (S₂ − S₁⁰).
package audit // import "github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/audit"
