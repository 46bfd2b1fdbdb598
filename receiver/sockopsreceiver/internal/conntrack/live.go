// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import "net/netip"

// Socket is what the socket at one end of a translated connection holds, if that end is on
// this machine.
type Socket struct {
	Local, Peer netip.AddrPort
	Client      bool // it opened the connection
}

// Live hands over both ends of each connection that has not ended, in no order. What
// begins or ends meanwhile may be missing or there. The tracker may be used by yield.
func (t *Tracker) Live(yield func(Socket)) {
	var sockets []Socket
	for chunk := 0; ; chunk++ {
		var more bool
		sockets, more = t.liveOf(chunk, sockets[:0])
		for _, s := range sockets {
			yield(s)
		}
		if !more {
			return
		}
	}
}

// liveOf collects from one chunk of records, so that the lock is not held for long.
func (t *Tracker) liveOf(chunk int, into []Socket) (sockets []Socket, more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if chunk >= len(t.table.chunks) {
		return into, false
	}
	for i := range t.table.chunks[chunk] {
		r := &t.table.chunks[chunk][i]
		if r.netns == 0 || r.state != live {
			continue
		}
		for d, tuple := range r.tuples {
			into = append(into, Socket{Local: tuple.source(), Peer: tuple.destination(), Client: direction(d) == original})
		}
	}
	return into, true
}
