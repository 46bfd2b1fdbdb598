// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"hash/maphash"
	"net/netip"
)

// tuple is one direction of a connection: who sends, and to whom. Addresses are IPv6 or
// IPv4-mapped, in network order; ports are in host order. It holds no pointer, so that the
// garbage collector need not look at a table of them.
type tuple struct {
	src, dst         [16]byte
	srcPort, dstPort uint16
}

func tupleOf(src, dst netip.AddrPort) tuple {
	return tuple{src: src.Addr().As16(), dst: dst.Addr().As16(), srcPort: src.Port(), dstPort: dst.Port()}
}

// inverse is the same packets' way back.
func (t *tuple) inverse() tuple {
	return tuple{src: t.dst, dst: t.src, srcPort: t.dstPort, dstPort: t.srcPort}
}

func (t *tuple) source() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(t.src).Unmap(), t.srcPort)
}

func (t *tuple) destination() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(t.dst).Unmap(), t.dstPort)
}

// seed makes hashes unpredictable: the other ends of connections choose the tuples.
var seed = maphash.MakeSeed()

func (t *tuple) hash() uint64 { return maphash.Comparable(seed, *t) }
