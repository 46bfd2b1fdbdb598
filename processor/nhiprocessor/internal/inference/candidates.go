// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package inference

import (
	"cmp"
	"slices"
)

// candidate is something that could be to blame: a host (what it sends, what is sent to
// it, or both), a service, a component, or a path (in one direction or both), together
// with all that is crossed by exactly the same rows.
type candidate struct {
	kind        Kind
	hosts       []int32
	services    []int32
	components  []int32
	class       int32 // of a path, else -1
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
}

// slots number the candidates before those crossed by the same rows are joined.
type slots struct {
	p                                *Problem
	services, components, paths, all int
}

const (
	hostSlots = 3 // sends, receives, either
	pathSlots = 3 // along, against, either
)

func newSlots(p *Problem) slots {
	s := slots{p: p}
	s.services = hostSlots * len(p.Hosts)
	s.components = s.services + len(p.Services)
	s.paths = s.components + len(p.Components)
	s.all = s.paths + pathSlots*len(p.Classes)
	return s
}

// of appends the slots that row r crosses.
func (s *slots) of(r *Row, to []int32) []int32 {
	to = append(to, hostSlots*r.Local, hostSlots*r.Local+2)
	if r.Remote == r.Local {
		to = append(to, hostSlots*r.Remote+1)
	} else {
		to = append(to, hostSlots*r.Remote+1, hostSlots*r.Remote+2)
	}
	if r.Service >= 0 {
		to = append(to, int32(s.services)+r.Service)
	}
	if r.Class < 0 {
		return to
	}
	class := &s.p.Classes[r.Class]
	for _, c := range class.Components {
		to = append(to, int32(s.components)+c)
	}
	if len(class.Components) == 0 {
		return to // nothing to name
	}
	path := int32(s.paths) + pathSlots*r.Class
	to = append(to, path+2)
	if !class.Palindrome {
		if r.Forward {
			to = append(to, path)
		} else {
			to = append(to, path+1)
		}
	}
	return to
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
	case slot < s.paths:
		c.components = append(c.components, int32(slot-s.components))
	default:
		c.class = int32((slot - s.paths) / pathSlots)
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
	cs := &candidates{start: make([]int32, len(p.Rows)+1), ofRow: make([]int32, 0, 12*len(p.Rows))}
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
		slices.Compare(c.components, o.components), cmp.Compare(c.class, o.class))
}
