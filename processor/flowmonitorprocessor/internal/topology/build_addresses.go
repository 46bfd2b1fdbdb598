// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"
)

// addresses fills the tables that lead from an address to an interface.
func (b *builder) addresses() {
	x := b.x
	v6 := 0
	b.eachAddress(func(vpc, _ uint32, a netip.Addr) {
		if a.Is4() {
			x.addresses4.claim(vpc, host4(a), false)
		} else {
			v6++
		}
	})
	lengths := map[int]int{}
	b.eachPrefix(func(i uint32, p netip.Prefix) {
		if isGroup(p) {
			x.addresses4.claim(b.vpcOf(i), host4(p.Addr()), true)
		} else {
			lengths[length(p)]++
		}
	})
	x.addresses4.settle()
	x.addresses6 = newAddresses6(v6)
	for length, n := range lengths {
		x.delegated = append(x.delegated, newDelegated(length, n))
	}
	slices.SortFunc(x.delegated, func(a, c delegated) int { return cmp.Compare(c.length, a.length) })

	b.eachAddress(func(vpc, i uint32, a netip.Addr) {
		fresh := false
		if a.Is4() {
			fresh = x.addresses4.hold(vpc, host4(a), false, b.holder(i))
		} else {
			high, low := words(a)
			fresh = x.addresses6.hold(vpc, high, low, b.holder(i))
		}
		if fresh && vpc != everywhere {
			x.held++
			b.stray(i, host(a))
		}
	})
	b.eachPrefix(func(i uint32, p netip.Prefix) {
		if isGroup(p) {
			x.addresses4.hold(b.vpcOf(i), host4(p.Addr()), true, b.holder(i))
		} else {
			k := slices.IndexFunc(x.delegated, func(d delegated) bool { return d.length == length(p) })
			high, low := words(p.Masked().Addr())
			x.delegated[k].hold(b.vpcOf(i), high, low, b.holder(i))
		}
		b.stray(i, p)
	})
}

// isGroup tells the prefixes that AWS delegates.
func isGroup(p netip.Prefix) bool { return p.Addr().Is4() && p.Bits() == 32-groupBits }

// length is that of the prefix as an IPv6 one.
func length(p netip.Prefix) int {
	if p.Addr().Is4() {
		return mapped + p.Bits()
	}
	return p.Bits()
}

func (b *builder) holder(i uint32) holder { return holder{i, b.x.interfaces[i].subnet} }

func (b *builder) vpcOf(i uint32) uint32 { return b.x.subnetList[b.x.interfaces[i].subnet].VPC.number }

// eachAddress calls f for each address and the interface that has it, with the number of
// the VPC in which it means that.
func (b *builder) eachAddress(f func(vpc, iface uint32, a netip.Addr)) {
	hold := func(i uint32, a netip.Addr) {
		if a.IsValid() {
			f(b.vpcOf(i), i, a)
		}
	}
	public := func(i uint32, a netip.Addr) {
		if a.IsValid() {
			f(everywhere, i, a)
		}
	}
	for i, m := range b.made() {
		for _, a := range m.PrivateIPAddresses {
			hold(i, a)
		}
		for _, a := range m.IPv6Addresses {
			hold(i, a)
		}
		for k := range m.Associations {
			public(i, m.Associations[k].PublicIP)
		}
	}
	for k := range b.t.NATGateways {
		m := &b.t.NATGateways[k]
		for j := range m.NATGatewayAddresses {
			a := &m.NATGatewayAddresses[j]
			if i := b.holderOf(m, a); i != 0 {
				hold(i, a.PrivateIP)
				public(i, a.PublicIP)
			}
		}
	}
}

// made gives the interfaces that were made, with what they were made from.
func (b *builder) made() iter.Seq2[uint32, *NetworkInterface] {
	return func(yield func(uint32, *NetworkInterface) bool) {
		for n := 1; n < len(b.from); n++ {
			if !yield(uint32(n), &b.t.NetworkInterfaces[b.from[n]]) {
				return
			}
		}
	}
}

// eachPrefix calls f for each delegated prefix and the interface that has it.
func (b *builder) eachPrefix(f func(iface uint32, p netip.Prefix)) {
	for i, m := range b.made() {
		for _, list := range [...][]netip.Prefix{m.IPv4Prefixes, m.IPv6Prefixes} {
			for _, p := range list {
				if p.Bits() > 0 { // neither none nor all addresses
					f(i, p)
				}
			}
		}
	}
}

// stray notes an address or prefix that cannot be found by the subnet of its interface.
func (b *builder) stray(i uint32, p netip.Prefix) {
	if isStray(b.x.subnetList[b.x.interfaces[i].subnet], p) {
		b.x.strays.Modify(p, func(old []uint32, _ bool) ([]uint32, bool) { return append(old, i), false })
	}
}
