// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"
)

// segments are the subnets of one VPC as ranges that do not overlap, sorted: one short list
// that is searched by halves. A tree for each of thousands of VPCs would be
// some ten places in memory for one look-up, most of them not in the caches.
type segments struct {
	v4 []segment4
	v6 []segment6
}

// A segment begins at an address and ends where the next one does. Its subnet is 0 where
// there is none.
type segment4 struct{ first, subnet uint32 }

type segment6 struct {
	high, low uint64
	subnet    uint32
}

// find gives the number of the subnet that contains a; 0 when there is none.
func (s *segments) find(a netip.Addr) uint32 {
	if a.Is4() {
		address := host4(a)
		lo, hi := 0, len(s.v4) // the last that begins at or before the address is before hi
		for lo < hi {
			if mid := int(uint(lo+hi) >> 1); s.v4[mid].first <= address {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		if lo == 0 {
			return 0
		}
		return s.v4[lo-1].subnet
	}
	high, low := words(a)
	lo, hi := 0, len(s.v6)
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); s.v6[mid].high < high || s.v6[mid].high == high && s.v6[mid].low <= low {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == 0 {
		return 0
	}
	return s.v6[lo-1].subnet
}

// newSegments makes the ranges of a table of subnets. Subnets of a VPC do not overlap; where
// a source says that they do, the longer prefix wins.
func newSegments(t *bart.Table[*SubnetNode]) segments {
	var bounds []netip.Addr
	for p := range t.All() {
		bounds = append(bounds, p.Masked().Addr())
		if next := after(p); next.IsValid() {
			bounds = append(bounds, next)
		}
	}
	slices.SortFunc(bounds, netip.Addr.Compare)
	var s segments
	for _, first := range slices.Compact(bounds) {
		number := uint32(0)
		if n, ok := t.Lookup(first); ok {
			number = n.number
		}
		if first.Is4() {
			s.v4 = append(s.v4, segment4{host4(first), number})
			continue
		}
		high, low := words(first)
		s.v6 = append(s.v6, segment6{high, low, number})
	}
	s.v4 = slices.Clip(slices.CompactFunc(s.v4, func(a, b segment4) bool { return a.subnet == b.subnet }))
	s.v6 = slices.Clip(slices.CompactFunc(s.v6, func(a, b segment6) bool { return a.subnet == b.subnet }))
	return s
}

// after gives the first address behind a prefix; none behind the last one.
func after(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last.Next()
}
