// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package conntrack follows the kernel's connection tracking, and tells for a TCP
// socket what its two ends are beyond network address translation.
//
//	kernel, per namespace   conntrack ── NEW, DESTROY ─► filter (BPF): TCP, translated
//	                                                       │ one netlink socket each
//	reader (one goroutine)  decode ─► table: both tuples of each translated connection
//	receiver                Sync, then Resolve
//
// Every namespace is read by a socket of its own. What exists at the start comes by a
// dump, later connections by events; events that the kernel had to drop are made good by
// a new dump. Memory is bounded, and what was refused or lost is counted.
//
// The package is for Linux only; elsewhere it is empty.
package conntrack // import "github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/conntrack"
