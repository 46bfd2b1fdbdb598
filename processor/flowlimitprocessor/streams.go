// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/otel-flowmonitor/flowmonitor/internal/prepared"
)

// streams remembers for each stream that left when its last point ended, and for each
// level what it was. Rows are forgotten as a whole, the one that was silent for longest
// first. Not safe for concurrent use.
type streams struct {
	max       int
	held      int
	evicted   int               // since it was last asked
	forgotten pcommon.Timestamp // the latest end of an evicted stream
	rows      map[key]*row
	front     *row // most recently used
	back      *row
	resources map[key]*resource
}

// resource is what is known of a resource as long as one of its rows is.
type resource struct {
	id        key
	rows      int
	lastRound pcommon.Timestamp // the latest end of a round that came in
	lastEnd   pcommon.Timestamp // the latest end that left, not before lastRound
	levels    []*row            // merged rows that have levels

	// forgotten is the latest end of a stream that was evicted. A stream that is not known
	// may be one of those, and must not start before: to deltatocumulative a start before
	// that of the series is of an older series, and dropped.
	forgotten pcommon.Timestamp
}

// row is what left under the same attributes.
type row struct {
	id       key
	resource *resource
	index[uint64]
	streams []stream

	attributes prepared.Set // of a merged row with levels, to end them
	levelsAt   int          // in resource.levels; -1: not there

	prev, next *row
	evicted    bool
}

// stream is one stream of a row.
type stream struct {
	end   pcommon.Timestamp // of its last point; 0: none left yet
	level *level            // of a gauge
}

// level is the last value of a gauge.
type level struct {
	column column
	value  number
	round  pcommon.Timestamp // the end of the round that it is of
	seen   uint64            // the release that wrote it last
}

func newStreams(limit int) *streams {
	return &streams{max: limit, rows: map[key]*row{}, resources: map[key]*resource{}}
}

// resource gives the resource, and makes it known.
func (s *streams) resource(id key) *resource {
	r, ok := s.resources[id]
	if !ok {
		r = &resource{id: id, forgotten: s.forgotten}
		s.resources[id] = r
	}
	return r
}

// rowID is the row's key among those of all resources.
func rowID(h *hasher, resource, attributes key) key {
	return key{
		fold(resource.a^h.salt[0], attributes.a^h.salt[1]),
		fold(resource.b^h.salt[2], attributes.b^h.salt[3]),
	}
}

// row gives a row as the most recently used one.
func (s *streams) row(res *resource, id key) *row {
	r, ok := s.rows[id]
	if ok {
		s.unlink(r)
	} else {
		r = &row{id: id, resource: res, levelsAt: -1}
		s.rows[id] = r
		res.rows++
	}
	r.next = s.front
	if r.next != nil {
		r.next.prev = r
	} else {
		s.back = r
	}
	s.front = r
	return r
}

// stream gives the position of a stream of the row that was used last, -1 if there is no
// room for it even without all other rows.
func (s *streams) stream(r *row, id uint64) int {
	if i := r.find(id); i >= 0 {
		return i
	}
	for s.held >= s.max {
		if s.back == r {
			s.evicted++
			return -1
		}
		s.evict(s.back)
	}
	s.held++
	r.add(id)
	r.streams = append(r.streams, stream{})
	return len(r.streams) - 1
}

func (s *streams) evict(r *row) {
	r.evicted = true
	s.evicted += len(r.streams)
	s.held -= len(r.streams)
	for i := range r.streams {
		r.resource.forgotten = max(r.resource.forgotten, r.streams[i].end)
	}
	s.forgotten = max(s.forgotten, r.resource.forgotten)
	s.unlink(r)
	delete(s.rows, r.id)
	r.resource.forgetLevels(r)
	r.resource.rows--
	s.drop(r.resource)
}

// drop forgets a resource that has no row.
func (s *streams) drop(res *resource) {
	if res.rows == 0 {
		delete(s.resources, res.id)
	}
}

func (s *streams) unlink(r *row) {
	if r.prev != nil {
		r.prev.next = r.next
	} else {
		s.front = r.next
	}
	if r.next != nil {
		r.next.prev = r.prev
	} else {
		s.back = r.prev
	}
	r.prev, r.next = nil, nil
}

// keepLevels notes that a merged row has levels.
func (res *resource) keepLevels(r *row) {
	if r.levelsAt < 0 {
		r.levelsAt = len(res.levels)
		res.levels = append(res.levels, r)
	}
}

func (res *resource) forgetLevels(r *row) {
	if r.levelsAt < 0 {
		return
	}
	last := len(res.levels) - 1
	res.levels[r.levelsAt] = res.levels[last]
	res.levels[r.levelsAt].levelsAt = r.levelsAt
	res.levels[last] = nil
	res.levels = res.levels[:last]
	r.levelsAt = -1
}

// takeEvicted says how many streams were forgotten since it was last asked.
func (s *streams) takeEvicted() int {
	n := s.evicted
	s.evicted = 0
	return n
}
