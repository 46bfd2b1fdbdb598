// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package inference

import (
	"cmp"
	"slices"
)

// expected is the rate that is expected of all that nothing is blamed for.
func (s *search) expected() float64 { return max(s.priorK/s.priorN, s.usual/s.n) }

// lookCloser is for a window in which nothing more stands out although far more is lost
// than expected: many things may be faulty at once, so that each of them is background to
// the others. From here on the background is that of the quietest hosts or paths, or what is
// known of earlier windows. It is true when another look is worth it.
func (s *search) lookCloser() bool {
	if s.quiet > 0 || s.n == 0 || (s.k-s.over)/s.n < s.matter.ratio*s.expected() {
		return false
	}
	hosts, classes := make([]unit, len(s.p.Hosts)), make([]unit, len(s.p.Classes))
	for i := range s.p.Rows {
		r := &s.p.Rows[i]
		if s.blame[i] >= 0 {
			continue
		}
		for _, h := range [2]int32{r.Local, r.Remote} {
			hosts[h].n += r.Segments
			hosts[h].k += r.Lost
		}
		if r.Class >= 0 {
			classes[r.Class].n += r.Segments
			classes[r.Class].k += r.Lost
		}
	}
	none := func(u unit) bool { return u.n == 0 }
	// A few segments without a loss say nothing: of many small paths the quietest would always be clean.
	least := unitBursts * (s.burstiness + 1) / 2 / (s.k / s.n)
	s.quiet = min(s.quietest(slices.DeleteFunc(hosts, none)), s.quietest(merged(slices.DeleteFunc(classes, none), least)))
	if s.known > 0 {
		s.quiet = min(s.quiet, s.known)
	}
	return true
}

// quietest is the rate of the quietest units that have quietShare of what all have.
func (s *search) quietest(us []unit) float64 {
	slices.SortFunc(us, func(a, b unit) int { return cmp.Compare(a.k/a.n, b.k/b.n) })
	total := 0.0
	for _, u := range us {
		total += u.n
	}
	var n, k float64
	for _, u := range us {
		if n >= quietShare*total {
			break
		}
		n += u.n
		k += u.k
	}
	return (k + s.priorK) / (n + s.priorN)
}

// unexplained tells the suspect that stands for nothing in particular.
func (s *Suspect) unexplained() bool { return s.Kind == Undetermined && len(s.Names) == 0 }

// unexplained leaves open what is far more than expected, and was put down to nothing: it is there,
// so that what it concerns is not healthy.
func (s *search) unexplained() {
	if s.n == 0 || s.known == 0 {
		return
	}
	rate, expected := (s.k-s.over)/s.n, max(s.known, s.expected())
	if rate-expected < s.matter.excess || rate < s.matter.ratio*expected || lossTail(s.k-s.over, s.n*expected, s.dispersion) > s.level {
		return
	}
	at, rest := int32(len(s.suspects)), Suspect{Kind: Undetermined, Segments: s.n, Lost: s.k, Rate: rate}
	for i := range s.blame {
		if s.blame[i] < 0 {
			s.blame[i] = at
			rest.Rows = append(rest.Rows, int32(i))
		}
	}
	s.suspects = append(s.suspects, rest)
}
