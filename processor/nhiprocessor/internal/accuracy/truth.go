// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package accuracy

import "slices"

// What the scorer asks of a window of one monitor. All of it comes from the simulator.

// Minimum is what makes a window of a network fault eligible.
type Minimum struct {
	Segments float64 // through the faulty component, by the monitor's flows
	Hosts    float64 // effective ones at each side: the inverse Simpson index of those segments
	Events   float64 // expected loss events per effective host
}

// DefaultMinimum is the definition's, but for the segments, which each row names.
func DefaultMinimum(segments float64) Minimum {
	return Minimum{Segments: segments, Hosts: 3, Events: 5}
}

// exposure is what of a monitor's traffic the fault concerns.
type exposure struct {
	segments      float64
	local, remote map[*Host]float64
	opposite      bool // its paths are concerned, in the direction that others observe
}

func (e *exposure) effective() (local, remote float64) {
	return simpson(e.local), simpson(e.remote)
}

func simpson(by map[*Host]float64) float64 {
	sum, squares := 0.0, 0.0
	for _, n := range by {
		sum += n
		squares += n * n
	}
	if squares == 0 {
		return 0
	}
	return sum * sum / squares
}

// exposures tells for each monitor what the fault concerns of its traffic in a window.
func exposures(window []Observed, f *Fault) map[string]*exposure {
	out := map[string]*exposure{}
	of := func(name string) *exposure {
		e := out[name]
		if e == nil {
			e = &exposure{local: map[*Host]float64{}, remote: map[*Host]float64{}}
			out[name] = e
		}
		return e
	}
	for i := range window {
		o := &window[i]
		share, _ := f.shareOf(o.Flow, o.AtClient)
		side, other := 0, 1
		if !o.AtClient {
			side, other = 1, 0
		}
		if share <= 0 {
			if back, _ := f.shareOf(o.Flow, !o.AtClient); back > 0 {
				for _, name := range o.Flow.Monitors[side] {
					of(name).opposite = true
				}
			}
			continue
		}
		for _, name := range o.Flow.Monitors[other] {
			of(name).opposite = true
		}
		for _, name := range o.Flow.Monitors[side] {
			e := of(name)
			n := share * float64(o.Segments)
			e.segments += n
			e.local[o.Local()] += n
			e.remote[o.Remote()] += n
		}
	}
	return out
}

func (e *exposure) eligible(f *Fault, m Minimum) bool {
	local, remote := e.effective()
	if e.segments < m.Segments || local < m.Hosts || remote < m.Hosts {
		return false
	}
	if f.Loss == 0 {
		return true
	}
	events := e.segments * f.Loss / f.Burst
	return events >= m.Events*max(local, remote)
}

// Truth is what is true of one monitor in one window.
type Truth struct {
	Kind       Kind // "" while nothing is wrong with its traffic
	Scored     bool // wholly inside one condition, and not just after its begin or the end of one before
	Eligible   bool // of a network fault
	Unclear    bool // concerned in the direction that others observe only, or in part
	SinceOnset int  // full windows since the fault began, from 1; 0: none
	SinceEnd   int  // full windows since a fault ended, from 1; 0: none did
	Loss       float64
	Components []string
	Causes     []string
	network    *bool // of a trace, whose kinds have any name
}

// Network says whether the fault is the network's.
func (t *Truth) Network() bool {
	if t.network != nil {
		return *t.network
	}
	return t.Kind.Network()
}

func (t *Truth) names(names []string) bool {
	return slices.ContainsFunc(t.Components, func(c string) bool { return slices.Contains(names, c) })
}
