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

// crossing is a class of paths that the flows of a monitor take.
type crossing struct {
	class int32
	ways  orientation
}

// exposure is what one host has of the traffic of a class.
type exposure struct {
	host     int32
	segments float64
	waiting         // of those who send to it
	refused  uint64 // connections to it
}

// ends are the hosts at a class's first and second end, or as sender and receiver.
type ends [2][]exposure

// sides sums up who is at which side of classes of paths. Many monitors ask for the same.
type sides struct {
	a        *assembly
	problem  *inference.Problem // its rows are limited
	byEnd    []*ends            // of each class, by end
	observed []*ends            // and as observed
	ways     []orientation      // of the monitor at hand along each class, else 0
	at       []int32            // where a host is in the list at hand
	arena    []exposure
}

// newSides finds out for all monitors which classes of paths they cross, and who is there.
func newSides(a *assembly, limited *inference.Problem) *sides {
	n := len(limited.Classes)
	s := &sides{
		a: a, problem: limited, byEnd: make([]*ends, n), observed: make([]*ends, n),
		ways: make([]orientation, n), at: make([]int32, len(limited.Hosts)), arena: make([]exposure, 0, len(limited.Rows)),
	}
	for _, o := range a.monitors {
		s.cross(o)
	}
	return s
}

// cross lists the classes of paths that a monitor's own flows take.
func (s *sides) cross(o *own) {
	for _, i := range o.rows {
		r := &s.problem.Rows[i]
		if r.Segments == 0 {
			continue
		}
		if s.ways[r.Class] == 0 {
			o.crossed = append(o.crossed, crossing{class: r.Class})
		}
		if r.Forward {
			s.ways[r.Class] |= forward
		} else {
			s.ways[r.Class] |= backward
		}
	}
	for i := range o.crossed {
		c := &o.crossed[i]
		c.ways, s.ways[c.class] = s.ways[c.class], 0
		s.of(*c)
	}
}

// of gives the hosts of a class as a monitor sees it whose own flows go along it as c says: swapped when
// its local side is the class's second end.
//
// Flows the other way have the monitor's local side as their remote one. Within one place,
// and where the monitor's flows go both ways, each is taken as it is.
func (s *sides) of(c crossing) (hosts *ends, swapped bool) {
	asObserved := s.problem.Classes[c.class].Palindrome || c.ways == bothWays
	known := s.byEnd
	if asObserved {
		known = s.observed
	}
	if known[c.class] == nil {
		known[c.class] = s.sum(c.class, asObserved)
	}
	return known[c.class], !asObserved && c.ways == backward
}

func (s *sides) sum(class int32, asObserved bool) *ends {
	out := &ends{}
	for side := range out {
		from := len(s.arena)
		for _, i := range s.a.byClass[class] {
			r := &s.problem.Rows[i]
			if r.Segments == 0 {
				continue
			}
			host := r.Local
			if (side == 1) != (!asObserved && !r.Forward) {
				host = r.Remote
			}
			hosts := s.arena[from:]
			at := s.at[host]
			if int(at) >= len(hosts) || hosts[at].host != host {
				at = int32(len(hosts))
				s.at[host] = at
				s.arena = append(s.arena, exposure{host: host})
				hosts = s.arena[from:]
			}
			e := &hosts[at]
			e.segments += r.Segments
			if host != r.Remote {
				continue
			}
			e.refused += s.a.counts[i].N[evidence.FailedRefused]
			if s.a.waits != nil && r.Service < 0 { // a service's window is its flow control
				e.waiting.add(s.a.waits[i])
			}
		}
		out[side] = s.arena[from:len(s.arena):len(s.arena)]
	}
	return out
}
