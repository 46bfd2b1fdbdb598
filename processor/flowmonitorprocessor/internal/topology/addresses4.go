// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"
)

// addresses4 leads from an IPv4 address in a VPC to the interface that has it, as its own or
// in a delegated prefix. It holds no pointer.
//
// Addresses are kept in groups of 16, a /28: the size of a delegated prefix and of the
// smallest subnet. One look-up of the group tells about both, and about an address
// that nobody has; and since subnets are filled, there are few groups, so that
// a million interfaces fit into a processor's caches.
type addresses4 struct {
	groups []group // a hash table; a free one has no bit set
	held   int     // of groups
	ifaces []uint32
}

// group is 20 bytes, three in a cache line.
type group struct {
	block  uint32 // the address without its last four bits
	vpc    uint32
	own    uint16 // a bit for each address that an interface has
	whole  uint16 // 1: an interface has the whole block
	base   uint32 // where the interfaces of the bits begin in ifaces, and then that of the block; without any bit, that itself
	subnet uint32 // of all these interfaces, or several, as no real ones are in
}

type holder struct{ iface, subnet uint32 }

const groupBits = 4

// several stands for the subnet of interfaces that are not in one.
const several = math.MaxUint32

func host4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// slot gives the place of a group, or the free one where it belongs.
func (t *addresses4) slot(vpc, block uint32) int {
	i := scale(spread(uint64(vpc)<<32|uint64(block)), len(t.groups))
	for {
		g := &t.groups[i]
		if g.block == block && g.vpc == vpc || g.free() {
			return i
		}
		if i++; i == len(t.groups) {
			i = 0
		}
	}
}

func (g *group) free() bool { return uint32(g.own)|uint32(g.whole) == 0 }

// find gives the holder of an address, and whether it has it as its own and not in a
// prefix; the zero holder when there is none. Its subnet may be
// several: then the interface tells.
func (t *addresses4) find(vpc, address uint32) (h holder, own bool) {
	if len(t.groups) == 0 {
		return holder{}, false
	}
	g := &t.groups[t.slot(vpc, address>>groupBits)]
	bit := uint16(1) << (address & (1<<groupBits - 1))
	switch {
	case g.own&bit != 0:
		return holder{t.ifaces[g.at(bit)], g.subnet}, true
	case g.whole == 0:
		return holder{}, false
	case g.own == 0:
		return holder{g.base, g.subnet}, false
	}
	return holder{t.ifaces[g.at(0)], g.subnet}, false
}

// at gives the place of the interface with the address of a bit; of bit 0, that of the one
// with the block.
func (g *group) at(bit uint16) int { return int(g.base) + bits.OnesCount16(g.own&(bit-1)) }

// claim notes that somebody will hold an address, or with whole its block. All claims come
// first, then settle, then the holders.
func (t *addresses4) claim(vpc, address uint32, whole bool) {
	if 100*(t.held+1) > fillPercent*len(t.groups) {
		t.grow()
	}
	g := &t.groups[t.slot(vpc, address>>groupBits)]
	if g.free() {
		t.held++
		g.block, g.vpc = address>>groupBits, vpc
	}
	if whole {
		g.whole = 1
		return
	}
	g.own |= 1 << (address & (1<<groupBits - 1))
}

// grow makes room: half as much again, so that little of a table stands empty.
func (t *addresses4) grow() {
	old := t.groups
	t.groups = make([]group, max(16, len(old)+len(old)/2))
	for i := range old {
		if g := &old[i]; !g.free() {
			t.groups[t.slot(g.vpc, g.block)] = *g
		}
	}
}

// settle makes room for the holders.
func (t *addresses4) settle() {
	n := 0
	for i := range t.groups {
		if g := &t.groups[i]; g.own != 0 {
			g.base = uint32(n)
			n += bits.OnesCount16(g.own) + int(g.whole)
		}
	}
	t.ifaces = make([]uint32, n)
}

// hold notes who holds what was claimed; fresh is false when somebody did before, who keeps
// it.
func (t *addresses4) hold(vpc, address uint32, whole bool, h holder) (fresh bool) {
	g := &t.groups[t.slot(vpc, address>>groupBits)]
	at := &g.base
	switch {
	case !whole:
		at = &t.ifaces[g.at(1<<(address&(1<<groupBits-1)))]
	case g.own != 0:
		at = &t.ifaces[g.at(0)]
	}
	if *at != 0 {
		return false
	}
	*at = h.iface
	switch g.subnet {
	case 0, h.subnet:
		g.subnet = h.subnet
	default:
		g.subnet = several
	}
	return true
}
