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

// lasting is how many windows are looked at together, one after the other. Of three hosts a side six
// pairs are left without the worst host: by the expected share of slow pairs and their dispersion (see
// inference), all six are slow by chance with 6e-4 in one window, 1.3e-5 in two, and 3e-7 in three, where a
// tenth of the wanted rate of false alarms, 1e-5, is asked for.
const lasting = 3

// slowness is what a window said of a pair.
type slowness uint8

const (
	notJudged slowness = iota
	ordinary
	slow
)

// history is what is known of the round-trip time that one end of a pair of hosts sees.
type history struct {
	base, deviation float32           // logarithms to base 2
	windows         uint16            // that the baseline comes from
	median          float32           // of the window at hand
	now             bool              // there is one
	slow            [lasting]slowness // in the last windows that it was heard in, the newest first
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

// delays states which pairs are slow: in this window, in this one and the one before together, and so on
// up to lasting, where all of them were judged and have something that hosts could share. All share the
// hosts, components and classes of the loss's.
func delays(a *assembly) (views []*view) {
	p := a.problem
	type sum struct {
		first              int32 // row that stands for the pair
		n                  int   // rows
		rise, delay, limit float64
		slow               [lasting]slowness // the newest first
	}
	var sums []sum
	index := make(map[pair]int32, len(a.keys)/2)
	of := make([]int32, len(a.keys)) // of each row its pair, or -1
	for i, k := range a.keys {
		h, t := historyOf(k), a.counts[i].Times
		copy(h.slow[1:], h.slow[:])
		h.now, h.slow[0] = false, notJudged
		of[i] = -1
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
		for before := 1; before < lasting; before++ {
			s.slow[before] = max(s.slow[before], h.slow[before])
		}
		s.n++
		if r.Local == key.first {
			s.first = int32(i)
		}
	}
	var slowIn [lasting]int
	for i := range sums {
		s := &sums[i]
		s.slow[0] = ordinary
		if s.rise >= s.limit && s.delay >= slowDelay*float64(s.n) {
			s.slow[0] = slow
			for before := 0; before < lasting && s.slow[before] == slow; before++ {
				slowIn[before]++
			}
		}
	}
	for i, at := range of {
		if at >= 0 {
			historyOf(a.keys[i]).slow[0] = sums[at].slow[0]
		}
	}
	for windows := 1; windows <= lasting && slowIn[windows-1] >= inference.SharedHosts; windows++ {
		v := &view{windows: windows}
		q := *p
		q.Rows = make([]inference.Row, 0, len(sums))
	pairs:
		for i := range sums {
			r := p.Rows[sums[i].first]
			r.Segments, r.Lost = float64(windows), 0
			for _, was := range sums[i].slow[:windows] {
				switch was {
				case notJudged:
					continue pairs
				case slow:
					r.Lost++
				}
			}
			q.Rows = append(q.Rows, r)
			v.origins = append(v.origins, sums[i].first)
		}
		v.problem = &q
		v.index()
		views = append(views, v)
	}
	return views
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
