// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import "hash/maphash"

// maxStreams is how many streams of one identity are told apart: the receiver writes about 20 of a flow
// (metrics, times what phases and errors some have), three at most that differ by port or process only.
// Of more than that, duplicates are not noticed.
const maxStreams = 64

// Series tells apart the streams of points of one identity: by metric, and by attributes that are
// no part of the identity.
type Series uint64

// Add mixes in a string.
func (s *Series) Add(text string) { s.AddInt(int64(maphash.String(seed, text))) }

// AddInt mixes in a number.
func (s *Series) AddInt(n int64) {
	m := mixer(*s)
	m = (m ^ mixer(n)) * 0x9e3779b97f4a7c15
	m ^= m >> 29
	*s = Series(m)
}

// Stream is what the points of one stream told of: a time, from and to in Unix ns, without a gap.
type Stream struct {
	series   Series
	from, to int64
	next     *Stream // of the same identity, in a ring
}

// Stream gives the stream of the identity that Lookup was last called with, nil when that is no evidence
// or has too many. The streams of an identity come in the same order in each batch, so that the one after
// the last is nearly always the one: it is the only one whose memory is touched.
func (t *Table) Stream(id *Identity, series Series) *Stream {
	f := id.flow
	if f == nil {
		return nil
	}
	if f.stream == nil {
		f.stream = &Stream{series: series}
		f.stream.next = f.stream
		return f.stream
	}
	n := 1
	s := f.stream
	for ; s.series != series; s = s.next {
		if s.next != f.stream {
			n++
			continue
		}
		if n >= maxStreams {
			return nil
		}
		s.next = &Stream{series: series, next: f.stream}
		return s.next
	}
	f.stream = s.next
	return s
}

// Tell says whether a point's interval, in Unix ns, is news of its stream, and remembers it when it is.
// It is not when its middle lies within what the stream has told already: clocks may be moved by
// less than half an interval. What comes out of order is news; of what lies before a gap, only
// the later part is remembered. A point without a start is always news.
func (s *Stream) Tell(start, end int64) bool {
	if s == nil || start <= 0 || start >= end {
		return true
	}
	middle := start + (end-start)/2
	switch {
	case s.to == 0 || start > s.to: // the first one, or after a gap
		s.from, s.to = start, end
	case middle >= s.to:
		s.to = end
	case middle >= s.from:
		return false
	case end >= s.from:
		s.from = start
	}
	return true
}
