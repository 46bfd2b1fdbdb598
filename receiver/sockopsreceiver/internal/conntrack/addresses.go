// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"net/netip"
	"time"
)

// maxAddresses is how many addresses of this machine are held: 256 for each of 256
// namespaces, or a host that has every service's (kube-proxy in IPVS mode). 3 MB at most.
const maxAddresses = 65_536

// addresses are those of the interfaces of all namespaces that are followed: whose they
// are tells whether the other end of a connection is on this machine. It is guarded by
// the tracker's lock.
//
// An address that several namespaces have counts like any other. Namespaces of one machine
// that have the same ones are nested nodes or separate networks: the other end is in one of
// them, for an address that is here is not routed to from elsewhere.
type addresses struct {
	seen     map[[16]byte]time.Duration // when last
	capacity int
	asOf     time.Duration // begin of the last look that saw all
	refused  int           // in the last look
}

func newAddresses(capacity int) addresses {
	return addresses{seen: map[[16]byte]time.Duration{}, capacity: capacity}
}

// update takes over what a look that began at that time has found. What is no longer there
// is kept for a while, like the connections: the last counts of a pod's come after its end.
func (a *addresses) update(found [][16]byte, began time.Duration, whole bool, keep time.Duration) {
	for address, seen := range a.seen {
		if began-seen > keep {
			delete(a.seen, address)
		}
	}
	a.refused = 0
	if whole {
		a.asOf = began
	}
	for _, address := range found {
		if _, known := a.seen[address]; !known && len(a.seen) >= a.capacity {
			a.refused++
			continue
		}
		a.seen[address] = began
	}
}

// has says whether an address is one of this machine. A loopback address is whenever
// this machine's conntrack has seen it.
func (a *addresses) has(address [16]byte) bool {
	if _, ok := a.seen[address]; ok {
		return true
	}
	return netip.AddrFrom16(address).Unmap().IsLoopback()
}

// peerHere says whether the end to which a record's packets of direction d go at last is
// on this machine. It is decided once for a connection, so that its flow stays the same
// when a pod's address goes before the connection does; "no", only by a look at the
// addresses that is younger than the record.
func (a *addresses) peerHere(r *record, d direction) bool {
	switch {
	case r.marks&here(d) != 0:
		return true
	case r.marks&elsewhere(d) != 0:
		return false
	case a.has(r.beyond(d).dst):
		r.marks |= here(d)
		return true
	case a.asOf > r.since:
		r.marks |= elsewhere(d)
	}
	return false
}
