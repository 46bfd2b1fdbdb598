// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"math/bits"
	"time"
)

// direction of a tuple, and so of a socket that holds it: the opener's is original.
type direction int32

const (
	original direction = iota
	reply
	directions
)

// state of a record.
type state uint8

const (
	live  state = iota
	ended       // kept for a while: the connection's last counts come after its end
)

// mark is what else is known of a record.
type mark uint8

const (
	byDump mark = 1 << iota // known by a dump: the kernel may not tell its end (see reconcile)
	firstHere
	_ // of the other direction
	firstElsewhere
)

// here and elsewhere say, once it is decided, where the other end of direction d is.
func here(d direction) mark      { return firstHere << d }
func elsewhere(d direction) mark { return firstElsewhere << d }

// record is a translated connection: 112 bytes, and 8 in the index.
type record struct {
	tuples       [directions]tuple
	next         [directions]end // in the chain of the index
	older, newer int32           // neighbours among the ended
	netns        uint32
	id           uint32 // of the kernel
	round        uint32 // of the namespace's dumps, in which it was seen last
	zone         uint16
	state        state
	marks        mark
	since        time.Duration // in this state, by the tracker's clock
}

// end is one direction of a record, 2 · record + direction. No record has the number 0,
// so that 0 is none.
type end int32

func endOf(i int32, d direction) end { return end(2*i) + end(d) }

func (e end) record() int32        { return int32(e) >> 1 }
func (e end) direction() direction { return direction(e & 1) }

// Records are made 4,096 at a time (0.5 MB), so that growing copies nothing.
const (
	chunkBits = 12
	chunkSize = 1 << chunkBits
)

// store holds records, found by either tuple. Equal tuples may be there more than once:
// of different namespaces, zones, or times. The newest is found first. The memory of a
// record is used again, but never given back.
type store struct {
	capacity int
	chunks   []*[chunkSize]record
	used     int32 // records ever made, the one numbered 0 included
	unused   int32 // those to use again, linked by older
	held     int
	heads    []end
}

func newStore(capacity int) store {
	slots := 1 << bits.Len(uint(2*capacity-1)) // at most one end a slot on average
	return store{capacity: capacity, used: 1, heads: make([]end, slots)}
}

func (s *store) at(i int32) *record { return &s.chunks[i>>chunkBits][i&(chunkSize-1)] }

func (s *store) slot(t *tuple) *end { return &s.heads[t.hash()&uint64(len(s.heads)-1)] }

// first and next go through the ends that may have this tuple.
func (s *store) first(t *tuple) end { return *s.slot(t) }
func (s *store) next(e end) end     { return s.at(e.record()).next[e.direction()] }

// add puts a record with these tuples in. It returns none if the store is full.
func (s *store) add(tuples [directions]tuple) (int32, *record) {
	i := s.unused
	switch {
	case s.held == s.capacity:
		return 0, nil
	case i != 0:
		s.unused = s.at(i).older
	default:
		i = s.used
		s.used++
		if int(i>>chunkBits) == len(s.chunks) {
			s.chunks = append(s.chunks, new([chunkSize]record))
		}
	}
	s.held++
	r := s.at(i)
	*r = record{tuples: tuples}
	for d := range directions {
		head := s.slot(&r.tuples[d])
		r.next[d] = *head
		*head = endOf(i, d)
	}
	return i, r
}

// remove takes a record out.
func (s *store) remove(i int32) {
	r := s.at(i)
	for d := range directions {
		link := s.slot(&r.tuples[d])
		for *link != endOf(i, d) {
			link = &s.at(link.record()).next[link.direction()]
		}
		*link = r.next[d]
	}
	*r = record{older: s.unused}
	s.unused = i
	s.held--
}

// each calls do for every record that is there.
func (s *store) each(do func(i int32, r *record)) {
	for i := int32(1); i < s.used; i++ {
		if r := s.at(i); r.netns != 0 { // no namespace has the inode 0: it is there
			do(i, r)
		}
	}
}
