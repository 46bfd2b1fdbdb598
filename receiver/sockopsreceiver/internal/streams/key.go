// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package streams

import (
	"net/netip"
	"unique"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/container"
)

// kind tells a flow from the flows of those that found no room (enum kind of flow.h).
type kind uint8

const (
	kindFlow kind = iota
	kindOverflowIPv4
	kindOverflowIPv6
	kindNamespace // no flow: what is counted for a network namespace, or for the host
)

// overflowFlows is how many overflow flows there can be: two network types, and the
// roles but the listener's.
const overflowFlows = 2 * 3

// key is a flow's identity on the wire: two keys that differ are written with
// attributes that differ. It is small and holds no pointer but one, for the map's sake.
type key struct {
	local, peer         [16]byte // IPv4 as IPv4-mapped IPv6
	localPort, peerPort uint16
	container           unique.Handle[container.ID] // zero: none, or they are not told apart
	netns               uint32                      // 0 unless namespaces are told apart
	role                flowattr.RoleKind
	kind                kind
	held                Held
}

// Held is what the sockets of a flow hold where it differs from the flow's addresses and
// ports, which are those beyond network address translation; else zero.
type Held struct {
	Local, Peer         [16]byte // IPv4 as IPv4-mapped IPv6
	LocalPort, PeerPort uint16
}

// nat gives it as the rest of the project knows it.
func (h *Held) nat() flowattr.NAT {
	n := flowattr.NAT{LocalPort: h.LocalPort, PeerPort: h.PeerPort}
	if h.Local != ([16]byte{}) {
		n.Local = netip.AddrFrom16(h.Local).Unmap()
	}
	if h.Peer != ([16]byte{}) {
		n.Peer = netip.AddrFrom16(h.Peer).Unmap()
	}
	return n
}

// overflow is the flow that counts k if there is no room for k. A listener's drops go
// to the role unknown: an overflow flow has no address, which is all that a listener
// is known by.
func (k *key) overflow() key {
	o := key{kind: kindOverflowIPv6, role: k.role}
	if netip.AddrFrom16(k.local).Is4In6() {
		o.kind = kindOverflowIPv4
	}
	if o.role == flowattr.RoleListener {
		o.role = flowattr.RoleUnknown
	}
	return o
}

// put writes the identity into m.
func (k *key) put(m pcommon.Map) {
	if k.kind != kindNamespace {
		f := k.flow()
		f.Put(m)
	} else if k.netns != 0 {
		f := flowattr.Flow{Role: flowattr.RoleListener, Netns: k.netns}
		f.Put(m)
	}
}

// flow gives the identity as the rest of the project knows it.
func (k *key) flow() flowattr.Flow {
	f := flowattr.Flow{Role: k.role, Netns: k.netns}
	switch k.kind {
	case kindOverflowIPv4, kindOverflowIPv6:
		f.Overflow, f.IPv6 = true, k.kind == kindOverflowIPv6
		return f
	}
	f.Local, f.LocalPort = netip.AddrFrom16(k.local).Unmap(), k.localPort
	if k.container != (unique.Handle[container.ID]{}) {
		id := k.container.Value()
		f.ContainerID, f.PodUID = id.Container, id.Pod
	}
	if k.role != flowattr.RoleListener {
		f.Peer, f.PeerPort = netip.AddrFrom16(k.peer).Unmap(), k.peerPort
		f.NAT = k.held.nat()
	}
	return f
}
