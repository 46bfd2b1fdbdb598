// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// read reads what there is from each namespace that has something. more is true if
// something is left.
func (r *reader) read() (read, more bool) {
	for i, n := range r.order {
		if r.polled[i+1].Revents != 0 {
			r.drain(n)
			read, more = true, more || n.left
		}
	}
	return read, more
}

// drain reads one socket until nothing is left, or its turn is over.
func (r *reader) drain(n *namespace) {
	n.left = true
	for range turn {
		count, err := r.batch.receive(n.socket)
		switch {
		case err == nil:
			r.tracker.apply(func(t *table, now time.Duration) { r.datagrams(t, n, count, now) })
		case errors.Is(err, unix.EAGAIN):
			n.left = false
			return
		case errors.Is(err, unix.EINTR):
		default: // ENOBUFS, as a rule: the kernel drops everything until all is read
			r.lost(n)
		}
	}
}

// lost notes that events are missing, and has them made good by a dump. What began and
// ended in between stays unknown.
func (r *reader) lost(n *namespace) {
	n.overrun, n.wanted = true, true
	r.tracker.count(func(s *Stats) {
		s.Overruns++
		s.EventsLost += n.missing()
	})
}

// datagrams applies a batch to the table.
func (r *reader) datagrams(t *table, n *namespace, count int, now time.Duration) {
	for i := range count {
		rest, valid := r.batch.datagram(i)
		for valid {
			h, payload, after, ok := message(rest)
			if !ok {
				valid = len(rest) == 0
				break
			}
			rest = after
			valid = r.message(t, n, h, payload, now)
		}
		if !valid {
			r.tracker.stats.Malformed++
		}
	}
}

// message applies one message. It returns false if it is not what the kernel writes.
func (r *reader) message(t *table, n *namespace, h header, payload []byte, now time.Duration) bool {
	from := n.origin
	from.dump = h.flags&unix.NLM_F_MULTI != 0
	if from.dump && (!n.dumping || h.sequence != n.dump) {
		return true // the rest of a dump that is not believed any more
	}
	switch h.kind {
	case typeNew, typeDestroy:
		if !from.dump {
			r.tracker.stats.Events++
		}
		var c connection
		switch decode(payload, &c) {
		case malformed:
			return false
		case irrelevant:
			return true
		}
		if h.kind == typeNew {
			t.open(&c, from, now)
		} else {
			t.close(&c, from, now)
		}
	case unix.NLMSG_ERROR, unix.NLMSG_DONE:
		r.answer(t, n, h, errno(payload), now)
	}
	return true
}

// answer takes the end of a dump, or the acknowledgement of a barrier.
func (r *reader) answer(t *table, n *namespace, h header, failure unix.Errno, now time.Duration) {
	if !n.dumping || h.sequence != n.dump {
		n.pass(h.sequence)
		return
	}
	n.dumping = false
	if failure != 0 {
		r.refused(n, now)
		return
	}
	n.pass(n.dump)
	n.refusals = 0
	r.tracker.stats.Dumps++
	n.reconcile = 0
	if n.overrun {
		return // what it has not shown may be there all the same; another one follows
	}
	if t.sweep(n.origin.netns, n.origin.round, now) > 0 {
		n.reconcile = now + r.tracker.settings.ReconcileInterval
	}
}

// tend begins the dumps that are due, and ends the waiting of those who need wait no
// longer.
func (r *reader) tend() {
	r.tracker.apply(func(t *table, now time.Duration) {
		t.expire(now)
		for _, n := range r.order {
			due := n.wanted && now >= n.notBefore || n.reconcile != 0 && now >= n.reconcile
			if due && !n.dumping && !n.left {
				r.dump(n, now)
			}
		}
	})
	waits := r.waits[:0]
	for _, w := range r.waits {
		if w.over() {
			close(w.done)
		} else {
			waits = append(waits, w)
		}
	}
	clear(r.waits[len(waits):])
	r.waits = waits
}

func (w *wait) over() bool {
	for _, n := range w.on {
		if !n.synced(w.barrier) {
			return false
		}
	}
	return true
}

// dump asks for everything that the namespace knows.
func (r *reader) dump(n *namespace, now time.Duration) {
	r.tracker.stats.EventsLost += n.missing() // as long as anything was left, the kernel dropped the rest
	r.number++
	n.origin.round++
	n.origin.began = now
	n.dump, n.dumping, n.wanted, n.overrun, n.reconcile = r.number, true, false, false, 0
	if err := n.socket.send(dumpRequest(n.dump)); err != nil {
		n.dumping = false
		r.refused(n, now)
	}
}

// refused has a dump asked for again, which the kernel has refused: ever later, should it
// have no ctnetlink at all.
func (r *reader) refused(n *namespace, now time.Duration) {
	r.tracker.stats.DumpFailures++
	n.wanted, n.notBefore = true, now+retry<<n.refusals
	n.refusals = min(n.refusals+1, refusalsCounted)
}
