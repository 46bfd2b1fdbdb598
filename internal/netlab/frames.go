// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import "time"

// frameQueue is a queue of frames with the time at which each is due. Its memory
// is used again; it grows to the most frames that were ever held at once.
type frameQueue struct {
	ring []heldFrame // its length is a power of two
	head int
	n    int
	free [][]byte
}

type heldFrame struct {
	due  time.Time
	data []byte
}

func (q *frameQueue) len() int { return q.n }

// push appends a copy of data.
func (q *frameQueue) push(due time.Time, data []byte) {
	if q.n == len(q.ring) {
		ring := make([]heldFrame, max(64, 2*len(q.ring)))
		for i := range q.n {
			ring[i] = q.ring[(q.head+i)&(len(q.ring)-1)]
		}
		q.ring, q.head = ring, 0
	}
	var buf []byte
	if k := len(q.free); k > 0 {
		buf, q.free = q.free[k-1], q.free[:k-1]
	} else {
		buf = make([]byte, 0, maxFrame)
	}
	q.ring[(q.head+q.n)&(len(q.ring)-1)] = heldFrame{due, append(buf[:0], data...)}
	q.n++
}

// next is when the first frame is due, if there is one.
func (q *frameQueue) next() (time.Time, bool) {
	if q.n == 0 {
		return time.Time{}, false
	}
	return q.ring[q.head].due, true
}

// pop takes the first frame out; release gives its memory back.
func (q *frameQueue) pop() []byte {
	f := q.ring[q.head]
	q.ring[q.head] = heldFrame{}
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.n--
	return f.data
}

func (q *frameQueue) release(data []byte) { q.free = append(q.free, data) }

// hurry makes all frames due at once.
func (q *frameQueue) hurry() {
	for i := range q.n {
		q.ring[(q.head+i)&(len(q.ring)-1)].due = time.Time{}
	}
}
