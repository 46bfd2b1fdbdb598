// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/inference"
)

const (
	// surge is how many times its usual traffic a component carries when its loss is put down
	// to that. A zone that takes over the traffic of another one has twice its own; load that
	// follows the day changes by half in an hour.
	surge = 2.5
	// steadyLoad is up to which multiple of its usual traffic a pair of hosts counts as one that
	// does not take part in the surge.
	steadyLoad = 1.5
	// loadMemory is over how many windows the usual traffic is averaged: a quarter of an hour
	// of windows of a minute follows the day.
	loadMemory = 16
	// surgeMemory is the same while there is more than steadyLoad: four hours, which a crowd
	// seldom lasts. Load that follows the day grows by far less in loadMemory.
	surgeMemory = 256
	// steadyLevel is how unlikely the losses of the others have to be for the component to be
	// to blame in spite of the surge.
	steadyLevel = 0.001
)

// load is the usual traffic of something, in segments a window.
type load struct {
	usual   float32
	windows uint16
}

// ratio is the traffic of this window as a multiple of the usual; 0 while that is not known.
func (l *load) ratio(n float64) float64 {
	if l == nil || l.windows < judgedAfter || l.usual <= 0 {
		return 0
	}
	return n / float64(l.usual)
}

func (l *load) learn(n float64) {
	share := max(1/float32(l.windows+1), 1.0/loadMemory)
	if l.ratio(n) > steadyLoad {
		share = 1.0 / surgeMemory
	}
	l.usual += (float32(n) - l.usual) * share
	if l.windows < loadMemory {
		l.windows++
	}
}

// keptWindows is for how many windows a class that is not seen is remembered: as long as the
// table of identities does.
const keptWindows = 16

// loads remembers the usual traffic of each class of paths and of each pair of hosts.
type loads struct {
	of     map[*evidence.Class]*classLoad
	window uint32
}

type classLoad struct {
	load
	seen uint32
}

// excuse puts down to a surge what would else be held against the network: loss and delay that
// come with far more traffic than usual are made by that traffic, unless pairs of hosts
// that do not take part in it have them, too.
func (l *loads) excuse(v *view, a *assembly) {
	for i := range v.e.Suspects {
		s := &v.e.Suspects[i]
		if s.Kind != inference.Network {
			continue
		}
		// Pairs that take part in a surge, those that do not, and those that are new.
		var part, steady, all inference.Row
		for _, row := range s.Rows {
			r := &v.problem.Rows[row]
			all.Lost += r.Lost
			switch x := historyOf(a.keys[v.origin(row)]).load.ratio(a.problem.Rows[v.origin(row)].Segments); {
			case x >= surge:
				part.Lost += r.Lost
			case x > 0 && x <= steadyLoad:
				steady.Segments += r.Segments
				steady.Lost += r.Lost
			}
		}
		if part.Lost < all.Lost/2 && !l.surged(v, a, s.Rows) {
			continue
		}
		if !v.e.Exceeds(steady.Segments, steady.Lost, steadyLevel) {
			s.Kind = inference.Demand
		}
	}
}

// surged says whether the classes of some rows carry far more than usual: a crowd may be of new hosts.
func (l *loads) surged(v *view, a *assembly, rows []int32) bool {
	counted := map[int32]bool{}
	var now, usual float64
	for _, r := range rows {
		class := v.problem.Rows[r].Class
		if counted[class] {
			continue
		}
		counted[class] = true
		c := l.of[a.classes[class]]
		if c == nil || c.windows < judgedAfter {
			return false // not known
		}
		now += a.traffic[class]
		usual += float64(c.usual)
	}
	return usual > 0 && now >= surge*usual
}

// learn advances the usual traffic by the window at hand.
func (l *loads) learn(a *assembly) {
	l.window++
	for i, n := range a.traffic {
		c := l.of[a.classes[i]]
		if c == nil {
			c = &classLoad{}
			l.of[a.classes[i]] = c
		}
		c.seen = l.window
		c.learn(n)
	}
	for c, known := range l.of {
		if l.window-known.seen >= keptWindows {
			delete(l.of, c)
		}
	}
	for i, k := range a.keys {
		h := historyOf(k)
		h.learnRejected(a.counts[i])
		h.load.learn(a.problem.Rows[i].Segments)
	}
}
