// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package inference

import "slices"

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
