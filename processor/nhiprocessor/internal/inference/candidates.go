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
	kind       Kind
	hosts      []int32
	services   []int32
	components []int32
	class      int32 // of a path, else -1
	directed   bool  // the components are to blame in one direction
	rows       []int32
	n, k       float64 // of the rows that nothing is blamed for yet
	size       int32   // rows
	rejected   bool
}

// candidates lists them for the rows with evidence.
type candidates struct {
	all []candidate
	// ofRow lists the candidates that each row crosses: entries start[r] to start[r+1].
	ofRow, start []int32
	network      int // how many are network candidates
	ofService    []int32
}

// slots number the candidates before those crossed by the same rows are joined: hosts, services,
// components, classes, and components in one direction.
type slots struct {
	p                                       *Problem
	services, components, classes, directed int
	all                                     int
	component                               []int32 // of a directed slot
	ofPath                                  [][]int32
}

const (
	hostSlots = 5 // sends, receives, serves, asks, all
	sends     = 0
	receives  = 1
	serves    = 2
	asks      = 3
	eitherWay = 4

	classSlots = 3 // along, against, either way
	along      = 0
	against    = 1
	bothWays   = 2
)

func newSlots(p *Problem) *slots {
	s := &slots{p: p}
	s.services = hostSlots * len(p.Hosts)
	s.components = s.services + len(p.Services)
	s.classes = s.components + len(p.Components)
	s.directed = s.classes + classSlots*len(p.Classes)
	s.all = s.directed
	rows, crossing := make([]int32, len(p.Classes)), make([]int32, len(p.Components))
	for i := range p.Rows {
		if r := &p.Rows[i]; r.Class >= 0 && r.Segments > 0 {
			if rows[r.Class]++; rows[r.Class] == 1 {
				for _, c := range p.Classes[r.Class].Components {
					crossing[c]++
				}
			}
		}
	}
	number := map[uint64]int32{}
	s.ofPath = make([][]int32, len(p.Paths))
	for i := range p.Rows {
		r := &p.Rows[i]
		if r.Class < 0 || int(r.Path) >= len(s.ofPath) || s.ofPath[r.Path] != nil || r.Segments == 0 {
			continue
		}
		s.ofPath[r.Path] = s.path(r, rows, crossing, number)
	}
	return s
}

// path lists the slots that all rows of a path cross. Left out are classes that cannot have
// hosts enough to tell the network from an end, and directions of components that only one class
// crosses, which are that class's.
func (s *slots) path(r *Row, rows, crossing []int32, number map[uint64]int32) []int32 {
	class, path := &s.p.Classes[r.Class], &s.p.Paths[r.Path]
	out := make([]int32, 0, 3*len(class.Components)+2)
	for _, c := range class.Components {
		out = append(out, int32(s.components)+c)
	}
	if len(class.Components) == 0 {
		return out // nothing to name
	}
	if rows[r.Class] >= SharedHosts {
		first := int32(s.classes) + classSlots*r.Class
		out = append(out, first+bothWays)
		if !class.Palindrome {
			if r.Forward {
				out = append(out, first+along)
			} else {
				out = append(out, first+against)
			}
		}
	}
	for _, c := range class.Components {
		if c == path.First || c == path.Last || crossing[c] == 1 {
			continue // the directions of an end are those of what lies behind it
		}
		directed := func(place int32, into uint64) {
			key := uint64(c)<<32 | uint64(place)<<1 | into
			n, known := number[key]
			if !known {
				n = int32(s.all)
				s.all++
				s.component = append(s.component, c)
				number[key] = n
			}
			out = append(out, n)
		}
		for _, place := range path.Local {
			directed(place, 0)
		}
		for _, place := range path.Remote {
			directed(place, 1)
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
	case slot < s.classes:
		c.components = append(c.components, int32(slot-s.components))
	case slot < s.directed:
		c.class = int32((slot - s.classes) / classSlots)
	default:
		// A component that fails as a whole is a simpler explanation than one that fails in one direction.
		n := s.component[slot-s.directed]
		if c.directed = c.directed || len(c.components) == 0; c.directed && !slices.Contains(c.components, n) {
			c.components = append(c.components, n)
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
	}
	sums := make([]sum, s.all)
	cs := &candidates{start: make([]int32, len(p.Rows)+1), ofRow: make([]int32, 0, 16*len(p.Rows))}
	for i := range p.Rows {
		r := &p.Rows[i]
		if r.Segments > 0 {
			cs.ofRow = s.of(r, cs.ofRow)
		}
		cs.start[i+1] = int32(len(cs.ofRow))
		h := mix(uint64(i))
		h2 := mix(h)
		for _, slot := range cs.ofRow[cs.start[i]:] {
			m := &sums[slot]
			m.hash += h
			m.hash2 ^= h2
			m.rows++
		}
	}

	// Join what is crossed by the same rows. Slots are in the order hosts, services,
	// components, paths, and the first gives the kind: where an end explains the rows as
	// well as the network, the end does.
	index := make(map[sum]int32, s.all)
	of := make([]int32, s.all)
	room := 0
	for slot := range sums {
		m := sums[slot]
		of[slot] = -1
		if m.rows == 0 {
			continue
		}
		c, known := index[m]
		if !known {
			c = int32(len(cs.all))
			index[m] = c
			room += int(m.rows)
			cs.all = append(cs.all, candidate{kind: s.kind(slot), class: -1, size: m.rows})
		}
		of[slot] = c
		s.name(slot, &cs.all[c])
	}
	arena := make([]int32, room)
	for i := range cs.all {
		c := &cs.all[i]
		c.rows, arena = arena[:0:c.size], arena[c.size:]
		if c.kind == Network {
			cs.network++
		}
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
	return cs
}

// count sums up the rows of each candidate anew. The rows may have other counts than those that
// the candidates were listed for, but have to be the same.
func (cs *candidates) count(p *Problem) {
	for i := range cs.all {
		c := &cs.all[i]
		c.n, c.k, c.rejected = 0, 0, false
	}
	for i := range p.Rows {
		n, k := p.Rows[i].Segments, p.Rows[i].Lost
		for _, c := range cs.ofRow[cs.start[i]:cs.start[i+1]] {
			if c >= 0 {
				cs.all[c].n += n
				cs.all[c].k += k
			}
		}
	}
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
