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
type names struct {
	ids   map[beyond]uint32
	known []name // by id; the first is none
	free  []uint32
	// Ids without a user, of this round and of the one before: rows of the flow table that
	// the kernel is filling may still bear them.
	leaving, left []uint32
}

type name struct {
	beyond
	users int
}

func newNames() names {
	return names{ids: map[beyond]uint32{}, known: make([]name, 1)}
}

// acquire gives the id of b to one more user.
func (n *names) acquire(b beyond) uint32 {
	id, ok := n.ids[b]
	if !ok {
		if last := len(n.free) - 1; last >= 0 {
			id = n.free[last]
			n.free = n.free[:last]
		} else {
			id = uint32(len(n.known))
			n.known = append(n.known, name{})
		}
		n.known[id].beyond = b
		n.ids[b] = id
	}
	n.known[id].users++
	return id
}

// release takes the id back from one user.
func (n *names) release(id uint32) {
	k := &n.known[id]
	k.users--
	if k.users == 0 {
		n.leaving = append(n.leaving, id)
	}
}

// of gives what an id stands for.
func (n *names) of(id uint32) (beyond, bool) {
	if int64(id) >= int64(len(n.known)) {
		return beyond{}, false
	}
	b := n.known[id].beyond
	return b, b != beyond{}
}

// nextRound frees the ids that nobody has used since the round before: no row is left
// that bears them.
func (n *names) nextRound() {
	for _, id := range n.left {
		if k := &n.known[id]; k.users == 0 && k.beyond != (beyond{}) { // it may have come here twice
			delete(n.ids, k.beyond)
			k.beyond = beyond{}
			n.free = append(n.free, id)
		}
	}
	n.left, n.leaving = n.leaving, n.left[:0]
}
