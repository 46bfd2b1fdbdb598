// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import "time"

// table is what is known of the connections of all namespaces. It is guarded by the
// tracker's lock.
type table struct {
	store
	retention      time.Duration
	oldest, newest int32 // the ended, a queue in the order of their ends
	ended          int
	counts         tableCounts
}

// tableCounts are totals since the start.
type tableCounts struct {
	refused    uint64 // connections for which there was no room
	evicted    uint64 // ended ones that went before their time, to make room
	superseded uint64 // connections of which the end was seen only by the begin of another
}

// origin says where a message came from.
type origin struct {
	netns uint32
	round uint32        // number of the namespace's last dump
	began time.Duration // when that one did
	dump  bool          // the message is a line of it, else an event
}

func newTable(capacity int, retention time.Duration) *table {
	return &table{store: newStore(capacity), retention: retention}
}

// open is told that a connection is there.
func (t *table) open(c *connection, from origin, now time.Duration) {
	for e := t.first(&c.original); e != 0; e = t.next(e) {
		i := e.record()
		r := t.at(i)
		if e.direction() != original || r.netns != from.netns || r.zone != c.zone || r.tuples[original] != c.original {
			continue
		}
		switch {
		case r.id == c.id && r.tuples[reply] == c.reply:
			t.again(i, r, from, now)
			return
		case r.state == ended:
		case from.dump && r.round == from.round:
			return // this one ended, and that one began, after the dump had read it
		default:
			// A tuple belongs to one connection of a zone: the end of that one was missed.
			t.counts.superseded++
			t.end(i, r, now)
		}
	}
	t.insert(c, from, now)
}

// again is told that a connection is there which is known.
func (t *table) again(i int32, r *record, from origin, now time.Duration) {
	if r.state == ended {
		if from.dump && r.since >= from.began {
			return // it ended after the dump had read it
		}
		t.unqueue(i, r)
		r.state, r.since = live, now
	}
	r.round = from.round
	if !from.dump {
		r.marks &^= byDump
	}
}

// close is told that a connection has ended.
func (t *table) close(c *connection, from origin, now time.Duration) {
	for e := t.first(&c.original); e != 0; e = t.next(e) {
		r := t.at(e.record())
		if e.direction() == original && r.netns == from.netns && r.zone == c.zone && r.id == c.id &&
			r.tuples[original] == c.original && r.tuples[reply] == c.reply {
			if r.state == live {
				t.end(e.record(), r, now)
			}
			return
		}
	}
	// It was there before anybody looked. The last counts of its socket may yet come, and
	// so may a line of a dump that was read before its end.
	if i, r := t.insert(c, from, now); r != nil {
		t.end(i, r, now)
	}
}

// insert makes a record, live, if need be in place of the one that ended first.
func (t *table) insert(c *connection, from origin, now time.Duration) (int32, *record) {
	if t.held == t.capacity && t.oldest != 0 {
		t.counts.evicted++
		t.forget(t.oldest)
	}
	i, r := t.add([directions]tuple{original: c.original, reply: c.reply})
	if r == nil {
		t.counts.refused++
		return 0, nil
	}
	r.netns, r.zone, r.id, r.round, r.since = from.netns, c.zone, c.id, from.round, now
	if from.dump {
		r.marks |= byDump
	}
	return i, r
}

// end ends a live record.
func (t *table) end(i int32, r *record, now time.Duration) {
	r.state, r.since = ended, now
	r.older, r.newer = t.newest, 0
	if t.newest != 0 {
		t.at(t.newest).newer = i
	} else {
		t.oldest = i
	}
	t.newest = i
	t.ended++
}

// unqueue takes an ended record out of the queue.
func (t *table) unqueue(i int32, r *record) {
	if r.older != 0 {
		t.at(r.older).newer = r.newer
	} else {
		t.oldest = r.newer
	}
	if r.newer != 0 {
		t.at(r.newer).older = r.older
	} else {
		t.newest = r.older
	}
	t.ended--
}

// forget removes an ended record.
func (t *table) forget(i int32) {
	t.unqueue(i, t.at(i))
	t.remove(i)
}

// expire forgets what ended longer ago than the retention.
func (t *table) expire(now time.Duration) {
	for t.oldest != 0 && now-t.at(t.oldest).since > t.retention {
		t.forget(t.oldest)
	}
}

// sweep ends what a whole dump has not shown, and says how many of the namespace's
// connections are known by dumps only.
func (t *table) sweep(netns, round uint32, now time.Duration) (known int) {
	t.each(func(i int32, r *record) {
		switch {
		case r.netns != netns || r.state != live:
		case r.round != round:
			t.end(i, r, now)
		case r.marks&byDump != 0:
			known++
		}
	})
	return known
}

// leave ends everything in a namespace that is followed no longer.
func (t *table) leave(netns uint32, now time.Duration) {
	t.each(func(i int32, r *record) {
		if r.netns == netns && r.state == live {
			t.end(i, r, now)
		}
	})
}
