// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package inference

import (
	"cmp"
	"math"
	"slices"
)

const (
	// minExcess is the loss above the background that matters. The smallest fault that is
	// promised to be found (0.1 %) makes 0.025 % on one of four equal-cost paths, less what few
	// connections vary by. A TCP connection at 1 ms of round-trip time still carries 1.2 Gbit/s at
	// this loss (Mathis et al. 1997), so that less is not worth a verdict however certain it is.
	minExcess = 1.5e-4
	// minRatio is how far a suspect must stand out from the background: half as much loss again is
	// what healthy paths differ by. A fault of one of four equal-cost paths that loses five times
	// the background makes 2.25, less what few connections vary by.
	minRatio = 1.75
	// quietShare is the share of the traffic whose hosts make the background when most of the
	// rest may be faulty: the least that is still a sample of the whole.
	quietShare = 0.25
	// maxSuspects bounds the explanation of one window, and with it the time that it takes.
	maxSuspects = 64
	// maxTests bounds how many candidates are tested for one suspect. They are tested from
	// the likeliest on; one that passes is nearly always among the first few.
	maxTests = 128
	// doubt is the score from which on a window is worth a second look together with the one
	// before it: a likelihood ratio of twenty.
	doubt = 3.0
	// rivals is how many other explanations confidence is weighed against.
	rivals = 8
)

// search is the state of one explanation.
type search struct {
	p               *Problem
	cs              *candidates
	rate            float64 // wanted rate of false alarms
	level           float64 // of a window
	secondLevel     float64 // without the worst two hosts: one is suspected already
	matter          matter
	best            float64 // score of the likeliest candidate, significant or not
	dispersion      float64 // that is assumed before loss is held against anybody
	burstiness      float64 // that is likeliest, by which a lack of loss is judged
	n, k            float64 // rows that nothing is blamed for
	usual, over     float64 // what they usually lose, and losses that do not count in the background
	usuals          []float64
	mostLost        float64
	priorN, priorK  float64
	blame           []int32
	likelihoodLevel float64
	networkLevel    float64
	unitOf          []int32
	unitBuffer      []unit
	rowBuffer       []int32
	hostSums        []unit
	paths           map[int32]unit
	suspects        []Suspect
	quiet           float64 // the background of the quietest hosts, once it is looked for, else 0
	known           float64 // the background that earlier windows had; 0: not known yet
	order           []int32
	scores          []float64
}

// matter is how far a suspect has to stand out from the background.
type matter struct{ excess, ratio float64 }

var lossMatters = matter{excess: minExcess, ratio: minRatio}

// Explain finds what is to blame for the loss of a window. falseAlarms is the wanted rate
// of verdicts that chance alone leads to. The baseline is read and, with the outcome, advanced.
func Explain(p *Problem, falseAlarms float64, b *Baseline) *Explanation {
	e := b.explain(p, falseAlarms, newCandidates(p))
	e.Enough = enoughSegments(e.Background, b.burstiness(), e.level)
	b.learn(p, e)
	return e
}

// Review finds what is to blame for the loss of several windows together. The baseline has
// learned of them before and stays as it is. last explains the last of them: the rows are the
// same but for their counts.
func Review(p *Problem, falseAlarms float64, b *Baseline, last *Explanation) *Explanation {
	c := *b
	return c.explain(p, falseAlarms/reviewed, last.candidates)
}

// reviewed is how much rarer chance has to be in two windows together than is wanted. One such
// finding suffices for a verdict, which then holds for some windows.
const reviewed = 10

func (b *Baseline) explain(p *Problem, falseAlarms float64, cs *candidates) *Explanation {
	b.currentSq, b.current = 0, 0
	dispersion := b.dispersion()
	segments, lost := b.expectation()
	usual := usuals(p)
	known := 0.0
	if b.windows >= knownAfter {
		known = max(lost/segments, priorRate) // a network that gets as bad as the worst healthy ones all over has no fault
	}
	e := explain(p, cs, usual, falseAlarms, segments, lost, known, dispersion, b.burstiness(), lossMatters)
	// When what is left is burstier than assumed, everything was too sure: once more.
	b.look(p, e)
	if d := b.dispersion(); d > dispersion {
		e = explain(p, cs, usual, falseAlarms, segments, lost, known, d, b.burstiness(), lossMatters)
	}
	return e
}

func explain(p *Problem, cs *candidates, usual []float64, falseAlarms, priorN, priorK, known, dispersion, burstiness float64, m matter) *Explanation {
	cs.count(p)
	s := &search{
		p: p, cs: cs, rate: falseAlarms, dispersion: dispersion, burstiness: burstiness, matter: m,
		priorN: priorN, priorK: priorK, known: known, usuals: usual, mostLost: mostLost(p.Rows),
		blame:    make([]int32, len(p.Rows)),
		unitOf:   make([]int32, len(p.Hosts)),
		hostSums: make([]unit, len(p.Hosts)),
		paths:    map[int32]unit{},
	}
	// The wanted rate is shared among all that could raise the alarm.
	s.level = windowLevel(falseAlarms)
	s.secondLevel = math.Sqrt(falseAlarms)
	s.networkLevel = s.level / float64(max(1, s.cs.network))
	s.likelihoodLevel = likelihoodThreshold(s.networkLevel)
	s.scores = make([]float64, len(s.cs.all))
	for i := range p.Rows {
		s.blame[i] = -1
		s.n += p.Rows[i].Segments
		s.k += p.Rows[i].Lost
		s.usual += p.Rows[i].Segments * p.Rows[i].usual(usual)
		if over := p.Rows[i].Lost - s.mostLost; over > 0 {
			s.over += over
			cs.over(int32(i), over)
		}
	}
	for len(s.suspects) < maxSuspects && (s.next() || s.lookCloser()) {
	}
	background := (s.k - s.over + s.priorK) / (s.n + s.priorN)
	s.unexplained()
	return &Explanation{
		Suspects: s.suspects, Blame: s.blame, Dispersion: dispersion, Doubtful: s.best >= doubt,
		Background: background, mostLost: s.mostLost, rate: falseAlarms, level: s.networkLevel, matter: m,
		candidates: cs,
	}
}

// Stands says whether losses stand out from the background of the window: they matter and
// are not chance.
func (e *Explanation) Stands(segments, lost float64) bool {
	return segments > 0 && lost/segments-e.Background >= e.matter.excess && lossTail(lost, segments*e.Background, e.Dispersion) <= e.rate
}

// Exceeds says whether losses are more than the background gives, at a level.
func (e *Explanation) Exceeds(segments, lost, level float64) bool {
	return lossTail(lost, segments*e.Background, e.Dispersion) <= level
}

// next blames the likeliest candidate that passes its test. It is false when none does.
func (s *search) next() bool {
	s.order = s.order[:0]
	for i := range s.cs.all {
		c := &s.cs.all[i]
		c.rejected = false
		s.scores[i] = s.score(c)
		s.best = max(s.best, s.scores[i])
		if s.scores[i] >= s.likelihoodLevel {
			s.order = append(s.order, int32(i))
		}
	}
	if len(s.order) == 0 {
		return false
	}
	s.cs.list()
	for _, i := range s.order {
		s.cs.describe(&s.cs.all[i])
	}
	slices.SortFunc(s.order, func(a, b int32) int {
		if d := cmp.Compare(s.scores[b], s.scores[a]); d != 0 {
			return d
		}
		return s.cs.all[a].order(&s.cs.all[b], s.p)
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
	switch c.kind {
	case Host:
		host := c.hosts[0]
		return s.ofEnd(c, func(r *Row) int32 {
			if r.Local == host {
				return r.Remote
			}
			return r.Local
		})
	case Service:
		return s.ofEnd(c, func(r *Row) int32 { return r.Local })
	}
	return s.ofNetwork(c)
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
