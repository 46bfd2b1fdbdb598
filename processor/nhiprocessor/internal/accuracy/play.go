// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package accuracy

import "math/rand/v2"

// Cell is one setting under which windows are played and scored.
type Cell struct {
	Shape    Shape
	Network  Kind // "" for none
	Other    Kind // "" for none
	Loss     float64
	Burst    float64
	Segments float64 // through the faulty component, a window
	Noise    Noise
	Ramp     int // windows over which a fault grows to its full size; 0: at once
	// Resets is the share of connections that end reset at both ends while the network's fault holds, as
	// those of applications do that time out.
	Resets float64
	// Load is how many times the usual traffic there is on the faulty component while the network's fault
	// holds, and Crowd how many times its own a flash crowd brings; 0: the same, and eight times.
	Load, Crowd float64
}

// Plan says how long the parts of a run are: clean, the network's fault, clean, another fault.
// After the settling time that the definitions leave out, half of the windows that are scored are clean.
type Plan struct{ Clean, Fault int }

// DefaultPlan scores 10 windows of each fault and 20 clean ones.
var DefaultPlan = Plan{Clean: 12, Fault: 12}

// settleIn and settleOut are the windows that are scored for latency only.
const (
	settleIn  = 2
	settleOut = 4
)

// Answer is what a method says of one monitor in one window.
type Answer struct {
	Degraded, Insufficient bool
	Cause                  string
	Names                  []string // of components, when degraded
}

// Method is something that judges windows in their order.
type Method interface {
	Decide(window []Observed) map[string]Answer
}

// play runs one fleet through the plan and tells of each window of each monitor.
func play(c Cell, plan Plan, seed uint64, methods []Method, tell func(monitor string, t *Truth, answers []Answer)) {
	rng := rand.New(rand.NewPCG(seed, 0x706c6179))
	f := Build(c.Shape, seed)
	var network, other *Fault
	if c.Network != "" {
		if network = f.Inject(c.Network, c.Loss, c.Burst, rng); network != nil {
			network.Resets = c.Resets
			if c.Load > 0 {
				network.load = func(fl *Flow) float64 {
					if network.hits(fl, true) || network.hits(fl, false) {
						return c.Load
					}
					return 1
				}
			}
		}
	}
	if c.Other != "" {
		other = f.Inject(c.Other, c.Loss, c.Burst, rng)
		if other != nil && c.Crowd > 0 {
			other.Crowd = c.Crowd
		}
	}
	scaleBy := network
	if scaleBy == nil {
		scaleBy = f.Inject(AZPair, 0, 1, rng)
	}
	if scaleBy == nil {
		scaleBy = f.Inject(Subnet, 0, 1, rng)
	}
	f.Scale(c.Segments, func(fl *Flow, atClient bool) float64 { s, _ := scaleBy.shareOf(fl, atClient); return s })
	t := newTraffic(f, c.Noise, seed)
	parts := []struct {
		fault   *Fault
		windows int
	}{{nil, plan.Clean}, {network, plan.Fault}, {nil, plan.Clean}, {other, plan.Fault}}
	sinceEnd := map[string]int{}
	answers := make([]Answer, len(methods))
	index := int(seed % day)
	for _, part := range parts {
		if part.windows == 0 || part.fault == nil && part.windows == 0 {
			continue
		}
		concerned := map[string]bool{}
		for i := range part.windows {
			var faults []*Fault
			if part.fault != nil {
				part.fault.now = i
				fault := *part.fault
				if c.Ramp > 0 && i < c.Ramp {
					share := float64(i+1) / float64(c.Ramp)
					fault.Loss *= share
					fault.DelayShare *= share
					fault.DelayLeast *= share
				}
				faults = []*Fault{&fault}
				if fault.also != nil {
					faults = append(faults, fault.also)
				}
			}
			window := t.window(index, faults)
			index++
			var exposed map[string]*exposure
			if part.fault != nil {
				exposed = exposures(window, part.fault)
			}
			said := make([]map[string]Answer, len(methods))
			for m := range methods {
				said[m] = methods[m].Decide(window)
			}
			for _, name := range f.Monitors {
				truth := &Truth{Scored: true}
				e := exposed[name]
				if e != nil {
					concerned[name] = true
				}
				if concerned[name] {
					fault := part.fault
					truth.Kind, truth.Loss, truth.Components, truth.Causes = fault.Kind, fault.Loss, fault.Components, fault.Kind.Causes()
					truth.SinceOnset = i + 1
					truth.Scored = i >= max(settleIn, c.Ramp)
					truth.Unclear = e == nil || e.segments == 0
					truth.Eligible = e != nil && fault.Kind.Network() && e.eligible(fault, DefaultMinimum(minimumOf(c)))
				} else if n, ended := sinceEnd[name]; ended {
					sinceEnd[name] = n + 1
					truth.SinceEnd = n + 1
					truth.Scored = n >= settleOut
				}
				for m := range methods {
					answers[m] = said[m][name]
				}
				tell(name, truth, answers)
			}
		}
		for name := range concerned {
			sinceEnd[name] = 0
		}
	}
}

// minimumOf is how many segments make a window eligible: what the row is about. The traffic
// of a window varies around Segments, which is therefore chosen above it.
func minimumOf(c Cell) float64 {
	if c.Loss > 0 && c.Loss < 0.005 {
		return 1_000_000
	}
	return 10_000
}
