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
