// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/inference"
)

// orientation says in which directions a monitor's own flows go along a class of paths.
type orientation uint8

const (
	forward orientation = 1 << iota
	backward
	bothWays = forward | backward
)

// classSums is what crossed one class of paths. Many monitors ask for the same.
type classSums struct {
	ready   bool
	hosts   [2][]exposure // at the class's first and second end, or as sender and receiver
	suspect []loss        // of each suspect
}

type exposure struct {
	host     int32
	segments float64
	waiting         // of those who send to it
	refused  uint64 // connections to it
}

type loss struct{ segments, lost float64 }

// view is one way to look at a window: what is lost or slow in it, and what explains that.
type view struct {
	problem        *inference.Problem
	e              *inference.Explanation
	byClass        [][]int32          // rows
	waits          []waiting          // of the rows, nil when there are none
	counts         []*evidence.Counts // of the rows, where they are those of the assembly
	classes, hosts int
	origins        []int32 // rows of the assembly that the rows stand for; nil: the same
	windows        int     // that delays are of together
}

func (v *view) origin(row int32) int32 {
	if v.origins == nil {
		return row
	}
	return v.origins[row]
}

// index lists the rows of each class.
func (v *view) index() {
	v.byClass = make([][]int32, v.classes)
	for i := range v.problem.Rows {
		c := v.problem.Rows[i].Class
		v.byClass[c] = append(v.byClass[c], int32(i))
	}
}

// classes sums up classes as they are asked for.
type classes struct {
	*view
	sums [2][]classSums // by end; as observed
	at   []int32        // where a host is in the list at hand
}

func newClasses(v *view) *classes {
	n := v.classes
	return &classes{view: v, sums: [2][]classSums{make([]classSums, n), make([]classSums, n)}, at: make([]int32, v.hosts)}
}

// of gives a class as a monitor sees it whose own flows go along it as o says: swapped when
// its local side is the class's second end.
//
// Flows the other way have the monitor's local side as their remote one. Within one place,
// and where the monitor's flows go both ways, each is taken as it is.
func (c *classes) of(class int32, o orientation) (s *classSums, swapped bool) {
	asObserved := c.problem.Classes[class].Palindrome || o == bothWays
	s = &c.sums[0][class]
	if asObserved {
		s = &c.sums[1][class]
	}
	if !s.ready {
		c.sum(s, class, asObserved)
	}
	return s, !asObserved && o == backward
}

func (c *classes) sum(s *classSums, class int32, asObserved bool) {
	s.ready = true
	s.suspect = make([]loss, len(c.e.Suspects))
	for side := range s.hosts {
		for _, i := range c.byClass[class] {
			r := &c.problem.Rows[i]
			if r.Segments == 0 {
				continue
			}
			host := r.Local
			if (side == 1) != (!asObserved && !r.Forward) {
				host = r.Remote
			}
			at := c.at[host]
			if hosts := s.hosts[side]; int(at) >= len(hosts) || hosts[at].host != host {
				at = int32(len(hosts))
				c.at[host] = at
				s.hosts[side] = append(hosts, exposure{host: host})
			}
			s.hosts[side][at].segments += r.Segments
			if c.counts != nil && host == r.Remote {
				s.hosts[side][at].refused += c.counts[i].N[evidence.FailedRefused]
			}
			if c.waits != nil && host == r.Remote && r.Service < 0 { // a service's window is its flow control
				s.hosts[side][at].waiting.add(c.waits[i])
			}
			if b := c.e.Blame[i]; side == 0 && b >= 0 {
				s.suspect[b].segments += r.Segments
				s.suspect[b].lost += r.Lost
			}
		}
	}
}
