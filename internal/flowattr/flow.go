// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowattr

import (
	"net/netip"
	"strconv"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// RoleKind says who opened the connections of a flow.
type RoleKind uint8

// Roles of the local end. RoleListener is no value of [Role]: such a flow carries
// only listen drops, under the listener's address and port.
const (
	RoleUnknown RoleKind = iota
	RoleClient
	RoleServer
	RoleListener
)

func (r RoleKind) String() string {
	switch r {
	case RoleClient:
		return "client"
	case RoleServer:
		return "server"
	}
	return "unknown"
}

func roleOf(s string) RoleKind {
	switch s {
	case "client":
		return RoleClient
	case "server":
		return RoleServer
	}
	return RoleUnknown
}

// Flow is the identity of a flow as one end sees it. It is comparable, so that it
// can be the key of a map, and holds no pointer but the container's strings.
// A zero address or port is absent on the wire. Addresses are unmapped: an
// IPv4-mapped IPv6 address is IPv4.
type Flow struct {
	Local, Peer         netip.Addr
	LocalPort, PeerPort uint16 // the server's port only: at the end that is the server
	Role                RoleKind
	Overflow            bool // all flows that did not fit, of one network type and role
	IPv6                bool // network.type of an overflow flow, which has no address
	Netns               uint32
	ContainerID, PodUID string
	NAT                 NAT
}

// NAT holds what the socket itself had where network address translation changed it.
type NAT struct {
	Local, Peer         netip.Addr
	LocalPort, PeerPort uint16
}

// Put writes the identity into m, which is expected to hold none yet.
func (f *Flow) Put(m pcommon.Map) {
	m.EnsureCapacity(8)
	if f.Role == RoleListener {
		putEnd(m, NetworkLocalAddress, NetworkLocalPort, f.Local, f.LocalPort)
		f.putNetns(m)
		return
	}
	v6 := f.IPv6
	if f.Overflow {
		m.PutBool(Overflow, true)
	} else {
		m.PutStr(NetworkTransport, TransportTCP)
		v6 = f.Local.Is6()
	}
	if v6 {
		m.PutStr(NetworkType, TypeIPv6)
	} else {
		m.PutStr(NetworkType, TypeIPv4)
	}
	m.PutStr(Role, f.Role.String())
	if f.Overflow {
		return
	}
	putEnd(m, NetworkLocalAddress, NetworkLocalPort, f.Local, f.LocalPort)
	putEnd(m, NetworkPeerAddress, NetworkPeerPort, f.Peer, f.PeerPort)
	putEnd(m, NATLocalAddress, NATLocalPort, f.NAT.Local, f.NAT.LocalPort)
	putEnd(m, NATPeerAddress, NATPeerPort, f.NAT.Peer, f.NAT.PeerPort)
	f.putNetns(m)
	if f.ContainerID != "" {
		m.PutStr(ContainerID, f.ContainerID)
	}
	if f.PodUID != "" {
		m.PutStr(PodUID, f.PodUID)
	}
}

func (f *Flow) putNetns(m pcommon.Map) {
	if f.Netns != 0 {
		m.PutStr(Netns, strconv.FormatUint(uint64(f.Netns), 10))
	}
}

func putEnd(m pcommon.Map, addressKey, portKey string, a netip.Addr, port uint16) {
	if a.IsValid() {
		m.PutStr(addressKey, a.String())
	}
	if port != 0 {
		m.PutInt(portKey, int64(port))
	}
}

// Read gives the identity that a data point carries. ok is false for a point that is
// no flow's: one with neither a flow.role nor the overflow mark. Unknown attributes
// are passed over; a malformed address is absent.
func Read(m pcommon.Map) (f Flow, ok bool) {
	for k, v := range m.All() {
		switch k {
		case Role:
			f.Role, ok = roleOf(v.Str()), true
		case Overflow:
			f.Overflow, ok = v.Bool(), true
		case NetworkType:
			f.IPv6 = v.Str() == TypeIPv6
		case NetworkLocalAddress:
			f.Local = address(v)
		case NetworkPeerAddress:
			f.Peer = address(v)
		case NetworkLocalPort:
			f.LocalPort = port(v)
		case NetworkPeerPort:
			f.PeerPort = port(v)
		case NATLocalAddress:
			f.NAT.Local = address(v)
		case NATPeerAddress:
			f.NAT.Peer = address(v)
		case NATLocalPort:
			f.NAT.LocalPort = port(v)
		case NATPeerPort:
			f.NAT.PeerPort = port(v)
		case ContainerID:
			f.ContainerID = v.Str()
		case PodUID:
			f.PodUID = v.Str()
		case Netns:
			n, _ := strconv.ParseUint(v.Str(), 10, 32)
			f.Netns = uint32(n)
		}
	}
	if !f.Overflow {
		f.IPv6 = false
	}
	return f, ok
}

func address(v pcommon.Value) netip.Addr { return ParseAddress(v.Str()) }

func port(v pcommon.Value) uint16 {
	if n := v.Int(); n > 0 && n <= 65535 {
		return uint16(n)
	}
	return 0
}
