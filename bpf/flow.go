// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

// FlowKey is a flow's identity as the kernel holds it (flow.h). Addresses are IPv6 or
// IPv4-mapped, in network order; ports are in host order.
type FlowKey = sockopsFlowKey

// Flow is what was counted for a flow since the last harvest (flow.h): bytes,
// segments, connections. Arrays are indexed by the constants below.
type Flow = sockopsFlow

// Histogram holds times in microseconds in the buckets of flow.h. The minimum is
// inverted: ^MinUsInverted, if Count is not 0.
type Histogram = sockopsHistogram

// Indexes of [Flow].Retransmissions, Timeouts and Open (enum phase).
const (
	PhaseConnect = iota
	PhaseEstablished
	PhaseClose
	phases
)

// Values of [FlowKey].Role (enum role).
const (
	RoleUnknown = iota
	RoleClient
	RoleServer
	RoleListener
	roles
)

// Values of [FlowKey].Kind (enum kind).
const (
	KindFlow = iota
	KindOverflowIPv4
	KindOverflowIPv6
	KindConnection // to be translated by user space, then added to its flow; see [Options].NAT
)

// Bits of [FlowKey].Ports, of a KindConnection: the ports that are part of the identity of
// the flow that it belongs to.
const (
	PortLocal = 1 << iota
	PortPeer
)

// Indexes of [Flow].Failed (enum failure).
const (
	FailedRefused = iota
	FailedTimedOut
	FailedUnreachable
	FailedAborted
	FailedOther
)

// Indexes of [Flow].Closed (enum closure).
const (
	ClosedOrderly = iota
	ClosedReset
	ClosedAborted
	ClosedTimedOut
	ClosedOther
)
