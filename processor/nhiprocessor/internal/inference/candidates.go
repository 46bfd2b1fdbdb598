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
	usual      float64 // losses that are usual for them
	over       float64 // losses that a row has over what counts in the background
	size       int32   // rows
	slot       int32   // the first of those joined; the others follow it in candidates.next
	described  bool
	rejected   bool
}

// candidates lists them for the rows with evidence.
type candidates struct {
	all []candidate
	// ofRow lists the candidates that each row crosses: entries start[r] to start[r+1].
	ofRow, start []int32
	network      int // how many are network candidates
	slots        *slots
	next         []int32 // the slot after one that is joined with it, or -1
	listed       bool    // the candidates have their rows
	counted      bool    // and the sums of the problem that they were listed for
	usual        bool    // and the losses that are usual for them
}

// slots number the candidates before those crossed by the same rows are joined: hosts, services,
// components, classes, and components in one direction.
type slots struct {
	p                                       *Problem
	services, components, classes, directed int
	all                                     int
	component                               []int32 // of a directed slot
	ofPath                                  [][]int32
	rowsOf, rowsDirected                    []int32 // rows of each path, and of each directed slot
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
	s.rowsOf = make([]int32, len(p.Paths))
	for i := range p.Rows {
		r := &p.Rows[i]
		if r.Class < 0 || r.Segments == 0 {
			continue
		}
		if rows[r.Class]++; rows[r.Class] == 1 {
			for _, c := range p.Classes[r.Class].Components {
				crossing[c]++
			}
		}
		if int(r.Path) < len(s.rowsOf) {
			s.rowsOf[r.Path]++
		}
	}
	number := newNumbering(4 * len(p.Paths)) // a path crosses four components in the middle, in places that it shares with others
	ends := make([][2]int32, len(p.Paths))   // of each path's slots in all
	all := make([]int32, 0, 16*len(p.Paths)) // of a path through a transit gateway
	for i := range p.Rows {
		r := &p.Rows[i]
		if r.Class < 0 || int(r.Path) >= len(ends) || ends[r.Path][1] > 0 || r.Segments == 0 {
			continue
		}
		at := int32(len(all))
		all = s.path(all, r, rows, crossing, number)
		ends[r.Path] = [2]int32{at, int32(len(all))}
	}
	s.few(all, ends)
	return s
}

// few takes out directions that too few rows take to tell the network from an end, like such classes,
// and numbers the others anew.
func (s *slots) few(all []int32, ends [][2]int32) {
	number := make([]int32, len(s.component))
	kept := s.component[:0]
	for i, n := range s.rowsDirected {
		number[i] = -1
		if n >= SharedHosts {
			number[i] = int32(s.directed + len(kept))
			kept = append(kept, s.component[i])
		}
	}
	s.component, s.all = kept, s.directed+len(kept)
	s.ofPath = make([][]int32, len(ends))
	for path, end := range ends {
		slots := all[end[0]:end[0]:end[1]]
		for _, slot := range all[end[0]:end[1]] {
			if int(slot) >= s.directed {
				if slot = number[int(slot)-s.directed]; slot < 0 {
					continue
				}
			}
			slots = append(slots, slot)
		}
		s.ofPath[path] = slots
	}
}

// path appends the slots that all rows of a path cross. Left out are classes that cannot have
// hosts enough to tell the network from an end, and directions of components that only one class
// crosses, which are that class's.
func (s *slots) path(out []int32, r *Row, rows, crossing []int32, number *numbering) []int32 {
	class, path := &s.p.Classes[r.Class], &s.p.Paths[r.Path]
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
			n, known := number.of(key, int32(s.all))
			if !known {
				s.all++
				s.component = append(s.component, c)
				s.rowsDirected = append(s.rowsDirected, 0)
			}
			s.rowsDirected[int(n)-s.directed] += s.rowsOf[r.Path]
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
		n, k        float64
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
			m.n += r.Segments
			m.k += r.Lost
		}
	}

	// Join what is crossed by the same rows. Slots are in the order hosts, services,
	// components, paths, and the first gives the kind: where an end explains the rows as
	// well as the network, the end does.
	seenSlots := 0
	for slot := range sums {
		if sums[slot].rows > 0 {
			seenSlots++
		}
	}
	index := newNumbering(seenSlots)
	of := make([]int32, s.all)
	last := make([]int32, 0, seenSlots) // slot of each candidate
	cs.slots, cs.next = s, make([]int32, s.all)
	cs.all = make([]candidate, 0, seenSlots)
	for slot := range sums {
		m := &sums[slot]
		of[slot], cs.next[slot] = -1, -1
		if m.rows == 0 {
			continue
		}
		c, known := index.of(m.hash^m.hash2<<1^uint64(m.rows), int32(len(cs.all)))
		if !known {
			kind := s.kind(slot)
			if kind == Network {
				cs.network++
			}
			cs.all = append(cs.all, candidate{kind: kind, class: -1, size: m.rows, slot: int32(slot), n: m.n, k: m.k})
			last = append(last, int32(slot))
		} else {
			cs.next[last[c]] = int32(slot)
			last[c] = int32(slot)
		}
		of[slot] = c
	}
	seen := last // from here on: the row that a candidate was seen at last
	for c := range seen {
		seen[c] = -1
	}
	for i := range p.Rows {
		row := cs.ofRow[cs.start[i]:cs.start[i+1]]
		for j, slot := range row {
			// A row crosses slots that were joined once each: take it once.
			c := of[slot]
			row[j] = c
			if seen[c] == int32(i) {
				row[j] = -1
			}
			seen[c] = int32(i)
		}
	}
	cs.counted = true
	return cs
}

// list gives the candidates their rows. Most windows have nothing that asks for them.
func (cs *candidates) list() {
	if cs.listed {
		return
	}
	cs.listed = true
	room := 0
	for i := range cs.all {
		room += int(cs.all[i].size)
	}
	arena := make([]int32, room)
	for i := range cs.all {
		c := &cs.all[i]
		c.rows, arena = arena[:0:c.size], arena[c.size:]
	}
	for i := range cs.start[1:] {
		for _, c := range cs.ofRow[cs.start[i]:cs.start[i+1]] {
			if c >= 0 {
				cs.all[c].rows = append(cs.all[c].rows, int32(i))
			}
		}
	}
}

// describe says what a candidate is.
func (cs *candidates) describe(c *candidate) {
	if c.described {
		return
	}
	c.described = true
	for slot := c.slot; slot >= 0; slot = cs.next[slot] {
		cs.slots.name(int(slot), c)
	}
}

// count sums up the rows of each candidate anew. The rows may have other counts than those that
// the candidates were listed for, but have to be the same.
func (cs *candidates) count(p *Problem) {
	cs.usual = false
	if cs.counted {
		cs.counted = false
		return
	}
	for i := range cs.all {
		c := &cs.all[i]
		c.n, c.k, c.usual, c.over, c.rejected = 0, 0, 0, 0, false
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

// sumUsual gives the candidates the losses that are usual for their rows, of those that nothing is blamed for.
// Most windows have nothing that asks for them.
func (cs *candidates) sumUsual(p *Problem, usual []float64, blame []int32) {
	if cs.usual {
		return
	}
	cs.usual = true
	for i := range p.Rows {
		if blame[i] >= 0 {
			continue
		}
		u := p.Rows[i].Segments * p.Rows[i].usual(usual)
		for _, c := range cs.ofRow[cs.start[i]:cs.start[i+1]] {
			if c >= 0 {
				cs.all[c].usual += u
			}
		}
	}
}

// over tells the candidates of losses of a row that do not count in the background.
func (cs *candidates) over(row int32, losses float64) {
	for _, c := range cs.ofRow[cs.start[row]:cs.start[row+1]] {
		if c >= 0 {
			cs.all[c].over += losses
		}
	}
}

// remove takes a row out of the sums of all candidates.
func (cs *candidates) remove(row int32, r *Row, usual, over float64) {
	for _, c := range cs.ofRow[cs.start[row]:cs.start[row+1]] {
		if c >= 0 {
			cs.all[c].n -= r.Segments
			cs.all[c].k -= r.Lost
			if cs.usual {
				cs.all[c].usual -= usual
			}
			cs.all[c].over -= over
		}
	}
}

// order compares candidates so that the outcome does not depend on the order of rows, nor on the
// numbers of components and classes. Both have to be described.
func (c *candidate) order(o *candidate, p *Problem) int {
	if d := cmp.Or(cmp.Compare(c.kind, o.kind), slices.Compare(c.hosts, o.hosts), slices.Compare(c.services, o.services)); d != 0 {
		return d
	}
	return cmp.Or(slices.Compare(sortedNames(p, c.components), sortedNames(p, o.components)), p.compareClasses(c.class, o.class),
		cmp.Compare(c.size, o.size), cmp.Compare(c.n, o.n), cmp.Compare(c.k, o.k))
}

func sortedNames(p *Problem, components []int32) []string {
	out := make([]string, len(components))
	for i, c := range components {
		out[i] = p.Components[c]
	}
	slices.Sort(out)
	return out
}

func (p *Problem) compareClasses(a, b int32) int {
	if a < 0 || b < 0 || a == b {
		return cmp.Compare(a, b)
	}
	return slices.Compare(sortedNames(p, p.Classes[a].Components), sortedNames(p, p.Classes[b].Components))
}
