// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package nat

// beyond is what a flow is beyond translation: addresses as in bpf.FlowKey, and those
// ports that are part of the flow's identity; the other is 0.
type beyond struct {
	local, peer         [16]byte
	localPort, peerPort uint16
}

// names gives numbers to what flows are beyond translation: the ids that the kernel's
// flows bear. A number lives as long as a tuple that was told of it, and two rounds more.
//
// An id is the number of the series, and below it that of the name. Each process has a
// series of its own, so that rows that were counted for an earlier one are told apart.
type names struct {
	series uint32
	ids    map[beyond]uint32
	known  []name // by number; the first is none
	free   []uint32
	// Ids without a user, of this round and of the one before: rows of the flow table that
	// the kernel is filling may still bear them.
	leaving, left []uint32
	restored      map[uint32]beyond // of earlier series
}

type name struct {
	beyond
	users int
}

const (
	// Of a million names a quarter can be in use (maxTold), and those of two rounds leaving.
	seriesShift = 20
	// Series are used again after so many processes. The last one is not used: bpf.AskTranslation
	// would be in it.
	seriesCount = 1<<(32-seriesShift) - 1
)

func newNames() names {
	return names{ids: map[beyond]uint32{}, known: make([]name, 1), restored: map[uint32]beyond{}}
}

// at gives the name of an id of this series.
func (n *names) at(id uint32) *name { return &n.known[id&(1<<seriesShift-1)] }

// acquire gives the id of b to one more user.
func (n *names) acquire(b beyond) uint32 {
	id, ok := n.ids[b]
	if !ok {
		if last := len(n.free) - 1; last >= 0 {
			id = n.free[last]
			n.free = n.free[:last]
		} else {
			id = n.series<<seriesShift | uint32(len(n.known))
			n.known = append(n.known, name{})
		}
		n.at(id).beyond = b
		n.ids[b] = id
	}
	n.at(id).users++
	return id
}

// release takes the id back from one user.
func (n *names) release(id uint32) {
	k := n.at(id)
	k.users--
	if k.users == 0 {
		n.leaving = append(n.leaving, id)
	}
}

// of gives what an id stands for.
func (n *names) of(id uint32) (beyond, bool) {
	if id>>seriesShift != n.series {
		b, ok := n.restored[id]
		return b, ok
	}
	if number := id & (1<<seriesShift - 1); int(number) < len(n.known) {
		b := n.known[number].beyond
		return b, b != beyond{}
	}
	return beyond{}, false
}

// nextRound frees the ids that nobody has used since the round before: no row is left
// that bears them.
func (n *names) nextRound() {
	for _, id := range n.left {
		if k := n.at(id); k.users == 0 && k.beyond != (beyond{}) { // it may have come here twice
			delete(n.ids, k.beyond)
			k.beyond = beyond{}
			n.free = append(n.free, id)
		}
	}
	n.left, n.leaving = n.leaving, n.left[:0]
}
