// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package accuracy

import (
	"slices"

	"gonum.org/v1/gonum/mathext"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// confidence of the bounds, one-sided.
const confidence = 0.95

// Share is a number of trials and how many of them had an outcome.
type Share struct{ Hits, Of int }

// Count adds a trial.
func (s *Share) Count(hit bool) {
	s.Of++
	if hit {
		s.Hits++
	}
}

// Add adds other trials.
func (s *Share) Add(o Share) { s.Hits += o.Hits; s.Of += o.Of }

// Rate is the share itself.
func (s Share) Rate() float64 {
	if s.Of == 0 {
		return 0
	}
	return float64(s.Hits) / float64(s.Of)
}

// Lower is the one-sided bound of Clopper and Pearson (1934) below the share.
func (s Share) Lower() float64 {
	if s.Hits == 0 {
		return 0
	}
	return mathext.InvRegIncBeta(float64(s.Hits), float64(s.Of-s.Hits+1), 1-confidence)
}

// Upper is the one-sided bound above the share.
func (s Share) Upper() float64 {
	if s.Hits == s.Of {
		return 1
	}
	return mathext.InvRegIncBeta(float64(s.Hits+1), float64(s.Of-s.Hits), confidence)
}

// Score is what one method achieved.
type Score struct {
	Recall       Share           // degraded, of the eligible windows of network faults
	Insufficient Share           // insufficient_data among them
	Component    Share           // the true component is in the named set, given degraded
	Set          int             // names in those sets
	Below        Share           // insufficient_data, of the windows below the minimum
	Clean        Share           // degraded, of clean windows
	Judged       Share           // not insufficient_data, of clean windows
	Other        map[Kind]*Share // degraded, of windows of other faults
	Cause        map[Kind]*Share // right cause, of those that are judged; none is not right
	Named        map[Kind]*Share // right cause, of those that have one
	Detected     [12]int         // onsets by the full windows that it took; the last: not at all
	Cleared      [12]int         // ends likewise
	Network      map[Kind]*Share // recall by kind
}

// NewScore makes an empty one.
func NewScore() *Score {
	return &Score{Other: map[Kind]*Share{}, Cause: map[Kind]*Share{}, Named: map[Kind]*Share{}, Network: map[Kind]*Share{}}
}

func of(m map[Kind]*Share, k Kind) *Share {
	if m[k] == nil {
		m[k] = &Share{}
	}
	return m[k]
}

// Count adds a window of one monitor.
func (s *Score) Count(t *Truth, a Answer) {
	if !t.Scored || t.Unclear {
		return
	}
	switch {
	case t.Kind == "":
		s.Clean.Count(a.Degraded)
		s.Judged.Count(!a.Insufficient)
	case !t.Network():
		of(s.Other, t.Kind).Count(a.Degraded)
		if !a.Insufficient {
			right := slices.Contains(t.Causes, a.Cause)
			of(s.Cause, t.Kind).Count(right)
			if a.Cause != flowattr.CauseNone {
				of(s.Named, t.Kind).Count(right)
			}
		}
	case t.Eligible:
		s.Recall.Count(a.Degraded)
		of(s.Network, t.Kind).Count(a.Degraded)
		s.Insufficient.Count(a.Insufficient)
		if a.Degraded {
			s.Component.Count(t.names(a.Names))
			s.Set += len(a.Names)
		}
	default:
		s.Below.Count(a.Insufficient)
	}
}

// Wrong says whether the indicator is wrong in a window that is scored.
func (t *Truth) Wrong(a Answer) bool {
	if !t.Scored || t.Unclear {
		return false
	}
	if t.Network() {
		return t.Eligible && !a.Degraded
	}
	return a.Degraded
}

// Precision is the share of network faults among degraded windows.
func (s *Score) Precision() Share {
	wrong := s.Clean.Hits + s.AllOther().Hits
	return Share{Hits: s.Recall.Hits, Of: s.Recall.Hits + wrong}
}

// AllOther sums up the faults that are not the network's.
func (s *Score) AllOther() (all Share) {
	for _, o := range s.Other {
		all.Add(*o)
	}
	return all
}

// F1 is the harmonic mean of recall and precision.
func (s *Score) F1() float64 {
	r, p := s.Recall.Rate(), s.Precision().Rate()
	if r+p == 0 {
		return 0
	}
	return 2 * r * p / (r + p)
}

// latency follows the onsets and ends of one monitor.
type latency struct {
	waiting  bool // for the detection
	clearing bool
	eligible bool
}

// Follow adds a window to the latencies of one monitor.
func (l *latency) follow(s *Score, t *Truth, a Answer) {
	last := len(s.Detected) - 1
	switch {
	case t.Network() && !t.Unclear:
		if t.SinceOnset == 1 {
			l.waiting, l.eligible = t.Eligible, t.Eligible
		}
		if l.waiting && a.Degraded {
			s.Detected[min(t.SinceOnset, last)]++
			l.waiting = false
		}
		l.clearing = a.Degraded
	case t.SinceEnd > 0:
		if l.waiting {
			s.Detected[last]++
			l.waiting = false
		}
		if l.clearing && !a.Degraded {
			s.Cleared[min(t.SinceEnd, last)]++
			l.clearing = false
		}
	}
}

// Within is the share of counts that took at most n.
func Within(counts [12]int, n int) (s Share) {
	for i, c := range counts {
		s.Of += c
		if i <= n {
			s.Hits += c
		}
	}
	return s
}
