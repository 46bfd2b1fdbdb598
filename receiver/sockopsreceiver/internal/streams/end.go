// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package streams

import (
	"cmp"
	"slices"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// Outcome says what became of the points of a round.
type Outcome int

const (
	// Delivered: the pipeline has taken them.
	Delivered Outcome = iota
	// Refused for now: what they counted goes out with the next round.
	Refused
	// Lost: refused for good. The next point of each stream spans the gap, so that the
	// stream goes on for those who add deltas up; what it lacks is what was lost.
	// Cumulative totals lose nothing.
	Lost
)

// Forgotten counts the streams whose end is no longer remembered.
type Forgotten struct {
	Idle     int // silent for longer than the idle timeout
	Capacity int // of the flows silent longest, because more than MaxFlows were remembered
}

// End ends a round whose points, written up to now, had this outcome. Data of the
// kernel added from here on belongs to the next round.
func (t *Table) End(now pcommon.Timestamp, o Outcome) Forgotten {
	t.inUse = 0
	for i := range t.states {
		s := &t.states[i]
		if s.round == 0 {
			continue
		}
		t.settle(s, now, o)
		if s.round == t.round {
			s.seen = now
		} else if t.idle(s, now, o) {
			t.forgotten.Idle += s.streams()
			t.remove(int32(i))
			continue
		}
		if s.account != nil && s.key.kind == kindFlow {
			t.inUse++
		}
	}
	t.trim()
	t.accounts.trim()
	t.histograms.trim()
	t.round++
	t.harvested = 0
	f := t.forgotten
	t.forgotten = Forgotten{}
	return f
}

// settle draws the consequences for one flow.
func (t *Table) settle(s *state, now pcommon.Timestamp, o Outcome) {
	if o == Delivered && t.levels {
		for p := range s.open {
			if t.level(s, p) == 0 {
				s.shown &^= 1 << p
			}
		}
	}
	if s.account == nil || o == Refused || t.settings.Cumulative {
		return
	}
	if o == Delivered {
		for i, n := range s.account.sums {
			if n != 0 {
				s.since[i] = now
			}
		}
		for i, h := range s.account.histograms {
			if h != nil {
				s.since[numSums+i] = now
			}
		}
	}
	t.release(s)
}

// level is how many connections of a flow are open in a phase in this round.
func (t *Table) level(s *state, phase int) uint64 {
	if s.round != t.round {
		return 0
	}
	return s.open[phase]
}

// idle says whether a flow that is silent may be forgotten: nothing undelivered is held
// for it, its gauges are 0, and it was silent for long enough.
func (t *Table) idle(s *state, now pcommon.Timestamp, o Outcome) bool {
	held := s.account != nil && !(t.settings.Cumulative && o == Delivered)
	return !held && s.shown == 0 && now > s.seen+pcommon.Timestamp(t.settings.IdleTimeout)
}

// trim forgets the flows silent longest until no more than MaxFlows are remembered.
func (t *Table) trim() {
	excess := len(t.index) - t.settings.MaxFlows - overflowFlows
	if excess <= 0 {
		return
	}
	t.oldest = t.oldest[:0]
	for i := range t.states {
		s := &t.states[i]
		if s.round != 0 && s.account == nil && s.shown == 0 && s.key.kind == kindFlow {
			t.oldest = append(t.oldest, int32(i))
		}
	}
	slices.SortFunc(t.oldest, func(a, b int32) int {
		return cmp.Compare(t.states[a].seen, t.states[b].seen)
	})
	for _, i := range t.oldest[:min(excess, len(t.oldest))] {
		t.forgotten.Capacity += t.states[i].streams()
		t.remove(i)
	}
}

// streams is how many streams of the flow have an end to be remembered.
func (s *state) streams() (n int) {
	for _, end := range s.since {
		if end != 0 {
			n++
		}
	}
	return n
}
