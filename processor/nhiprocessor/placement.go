// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nhiprocessor

import (
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/window"
)

// misplaced says why a point counts in the sums of its monitors only.
type misplaced uint8

const (
	late           misplaced = iota // its window was decided already
	early                           // dated too far ahead
	undated                         // without a time
	backlog                         // too many windows wait for their decision
	windowLimit                     // max_flows, rows of evidence in one window
	flowLimit                       // max_flows, identities
	componentLimit                  // max_components
	pathLimit                       // a path that is too long
	absurd                          // more than a window can hold
	duplicate                       // of a time that its stream has told of already
	interval                        // of more than two windows in which its agent was not heard
	misplacedReasons
)

var misplacedNames = [misplacedReasons]string{"late", "early", "undated", "backlog", "window_limit", "flow_limit", "component_limit", "path_limit", "absurd", "duplicate", "interval"}

// segmentsPerSecond is what a link can carry at most: the fastest Ethernet there is, 800 Gbit/s (IEEE
// 802.3df-2024), full of the smallest frames, 84 bytes with preamble and gap (IEEE 802.3). No row can
// count more of anything, as each connection and each timeout sends a segment, too.
const segmentsPerSecond = 800e9 / 8 / 84

// absurdly says whether a point makes a row more than can be within a window.
func (p *nhi) absurdly(pt *observed, c *evidence.Counts) bool {
	switch pt.field {
	case evidence.Sent, evidence.Received, evidence.Busy, evidence.ReceiverWindow, evidence.SendBuffer:
		return false // no segments: bytes are no evidence, and of the times only the share is
	}
	most := uint64(segmentsPerSecond * p.config.Window.Seconds())
	return pt.histogram < 0 && pt.key.Attributable && (pt.value > most || c.N[pt.field] > most-pt.value)
}

// keepAgents is for how many windows a silent agent is remembered: for an hour of windows of a minute, as
// long as receivers hold what they cannot send. After that its first points are taken for what they say.
const keepAgents = 60

// longestInterval is how many windows a point may tell of and still be evidence of one: two, as half of it
// at least lies in that window or in the one before. What an agent adds up while nobody takes its points
// says how much was lost in an hour, and not when.
const longestInterval = 2

// row gives the counts that a point is evidence in, or why it is none.
func (p *nhi) row(pt *observed, w *evidence.Window, told int64) (*evidence.Counts, misplaced) {
	switch {
	case !pt.stream.Tell(pt.start, pt.at):
		return nil, duplicate
	case pt.key.Attributable && told > longestInterval*int64(p.config.Window):
		return nil, interval
	}
	counts := w.Row(pt.key, p.config.MaxFlows)
	switch {
	case counts == nil:
		return nil, windowLimit
	case p.absurdly(pt, counts):
		return nil, absurd
	}
	return counts, misplacedReasons
}

// counted is how the points of one observation count.
type counted struct {
	evidence  int64
	misplaced [misplacedReasons]int64
}

// place adds points to their windows. The caller holds mu.
func (p *nhi) place(o *observation, now time.Time) (c counted) {
	p.follow(now)
	for i := range o.points {
		pt := &o.points[i]
		told := o.agents[pt.agent].heard(pt.start, pt.at)
		index, placement := p.schedule.Place(pt.at, now)
		why := misplacedReasons
		switch placement {
		case window.Late:
			why = late
		case window.Early:
			why = early
		case window.Undated:
			why = undated
		}
		if pt.sums {
			p.sum(o, pt, index)
			c.evidence++
			continue
		}
		switch pt.refusal {
		case evidence.FlowLimit:
			why = flowLimit
		case evidence.ComponentLimit:
			why = componentLimit
		case evidence.PathLimit:
			why = pathLimit
		}
		w, inTime := p.window(index)
		if !inTime {
			why = backlog
		}
		var counts *evidence.Counts
		if why == misplacedReasons {
			if !pt.key.Attributable && len(pt.set.Names) == 0 {
				c.evidence++ // nobody asks for it
				continue
			}
			counts, why = p.row(pt, w, told)
		}
		if counts != nil {
			c.evidence++
			o.add(pt, counts)
		} else {
			c.misplaced[why]++
			for _, m := range pt.set.Names {
				o.add(pt, w.ExtraOf(m))
			}
		}
		if pt.histogram >= 0 && !o.verdict {
			for _, m := range pt.set.Names {
				w.AddRTT(m, o.histograms[pt.histogram])
			}
		}
	}
	return c
}

// sum adds a sum that another stage told of a monitor, of what is no evidence.
func (p *nhi) sum(o *observation, pt *observed, index int64) {
	w, _ := p.window(index)
	for _, m := range pt.set.Names {
		if pt.histogram < 0 {
			w.ExtraOf(m).Add(pt.field, pt.value)
		} else {
			w.AddRTT(m, o.histograms[pt.histogram])
		}
	}
}

func (o *observation) add(pt *observed, c *evidence.Counts) {
	if pt.histogram < 0 {
		c.Add(pt.field, pt.value)
		return
	}
	h := o.histograms[pt.histogram]
	c.AddRTT(evidence.RTT{Count: h.Count(), Sum: h.Sum(), Min: h.Min()})
	if !pt.key.IsEvidence() {
		return // only sums are asked for
	}
	counts, scale, offset := h.Positive().BucketCounts(), int(h.Scale()), int(h.Positive().Offset())
	for i := range counts.Len() {
		if n := counts.At(i); n > 0 {
			c.AddTimes(evidence.Bucket(offset+i, scale), n)
		}
	}
}

// follow takes all open windows to the present when the clock was set back.
func (p *nhi) follow(now time.Time) {
	if !p.schedule.Reset(now) {
		return
	}
	held := p.merged()
	next, _ := p.schedule.Next()
	p.open[next] = held
	p.log.Warn("the clock was set back; windows begin anew", zap.Time("next", p.schedule.Start(next)))
}

// window gives an open window. When too many are open, it is the newest of those, and
// inTime is false.
func (p *nhi) window(index int64) (w *evidence.Window, inTime bool) {
	if w = p.open[index]; w != nil {
		return w, true
	}
	if len(p.open) >= p.maxOpen {
		newest := int64(-1)
		for i := range p.open {
			newest = max(newest, i)
		}
		return p.open[newest], false
	}
	w = evidence.NewWindow()
	p.open[index] = w
	return w, true
}

// take removes the next window that is due.
func (p *nhi) take(now time.Time) (w *evidence.Window, start, end time.Time, due bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.follow(now)
	lowest, holds := p.lowest()
	index, due := p.schedule.Due(now, lowest, holds)
	if !due {
		return nil, start, end, false
	}
	w = p.open[index]
	if w == nil {
		w = evidence.NewWindow()
	}
	delete(p.open, index)
	p.table.Sweep()
	p.agents.forget(p.schedule.Start(index - keepAgents).UnixNano())
	p.hear(p.agents.since(p.schedule.Start(index).UnixNano()), p.schedule.End(index))
	return w, p.schedule.Start(index), p.schedule.End(index), true
}

// hear is told of how many writers were heard in a window. Stages of evidence are few, and a verdict without
// one of them is one on a part of the fleet.
func (p *nhi) hear(n int, end time.Time) {
	before := int(p.telemetry.agents.Swap(int64(n)))
	if p.config.Role == roleVerdict && n < before {
		p.log.Warn("evidence of fewer stages than in the window before: the verdicts are on what is left", zap.Int("stages", n), zap.Int("before", before), zap.Time("window_end", end))
	}
}

// lowest is the first window that holds data, if any does.
func (p *nhi) lowest() (index int64, holds bool) {
	for i := range p.open {
		if !holds || i < index {
			index, holds = i, true
		}
	}
	return index, holds
}

// takeRest removes all windows that are not due, as one.
func (p *nhi) takeRest() (w *evidence.Window, start time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next, _ := p.schedule.Next()
	return p.merged(), p.schedule.Start(next)
}

// merged removes all open windows and makes them one. The caller holds mu.
func (p *nhi) merged() *evidence.Window {
	w := evidence.NewWindow()
	indexes := make([]int64, 0, len(p.open))
	for i := range p.open {
		indexes = append(indexes, i)
	}
	slices.Sort(indexes)
	for _, i := range indexes {
		w.Merge(p.open[i])
		delete(p.open, i)
	}
	return w
}
