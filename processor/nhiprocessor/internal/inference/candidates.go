// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package inference

import (
	"cmp"
	"slices"
)

// candidate is something that could be to blame: a host (what it sends, what is sent to
// it, what it serves, what it asks for, or all), a service, a component (in what comes out of
// one place, or all), or a path (in one direction or both), together with all that is crossed by
// exactly the same rows.
type candidate struct {
	kind        Kind
	hosts       []int32
	services    []int32
	components  []int32
	class       int32 // of a path, else -1
	rank        uint8 // of the components: the lower, the simpler
	rows        []int32
	n, k        float64 // of the rows that nothing is blamed for yet
	hash, hash2 uint64  // of the set of rows
	rejected    bool
}

// candidates lists them for the rows with evidence.
type candidates struct {
	all []candidate
	// ofRow lists the candidates that each row crosses: entries start[r] to start[r+1].
	ofRow, start []int32
	network      int // how many are network candidates
	ofService    []int32
}

// slots number the candidates before those crossed by the same rows are joined.
type slots struct {
	p                    *Problem
	services, components int
	all                  int
	named                []int32 // what a slot from components on stands for: a component, or ^class
	ranks                []uint8
	ofPath               [][]int32
}

const (
	hostSlots = 5 // sends, receives, serves, asks, all
	sends     = 0
	receives  = 1
	serves    = 2
	asks      = 3
	eitherWay = 4
)

func newSlots(p *Problem) *slots {
	s := &slots{p: p}
	s.services = hostSlots * len(p.Hosts)
	s.components = s.services + len(p.Services)
	s.all = s.components
	number := map[[4]int32]int32{}
	s.ofPath = make([][]int32, len(p.Paths))
	done := make([]bool, len(p.Paths))
	for i := range p.Rows {
		r := &p.Rows[i]
		if r.Class < 0 || int(r.Path) >= len(done) || done[r.Path] {
			continue
		}
		done[r.Path] = true
		s.ofPath[r.Path] = s.path(r, number)
	}
	return s
}

// What a slot of a path stands for besides its component or class.
const (
	whole int32 = iota
	outOf       // what comes out of a place
	into        // what goes into a place
	along       // a class in its direction
	against
)

// rankOf orders components that are crossed by the same rows in different ways. One that fails
// as a whole is the simplest explanation.
var rankOf = [...]uint8{whole: 0, outOf: 1, into: 1, along: 2, against: 2}

// path lists the slots that all rows of a path cross. Components come before classes, whole
// ones before their directions, so that the simplest explanation of the same rows is the one that is named.
func (s *slots) path(r *Row, number map[[4]int32]int32) (out []int32) {
	class, path := &s.p.Classes[r.Class], &s.p.Paths[r.Path]
	slot := func(what, named, place int32) {
		key := [4]int32{what, named, place}
		n, known := number[key]
		if !known {
			n = int32(s.all)
			s.all++
			s.named = append(s.named, named)
			s.ranks = append(s.ranks, rankOf[what])
			number[key] = n
		}
		out = append(out, n)
	}
	for _, c := range class.Components {
		slot(whole, c, 0)
	}
	if len(class.Components) == 0 {
		return out // nothing to name
	}
	for _, c := range class.Components {
		if c == path.First || c == path.Last {
			continue // its directions are those of what lies behind it
		}
		for _, place := range path.Local {
			slot(outOf, c, place)
		}
		for _, place := range path.Remote {
			slot(into, c, place)
		}
	}
	slot(whole, ^r.Class, 0)
	if !class.Palindrome {
		if r.Forward {
			slot(along, ^r.Class, 0)
		} else {
			slot(against, ^r.Class, 0)
		}
	}
	return out
}

// of appends the slots that row r crosses.
func (s *slots) of(r *Row, to []int32) []int32 {
	local, remote := hostSlots*r.Local, hostSlots*r.Remote
	to = append(to, local+sends, local+eitherWay, remote+receives)
	if r.Remote != r.Local {
		to = append(to, remote+eitherWay)
	}
	if h := r.server(); h >= 0 {
		to = append(to, hostSlots*h+serves, hostSlots*r.client()+asks)
	}
	if r.Service >= 0 {
		to = append(to, int32(s.services)+r.Service)
	}
	if r.Class < 0 || int(r.Path) >= len(s.ofPath) {
		return to
	}
	return append(to, s.ofPath[r.Path]...)
}

// kind is what the slot stands for.
func (s *slots) kind(slot int) Kind {
	switch {
	case slot < s.services:
		return Host
	case slot < s.components:
		return Service
	}
	return Network
}

// name adds what the slot stands for to a candidate.
func (s *slots) name(slot int, c *candidate) {
	switch {
	case slot < s.services:
		if h := int32(slot / hostSlots); !slices.Contains(c.hosts, h) {
			c.hosts = append(c.hosts, h)
		}
	case slot < s.components:
		c.services = append(c.services, int32(slot-s.services))
	default:
		n := s.named[slot-s.components]
		switch {
		case n < 0:
			c.class = ^n
		default:
			rank := s.ranks[slot-s.components]
			if len(c.components) == 0 || rank < c.rank {
				c.components, c.rank = c.components[:0], rank
			}
			if rank == c.rank && !slices.Contains(c.components, n) {
				c.components = append(c.components, n)
			}
		}
	}
}

// mix is the finalizer of splitmix64: the same row always hashes alike, unlike rows do not.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func newCandidates(p *Problem) *candidates {
	s := newSlots(p)
	type sum struct {
		hash, hash2 uint64
		rows        int32
		n, k        float64
	}
	sums := make([]sum, s.all)
	cs := &candidates{start: make([]int32, len(p.Rows)+1), ofRow: make([]int32, 0, 20*len(p.Rows))}
	for i := range p.Rows {
		r := &p.Rows[i]
		if r.Segments > 0 {
			cs.ofRow = s.of(r, cs.ofRow)
		}
		cs.start[i+1] = int32(len(cs.ofRow))
		h := mix(uint64(i))
		for _, slot := range cs.ofRow[cs.start[i]:] {
			m := &sums[slot]
			m.hash += h
			m.hash2 ^= mix(h)
			m.rows++
			m.n += r.Segments
			m.k += r.Lost
		}
	}

	// Join what is crossed by the same rows. Slots are in the order hosts, services,
	// components, paths, and the first gives the kind: where an end explains the rows as
	// well as the network, the end does.
	type same struct {
		hash, hash2 uint64
		rows        int32
	}
	index := make(map[same]int32)
	of := make([]int32, s.all)
	for slot := range sums {
		m := &sums[slot]
		of[slot] = -1
		if m.rows == 0 {
			continue
		}
		key := same{m.hash, m.hash2, m.rows}
		c, known := index[key]
		if !known {
			c = int32(len(cs.all))
			index[key] = c
			cs.all = append(cs.all, candidate{
				kind: s.kind(slot), class: -1, n: m.n, k: m.k, hash: m.hash, hash2: m.hash2,
				rows: make([]int32, 0, m.rows),
			})
		}
		of[slot] = c
		s.name(slot, &cs.all[c])
	}
	for i := range p.Rows {
		row := cs.ofRow[cs.start[i]:cs.start[i+1]]
		for j, slot := range row {
			c := of[slot]
			row[j] = c
			// A row crosses slots that were joined once each: take it once.
			if rows := cs.all[c].rows; len(rows) == 0 || rows[len(rows)-1] != int32(i) {
				cs.all[c].rows = append(rows, int32(i))
			} else {
				row[j] = -1
			}
		}
	}
	cs.ofService = slices.Clone(of[s.services:s.components])
	for i := range cs.all {
		if cs.all[i].kind == Network {
			cs.network++
		}
	}
	return cs
}

// remove takes a row out of the sums of all candidates.
func (cs *candidates) remove(row int32, r *Row) {
	for _, c := range cs.ofRow[cs.start[row]:cs.start[row+1]] {
		if c >= 0 {
			cs.all[c].n -= r.Segments
			cs.all[c].k -= r.Lost
		}
	}
}

// order compares candidates so that the outcome does not depend on the order of rows.
func (c *candidate) order(o *candidate) int {
	return cmp.Or(cmp.Compare(c.kind, o.kind), slices.Compare(c.hosts, o.hosts), slices.Compare(c.services, o.services),
		slices.Compare(c.components, o.components), cmp.Compare(c.class, o.class),
		cmp.Compare(len(c.rows), len(o.rows)), cmp.Compare(c.n, o.n), cmp.Compare(c.k, o.k))
}
