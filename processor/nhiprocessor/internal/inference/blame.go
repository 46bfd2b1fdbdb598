// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package inference

import (
	"math"
	"slices"
)

// accept blames c, the at-th in order.
func (s *search) accept(c *candidate, at int) {
	names := s.names(c)
	confidence, alternatives := s.confidence(c, names, at)
	suspect := Suspect{
		Kind: c.kind, Names: names, Hosts: c.hosts, Service: len(c.services) > 0, Segments: c.n, Lost: c.k, Rate: c.k / c.n,
		Confidence: confidence, Alternatives: alternatives,
	}
	s.blameRows(c, &suspect)
}

func (s *search) undetermined(c *candidate) {
	s.blameRows(c, &Suspect{Kind: Undetermined, Names: s.names(c), Segments: c.n, Lost: c.k, Rate: c.k / c.n})
}

func (s *search) blameRows(c *candidate, suspect *Suspect) {
	at := int32(len(s.suspects))
	for _, i := range c.rows {
		if s.blame[i] >= 0 {
			continue
		}
		s.blame[i] = at
		suspect.Rows = append(suspect.Rows, i)
		r := &s.p.Rows[i]
		usual, over := r.Segments*r.usual(s.usuals), max(r.Lost-s.mostLost, 0)
		s.cs.remove(i, r, usual, over)
		s.n -= r.Segments
		s.k -= r.Lost
		s.usual -= usual
		s.over -= over
	}
	s.suspects = append(s.suspects, *suspect)
}

// nearlyAsLikely is the likelihood from which on another explanation is told of, as a share of that
// of the one that was taken: one in twenty.
const nearlyAsLikely = 0.05

// confidence is the share of c's likelihood among the explanations of the same loss that
// were not ruled out.
func (s *search) confidence(c *candidate, names []string, at int) (share float64, alternatives [][]string) {
	others, weighed := 0.0, 0
	for _, i := range s.order[at+1:] {
		if weighed == rivals {
			break
		}
		o := &s.cs.all[i]
		// It competes for the same loss when half of it is common, and is another
		// explanation when it names others.
		if s.common(c, o) < c.k/2 || slices.Equal(s.names(o), names) {
			continue
		}
		weighed++
		if s.verdictOn(o) != contradicted {
			likely := math.Exp(s.scores[i] - s.scores[s.order[at]])
			others += likely
			if likely >= nearlyAsLikely {
				alternatives = append(alternatives, s.names(o))
			}
		}
	}
	return 1 / (1 + others), alternatives
}

// common counts the losses of rows that both cross.
func (s *search) common(a, b *candidate) (k float64) {
	i, j := 0, 0
	for i < len(a.rows) && j < len(b.rows) {
		switch {
		case a.rows[i] < b.rows[j]:
			i++
		case a.rows[i] > b.rows[j]:
			j++
		default:
			if s.blame[a.rows[i]] < 0 {
				k += s.p.Rows[a.rows[i]].Lost
			}
			i++
			j++
		}
	}
	return k
}

// names lists the components of a candidate. Of a path those are left out whose other
// rows are clean: they alone cannot be to blame.
func (s *search) names(c *candidate) []string {
	var names []string
	for _, h := range c.hosts {
		names = append(names, s.p.Hosts[h])
	}
	for _, v := range c.services {
		names = append(names, s.p.Services[v])
	}
	for _, v := range c.components {
		names = append(names, s.p.Components[v])
	}
	if len(names) == 0 {
		names = s.pathNames(c)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (s *search) pathNames(c *candidate) (names []string) {
	var all []string
	for _, component := range s.p.Classes[c.class].Components {
		name := s.p.Components[component]
		all = append(all, name)
		var n, k float64
		for i := range s.p.Rows {
			r := &s.p.Rows[i]
			if s.blame[i] < 0 && r.Class >= 0 && r.Class != c.class && slices.Contains(s.p.Classes[r.Class].Components, component) {
				n += r.Segments
				k += r.Lost
			}
		}
		if !s.clean(n, k, c.k/c.n, s.background(c), contradiction) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return all // they fail together only: a part of each
	}
	return names
}
