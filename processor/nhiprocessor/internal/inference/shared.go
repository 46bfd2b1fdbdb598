// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package inference

import (
	"cmp"
	"slices"
)

// unit is the evidence of one host (or of several with little traffic): units are
// independent of each other unless something that they share is at fault.
type unit struct {
	n, k float64
	host int32
}

// finding is what a test of shared loss says.
type finding uint8

const (
	shared       finding = iota
	contradicted         // others that cross the same are clean
	powerless            // too little evidence either way
)

const (
	// unitLosses is how many losses a unit is expected to have under the suspicion: with
	// three, a unit that really suffers shows none in only 5 % of windows (the rule of three).
	unitLosses = 3
	// contradiction is the level at which clean units contradict a suspicion. It decides
	// only whether another explanation is looked for or the loss stays undetermined.
	contradiction = 0.05
	// ranksTested bounds at how many ranks the test looks; each costs a share of the level.
	ranksTested = 8
)

// units gathers rows by the host that key gives.
func (s *search) units(rows []int32, key func(*Row) int32) []unit {
	us := s.unitBuffer[:0]
	for _, i := range rows {
		if s.blame[i] >= 0 {
			continue
		}
		r := &s.p.Rows[i]
		h := key(r)
		at := s.unitOf[h]
		if int(at) >= len(us) || us[at].host != h {
			at = int32(len(us))
			s.unitOf[h] = at
			us = append(us, unit{host: h})
		}
		us[at].n += r.Segments
		us[at].k += r.Lost
	}
	s.unitBuffer = us
	return us
}

// merged joins units with less than least segments, so that each has a chance to show
// loss. The largest come first. What is left over goes to the last one.
func merged(us []unit, least float64) []unit {
	slices.SortFunc(us, func(a, b unit) int { return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.host, b.host)) })
	out := us[:0]
	var thin unit
	for _, u := range us {
		if u.n >= least {
			out = append(out, u)
			continue
		}
		thin.n += u.n
		thin.k += u.k
		thin.host = u.host
		if thin.n >= least {
			out = append(out, thin)
			thin = unit{}
		}
	}
	if thin.n > 0 {
		if len(out) == 0 {
			return append(out, thin)
		}
		out[len(out)-1].n += thin.n
		out[len(out)-1].k += thin.k
	}
	return out
}

// test asks whether the loss of units, at rate together, against the given background, is
// shared by at least least of them and by more than half.
//
// Each unit has a p-value against the background. When nothing is shared they are
// independent, so the chance that r of m are as small as the r-th smallest is a binomial
// tail (the statistic of Berk and Jones). It is looked at for several r from the required
// number up: one that half of the hosts see clearly is found, and one that all see dimly.
func (s *search) test(us []unit, rate, background, level float64, least int) finding {
	m := len(us)
	required := max(least, m/2+1)
	if m < required {
		return s.lack(us, required, rate, background)
	}
	ps := s.pBuffer[:0]
	for _, u := range us {
		ps = append(ps, lossTail(u.k, u.n*background, s.dispersion))
	}
	s.pBuffer = ps
	slices.Sort(ps)
	step := max(1, (m-required+ranksTested-1)/ranksTested)
	tested, smallest := 0, 1.0
	for r := required; r <= m; r += step {
		smallest = min(smallest, binomialTail(m, r, ps[r-1]))
		tested++
	}
	if smallest*float64(tested) <= level {
		return shared
	}
	return s.lack(us, required, rate, background)
}

// lack says why a test failed: others are clean, or there is too little evidence.
func (s *search) lack(us []unit, required int, rate, background float64) finding {
	slices.SortFunc(us, func(a, b unit) int { return cmp.Compare(b.k/b.n, a.k/a.n) })
	var n, k float64 // of all but the worst
	for _, u := range us[min(1, len(us)):] {
		n += u.n
		k += u.k
	}
	if lossTail(k, n*background, s.dispersion) > s.rate {
		return contradicted // only one unit suffers
	}
	// Without the worst units, one fewer than required, a shared fault would still show.
	n, k = 0, 0
	for _, u := range us[min(required-1, len(us)):] {
		n += u.n
		k += u.k
	}
	if lossHead(k, n*rate, s.dispersion) <= contradiction {
		return contradicted
	}
	return powerless
}
