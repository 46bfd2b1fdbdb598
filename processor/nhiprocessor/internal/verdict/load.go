// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"math"

	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/inference"
)

const (
	// surge is how many times its usual traffic a host or a path carries when loss is put down to that.
	// What is planned to bear the loss of one zone of three bears half as much again, and load that follows the
	// day changes by as much in an hour; the smallest crowd that is promised to be told is two and a half
	// times the usual. Two is between them, by the ratio.
	surge = 2
	// steadyLoad is up to which multiple of its usual traffic a pair of hosts counts as one that
	// does not take part in the surge.
	steadyLoad = 1.5
	// together is how many windows before are taken with this one, as long as there was a surge in them: what
	// traffic varies by from window to window is half of that in a mean of four. It began when there was more
	// than halfway, by the ratio, between the usual and half as much again.
	together = 3
	begun    = 1.22
	// apart is by how many of its usual deviations a pair's traffic is below that of those who take part,
	// for it not to take part: 3.75 mean absolute deviations are three standard deviations.
	apart = 3.75
	// usualDeviation is what a pair's traffic varies by while that is not known: a quarter up or down.
	usualDeviation = 0.25
	// fewSteady is the share of pairs that are steady by chance, at most, with so many windows in which
	// they may be, and a deviation that is an estimate. What so few lose says nothing of the others.
	fewSteady = 0.1
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
	usual     float32
	deviation float32           // mean absolute one of its natural logarithm
	past      [together]float32 // of the windows before, the newest first
	windows   uint16
}

// volume is the traffic of several, of this window and those before it, and the usual.
type volume struct {
	now   float64
	past  [together]float64
	usual float64
}

func (v *volume) add(l *load, now float64) {
	v.now += now
	for i, n := range l.past {
		v.past[i] += float64(n)
	}
	v.usual += float64(l.usual)
}

// surging says whether there is far more than usual, in the mean of the windows since it began.
func (v *volume) surging() bool {
	sum, n := v.now, 1.0
	for _, before := range v.past {
		if before < begun*v.usual {
			break
		}
		sum += before
		n++
	}
	return v.usual > 0 && sum >= n*surge*v.usual
}

// ratio is the traffic of this window as a multiple of the usual; 0 while that is not known.
func (l *load) ratio(n float64) float64 {
	if l == nil || l.windows < judgedAfter || l.usual <= 0 {
		return 0
	}
	return n / float64(l.usual)
}

func (l *load) learn(n float64) {
	copy(l.past[1:], l.past[:])
	l.past[0] = float32(n)
	share := max(1/float32(l.windows+1), 1.0/loadMemory)
	switch x := l.ratio(n); {
	case l.windows == 0:
		l.deviation = usualDeviation
	case x > steadyLoad:
		share = 1.0 / surgeMemory
	case x > 0:
		l.deviation += (float32(math.Abs(math.Log(x))) - l.deviation) * max(1.0/loadMemory, share)
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
		if !l.crowded(v, a, s.Rows) && !l.surged(v, a, s.Rows) {
			continue
		}
		if n, lost := bystanders(v, a, s.Rows); !v.e.Exceeds(n, lost, steadyLevel) {
			s.Kind = inference.Demand
		}
	}
}

// crowded says whether half of what is lost is lost by hosts with far more traffic than usual. A host's
// traffic varies less than that of each pair.
func (l *loads) crowded(v *view, a *assembly, rows []int32) bool {
	hosts := map[int32]volume{}
	for _, row := range rows {
		i := v.origin(row)
		r := &a.problem.Rows[i]
		c, pair := l.of[a.classes[r.Class]], &historyOf(a.keys[i]).load
		for _, h := range [2]int32{r.Local, r.Remote} {
			t := hosts[h]
			switch {
			case pair.windows >= judgedAfter:
				t.add(pair, r.Segments)
			case c != nil && c.windows >= judgedAfter: // it is new
				t.now += r.Segments
			}
			hosts[h] = t
		}
	}
	full := make(map[int32]bool, len(hosts))
	for h, t := range hosts {
		full[h] = t.surging()
	}
	var part, all float64
	for _, row := range rows {
		lost := v.problem.Rows[row].Lost
		all += lost
		if r := &a.problem.Rows[v.origin(row)]; full[r.Local] || full[r.Remote] {
			part += lost
		}
	}
	return part >= all/2
}

// bystanders sums up the pairs that take no part in a surge: they have little more than usual, and so much
// less than those who take part that it is not what they vary by. None when they are few.
func bystanders(v *view, a *assembly, rows []int32) (segments, lost float64) {
	var now, usual float64
	for _, row := range rows {
		i := v.origin(row)
		if l, n := &historyOf(a.keys[i]).load, a.problem.Rows[i].Segments; l.ratio(n) >= surge {
			now += n
			usual += float64(l.usual)
		}
	}
	crowd := float64(surge)
	if usual > 0 {
		crowd = now / usual
	}
	type pair [2]int32
	known, by := map[pair]bool{}, map[pair]bool{}
	for _, row := range rows {
		i := v.origin(row)
		r, l := &a.problem.Rows[i], &historyOf(a.keys[i]).load
		x := l.ratio(r.Segments)
		if x == 0 {
			continue
		}
		of := pair{min(r.Local, r.Remote), max(r.Local, r.Remote)}
		known[of] = true
		if x <= steadyLoad && math.Log(crowd/x) >= apart*float64(l.deviation) {
			by[of] = true
			segments += v.problem.Rows[row].Segments
			lost += v.problem.Rows[row].Lost
		}
	}
	if n := len(by); n < inference.SharedHosts || float64(n) < fewSteady*float64(len(known)) {
		return 0, 0
	}
	return segments, lost
}

// surged says whether the classes of some rows carry far more than usual: a crowd may be of new hosts.
func (l *loads) surged(v *view, a *assembly, rows []int32) bool {
	counted := map[int32]bool{}
	var all volume
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
		all.add(&c.load, a.traffic[class])
	}
	return all.surging()
}

// learn advances the usual traffic by the window at hand. Pairs that are new in a surge are of the crowd:
// what they send is not usual.
func (l *loads) learn(a *assembly) {
	l.window++
	crowd := make([]bool, len(a.traffic))
	for i, n := range a.traffic {
		c := l.of[a.classes[i]]
		if c == nil {
			c = &classLoad{}
			l.of[a.classes[i]] = c
		}
		c.seen = l.window
		crowd[i] = c.ratio(n) > steadyLoad
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
		if r := &a.problem.Rows[i]; h.load.windows > 0 || !crowd[r.Class] {
			h.load.learn(r.Segments)
		}
	}
}
