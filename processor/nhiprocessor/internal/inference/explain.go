// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package inference

import (
	"cmp"
	"slices"
)

const (
	// minExcess is the loss above the background that matters: half of the smallest fault
	// that is promised to be found (0.1 %). A TCP connection at 1 ms of round-trip time still
	// carries 0.6 Gbit/s at this loss (Mathis et al. 1997), so that less is not worth a verdict
	// however certain it is.
	minExcess = 5e-4
	// minRatio is how far a suspect must stand out from the background: healthy paths of
	// one network differ by less than that, and the faults that are promised to be found are
	// at least five times the background.
	minRatio = 3
	// quietShare is the share of the traffic whose hosts make the background when most of the
	// rest may be faulty: the least that is still a sample of the whole.
	quietShare = 0.25
	// maxSuspects bounds the explanation of one window, and with it the time that it takes.
	maxSuspects = 64
	// maxTests bounds how many candidates are tested for one suspect. They are tested from
	// the likeliest on; one that passes is nearly always among the first few.
	maxTests = 128
	// rivals is how many other explanations confidence is weighed against.
	rivals = 8
)

// search is the state of one explanation.
type search struct {
	p               *Problem
	cs              *candidates
	rate            float64 // wanted rate of false alarms
	dispersion      float64
	n, k            float64 // rows that nothing is blamed for
	priorN, priorK  float64
	blame           []int32
	likelihoodLevel float64
	networkLevel    float64
	endLevel        float64
	unitOf          []int32
	unitBuffer      []unit
	pBuffer         []float64
	suspects        []Suspect
	quiet           float64 // the background of the quietest hosts, once it is looked for, else 0
	order           []int32
	scores          []float64
}

// Explain finds what is to blame for the loss of a window. falseAlarms is the wanted rate
// of windows in which chance alone leads to a suspect. The baseline is read and, with
// the outcome, advanced.
func Explain(p *Problem, falseAlarms float64, b *Baseline) *Explanation {
	b.currentSq, b.current = 0, 0
	dispersion := b.dispersion()
	segments, lost := b.expectation()
	e := explain(p, falseAlarms, segments, lost, dispersion)
	// When what is left is burstier than assumed, everything was too sure: once more.
	b.look(p, e)
	if d := b.dispersion(); d > dispersion {
		e = explain(p, falseAlarms, segments, lost, d)
	}
	b.learn(p, e)
	return e
}

func explain(p *Problem, falseAlarms, priorN, priorK, dispersion float64) *Explanation {
	s := &search{
		p: p, cs: newCandidates(p), rate: falseAlarms, dispersion: dispersion,
		priorN: priorN, priorK: priorK,
		blame:           make([]int32, len(p.Rows)),
		likelihoodLevel: likelihoodThreshold(falseAlarms),
		unitOf:          make([]int32, len(p.Hosts)),
	}
	// The wanted rate is shared among all that could raise the alarm.
	s.networkLevel = falseAlarms / float64(max(1, s.cs.network))
	s.endLevel = falseAlarms / float64(max(1, len(s.cs.all)-s.cs.network))
	s.scores = make([]float64, len(s.cs.all))
	for i := range p.Rows {
		s.blame[i] = -1
		s.n += p.Rows[i].Segments
		s.k += p.Rows[i].Lost
	}
	for len(s.suspects) < maxSuspects && (s.next() || s.lookCloser()) {
	}
	e := &Explanation{
		Suspects: s.suspects, Blame: s.blame, Dispersion: dispersion, rate: falseAlarms,
		Background: (s.k + s.priorK) / (s.n + s.priorN),
	}
	e.Enough = enoughSegments(e.Background, dispersion, s.networkLevel)
	return e
}

// Stands says whether losses stand out from the background of the window: they matter and
// are not chance.
func (e *Explanation) Stands(segments, lost float64) bool {
	return segments > 0 && lost/segments-e.Background >= minExcess && lossTail(lost, segments*e.Background, e.Dispersion) <= e.rate
}

// next blames the likeliest candidate that passes its test. It is false when none does.
func (s *search) next() bool {
	s.order = s.order[:0]
	for i := range s.cs.all {
		c := &s.cs.all[i]
		c.rejected = false
		if s.scores[i] = s.score(c); s.scores[i] > 0 {
			s.order = append(s.order, int32(i))
		}
	}
	slices.SortFunc(s.order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(s.scores[b], s.scores[a]), s.cs.all[a].order(&s.cs.all[b]))
	})
	for at, i := range s.order[:min(len(s.order), maxTests)] {
		c := &s.cs.all[i]
		switch s.verdictOn(c) {
		case shared:
			s.accept(c, at)
			return true
		case powerless:
			// It explains the loss best, but the hosts are too few to tell: to go on would
			// blame what explains it less well.
			s.undetermined(c)
			return true
		case contradicted:
			c.rejected = true
		}
	}
	return false
}

// verdictOn tests a candidate.
func (s *search) verdictOn(c *candidate) finding {
	rate, background := c.k/c.n, s.background(c)
	switch c.kind {
	case Host:
		host := c.hosts[0]
		f := s.test(merged(s.units(c.rows, func(r *Row) int32 {
			if r.Local == host {
				return r.Remote
			}
			return r.Local
		}), unitLosses/rate), rate, background, s.endLevel, 1)
		if f == powerless {
			return contradicted // another end, or the network, may still explain it
		}
		return f
	case Service:
		f := s.test(merged(s.units(c.rows, func(r *Row) int32 { return r.Local }), unitLosses/rate), rate, background, s.endLevel, 1)
		if f == powerless {
			return contradicted
		}
		return f
	}
	out, required := shared, len(s.p.Hosts)
	for _, first := range []bool{true, false} {
		us := merged(s.units(c.rows, s.side(first)), unitLosses/rate)
		required = min(required, len(us)/2+1)
		switch s.test(us, rate, background, s.networkLevel, SharedHosts) {
		case contradicted:
			return contradicted
		case powerless:
			out = powerless
		}
	}
	if !s.independent(c) || out == shared && !s.survives(c, max(SharedHosts, required)) {
		return contradicted
	}
	return out
}

// side gives the host at one side of a row's path.
func (s *search) side(first bool) func(*Row) int32 {
	return func(r *Row) int32 {
		a, b := s.p.sides(r)
		if first {
			return a
		}
		return b
	}
}
