// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"encoding/binary"
	"net/netip"
)

// addresses6 leads from an IPv6 address in a VPC to the interface that has it, or from the
// first address of a block to the interface that has the block. It holds no pointer.
type addresses6 struct {
	slots []slot6 // a hash table
}

// slot6 is 32 bytes, two in a cache line.
type slot6 struct {
	high, low uint64
	vpc       uint32
	holder    // of interface 0: the slot is free
	_         uint32
}

// fillPercent is how full a hash table gets, in percent: at 60, what is there takes 1.75 tries on
// average, and what is not 3.6 (Knuth, The Art of Computer Programming, volume 3, section
// 6.4), most of them in one cache line.
const fillPercent = 60

func words(a netip.Addr) (high, low uint64) {
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}

func newAddresses6(n int) addresses6 {
	if n == 0 {
		return addresses6{}
	}
	return addresses6{slots: make([]slot6, n*100/fillPercent+1)}
}

// slot gives the place of an address, or the free one where it belongs.
func (t *addresses6) slot(vpc uint32, high, low uint64) int {
	// The two halves meet in different multiplications, or else addresses that differ by the
	// same bits in both would meet in one slot.
	i := scale(spread(uint64(spread(high))<<32^low^uint64(vpc)<<7), len(t.slots))
	for {
		s := &t.slots[i]
		if s.low == low && s.high == high && s.vpc == vpc || s.iface == 0 {
			return i
		}
		if i++; i == len(t.slots) {
			i = 0
		}
	}
}

// find gives the holder; the zero one when there is none.
func (t *addresses6) find(vpc uint32, high, low uint64) holder {
	if len(t.slots) == 0 {
		return holder{}
	}
	return t.slots[t.slot(vpc, high, low)].holder
}

// hold notes who holds an address; fresh is false when somebody did before, who keeps it.
// There is room: every address was counted before.
func (t *addresses6) hold(vpc uint32, high, low uint64, h holder) (fresh bool) {
	s := &t.slots[t.slot(vpc, high, low)]
	if s.iface != 0 {
		return false
	}
	*s = slot6{high: high, low: low, vpc: vpc, holder: h}
	return true
}

// delegated are the delegated prefixes of one length that are no /28: AWS has /80 only, a
// file may have any.
type delegated struct {
	length    int
	high, low uint64 // the mask
	addresses6
}

func newDelegated(length, n int) delegated {
	d := delegated{length: length, addresses6: newAddresses6(n)}
	if length <= 64 {
		d.high = ^uint64(0) << (64 - length)
	} else {
		d.high, d.low = ^uint64(0), ^uint64(0)<<(128-length)
	}
	return d
}
