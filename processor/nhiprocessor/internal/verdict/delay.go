// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"math"

	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/inference"
)

const (
	// judgedAfter is how many windows a baseline has to come from before it is judged by.
	judgedAfter = 3
	// settledAfter is up to how many windows a baseline is their mean: with 16, it is known
	// four times better than one window shows it.
	settledAfter = 16
	// drift is how fast a settled baseline, or that of a pair that is slow, follows: by half
	// in eight hours of windows of a minute. So slow that a way that gets longer over hours is
	// seen, and still a new way is taken for normal after a day.
	drift = 1.0 / 720
	// leastTimes is how many round-trip times a median is taken of at least: of eight, its
	// standard error is less than half of what the times themselves vary by.
	leastTimes = 8
	// slowRise and slowDelay are what makes a pair slow: half of the smallest delay that is
	// promised to be found, which is a quarter of the pair's median (2^0.32) and 0.5 ms.
	slowRise  = 0.16 // of the logarithm to base 2
	slowDelay = 0.00025
	// slowDeviations is by how many of its usual deviations a pair is beyond its baseline
	// when it is slow: 2.5 mean absolute deviations are two standard deviations.
	slowDeviations = 2.5
)

// slowness is what the last window said of a pair.
type slowness uint8

const (
	notJudged slowness = iota
	ordinary
	slow
)

// history is what is known of the round-trip time that one end of a pair of hosts sees.
type history struct {
	base, deviation float32 // logarithms to base 2
	windows         uint16  // that the baseline comes from
	median          float32 // of the window at hand
	now             bool    // there is one
	slow            slowness
	load            load
	rejected        float32 // connections that end refused or reset, in a usual window
	waited          float32 // the usual share of the time that the sender waits for the reader
	sending         uint16  // windows that this comes from
}

// historyOf is what is known of the pair of hosts that a row is of. It is kept with the row's
// identity, and as long.
func historyOf(k *evidence.Key) *history {
	h, _ := k.Memory.(*history)
	if h == nil {
		h = &history{}
		k.Memory = h
	}
	return h
}

// pair is the two hosts of rows, from the one that opened the connections, where that is
// known.
type pair struct {
	first, second  int32
	class, service int32
	role           inference.Role
}

// delays states which pairs are slow: in this window, and in this one and the one before together, where
// both were judged. The latter is nil unless both have something that hosts could share. Both share the
// hosts, components and classes of the loss's.
func delays(a *assembly) (now, both *view) {
	p := a.problem
	type sum struct {
		first              int32 // row that stands for the pair
		n                  int   // rows
		rise, delay, limit float64
		before             slowness
	}
	var sums []sum
	index := make(map[pair]int32, len(a.keys)/2)
	of := make([]int32, len(a.keys)) // of each row its pair, or -1
	slowNow, slowBefore := 0, 0
	for i, k := range a.keys {
		h, t := historyOf(k), a.counts[i].Times
		before := h.slow
		of[i] = -1
		h.now, h.slow = false, notJudged
		if t == nil {
			continue
		}
		median, n := t.Median()
		if n < leastTimes {
			continue
		}
		h.median, h.now = float32(median), true
		if h.windows < judgedAfter {
			continue
		}
		r := &p.Rows[i]
		key := pair{first: r.Local, second: r.Remote, class: r.Class, service: r.Service, role: inference.Client}
		switch {
		case r.Role == inference.Server:
			key.first, key.second = r.Remote, r.Local
		case r.Role == inference.RoleUnknown:
			key.first, key.second, key.role = min(r.Local, r.Remote), max(r.Local, r.Remote), inference.RoleUnknown
		}
		at, known := index[key]
		if !known {
			at = int32(len(sums))
			index[key] = at
			sums = append(sums, sum{first: int32(i)})
		}
		of[i] = at
		s := &sums[at]
		s.rise += median - float64(h.base)
		s.delay += math.Exp2(median) - math.Exp2(float64(h.base))
		s.limit += max(slowRise, slowDeviations*float64(h.deviation))
		s.before = max(s.before, before)
		s.n++
		if r.Local == key.first {
			s.first = int32(i)
		}
	}
	is := make([]slowness, len(sums))
	for i := range sums {
		s := &sums[i]
		is[i] = ordinary
		if s.rise >= s.limit && s.delay >= slowDelay*float64(s.n) {
			is[i] = slow
			slowNow++
			if s.before == slow {
				slowBefore++
			}
		}
	}
	for i, at := range of {
		if at >= 0 {
			historyOf(a.keys[i]).slow = is[at]
		}
	}
	if slowNow < inference.SharedHosts {
		return nil, nil // nothing that hosts could share
	}
	viewOf := func(count func(*sum, slowness) (n, k float64)) *view {
		v := &view{classes: len(p.Classes), hosts: len(p.Hosts)}
		q := *p
		q.Rows = make([]inference.Row, 0, len(sums))
		for i := range sums {
			r := p.Rows[sums[i].first]
			if r.Segments, r.Lost = count(&sums[i], is[i]); r.Segments > 0 {
				q.Rows = append(q.Rows, r)
				v.origins = append(v.origins, sums[i].first)
			}
		}
		v.problem = &q
		v.index()
		return v
	}
	one := func(s slowness) float64 {
		if s == slow {
			return 1
		}
		return 0
	}
	now = viewOf(func(_ *sum, s slowness) (n, k float64) { return 1, one(s) })
	if slowBefore >= inference.SharedHosts {
		both = viewOf(func(of *sum, s slowness) (n, k float64) {
			if of.before == notJudged {
				return 0, 0
			}
			return 2, one(s) + one(of.before)
		})
	}
	return now, both
}

// learnDelays advances the baselines by the window at hand.
func learnDelays(a *assembly) {
	for _, k := range a.keys {
		h := historyOf(k)
		if !h.now {
			continue
		}
		h.now = false
		rise := h.median - h.base
		switch {
		case h.windows == 0:
			h.base = h.median
		case h.windows >= judgedAfter && float64(rise) >= max(slowRise, slowDeviations*float64(h.deviation)):
			h.base += rise * drift
			continue // slow, for whatever reason
		default:
			share := max(1/float32(h.windows+1), drift)
			if h.windows >= settledAfter && rise > -slowRise {
				share = drift
			} else if h.windows >= settledAfter {
				share = 1.0 / settledAfter // a shorter way
			}
			h.base += rise * share
			h.deviation += (float32(math.Abs(float64(rise))) - h.deviation) * max(share, 1.0/settledAfter)
		}
		if h.windows < settledAfter {
			h.windows++
		}
	}
}
