// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package accuracy

import (
	"cmp"
	"maps"
	"slices"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// Two published ways to judge, for comparison. Both see the same windows and both are
// steadied in the same way as the verdict: two bad windows of three in, three clean ones out.

// threshold says degraded when a monitor's own retransmissions exceed a share of its segments.
type threshold struct {
	ratio  float64
	steady map[string]*steadied
}

// NewThreshold makes the plain ratio threshold.
func NewThreshold(ratio float64) Method {
	return &threshold{ratio: ratio, steady: map[string]*steadied{}}
}

func (m *threshold) Decide(window []Observed) map[string]Answer {
	type sum struct{ n, k int }
	sums := map[string]*sum{}
	for i := range window {
		o := &window[i]
		side := 1
		if o.AtClient {
			side = 0
		}
		for _, name := range o.Flow.Monitors[side] {
			s := sums[name]
			if s == nil {
				s = &sum{}
				sums[name] = s
			}
			s.n += o.Segments
			s.k += o.Lost
		}
	}
	out := map[string]Answer{}
	for name, s := range sums {
		out[name] = Answer{Degraded: steady(m.steady, name, float64(s.k) > m.ratio*float64(s.n))}
	}
	return out
}

// voting is 007 (Arzani et al., NSDI 2018): each flow with a retransmission gives 1/h vote to
// each of the h components that it crosses, hosts included; the component with most votes is
// blamed as long as it has at least a share of all, and the votes of the flows across it are
// taken away. A monitor is degraded when a blamed component of the network is one that its
// flows with retransmissions cross.
//
// 007 takes the components of the physical network, all crossed alike. Logical ones are
// crossed very unequally, so that here a component's votes count relative to the flows across it.
type voting struct {
	share  float64 // of all votes
	ratio  float64 // of the flows across a component, that have to have voted
	steady map[string]*steadied
}

// NewVoting makes the voting of 007.
func NewVoting(share, ratio float64) Method {
	return &voting{share: share, ratio: ratio, steady: map[string]*steadied{}}
}

func (m *voting) Decide(window []Observed) map[string]Answer {
	votes, crossing := map[string]float64{}, map[string]float64{}
	var bad []int
	total := 0.0
	components := func(o *Observed) []string {
		l, r := o.Local(), o.Remote()
		out := make([]string, 0, 8)
		for _, h := range []*Host{l, r} {
			if h.Service != "" {
				out = append(out, flowattr.ComponentService+"/"+h.Service, flowattr.ComponentAddress+"/"+h.Address)
			} else {
				out = append(out, instance(h))
			}
		}
		return append(out, o.Flow.Components...)
	}
	monitors := map[string]bool{}
	for i := range window {
		o := &window[i]
		side := 1
		if o.AtClient {
			side = 0
		}
		for _, name := range o.Flow.Monitors[side] {
			monitors[name] = true
		}
		cs := components(o)
		for _, c := range cs {
			crossing[c]++
		}
		if o.Lost > 0 {
			bad = append(bad, i)
			total++
			for _, c := range cs {
				votes[c] += 1 / float64(len(cs))
			}
		}
	}
	blamed := map[string]string{} // of a monitor
	rest := slices.Clone(bad)
	for range 16 {
		var most string
		best := 0.0
		for _, c := range slices.Sorted(maps.Keys(votes)) {
			if v := votes[c]; v > best && v >= m.share*total {
				most, best = c, v
			}
		}
		if most == "" {
			break
		}
		explained := 0.0
		var left []int
		touched := map[string]bool{}
		for _, i := range rest {
			o := &window[i]
			cs := components(o)
			if !slices.Contains(cs, most) {
				left = append(left, i)
				continue
			}
			explained++
			for _, c := range cs {
				votes[c] -= 1 / float64(len(cs))
			}
			side := 1
			if o.AtClient {
				side = 0
			}
			for _, name := range o.Flow.Monitors[side] {
				touched[name] = true
			}
		}
		rest = left
		delete(votes, most)
		kind, _, _ := cut(most)
		if explained < m.ratio*crossing[most] || slices.Contains([]string{flowattr.ComponentInstance, flowattr.ComponentAddress, flowattr.ComponentService}, kind) {
			continue
		}
		for name := range touched {
			blamed[name] = cmp.Or(blamed[name], most)
		}
	}
	out := map[string]Answer{}
	for name := range monitors {
		a := Answer{Degraded: steady(m.steady, name, blamed[name] != "")}
		if blamed[name] != "" {
			a.Names = []string{blamed[name]}
		}
		out[name] = a
	}
	return out
}

func cut(name string) (kind, id string, ok bool) {
	for i := range name {
		if name[i] == '/' {
			return name[:i], name[i+1:], true
		}
	}
	return name, "", false
}

type steadied struct {
	last     [3]bool
	clean    int
	degraded bool
}

func steady(all map[string]*steadied, name string, bad bool) bool {
	s := all[name]
	if s == nil {
		s = &steadied{}
		all[name] = s
	}
	copy(s.last[1:], s.last[:2])
	s.last[0] = bad
	if !bad {
		if s.clean++; s.clean >= 3 {
			s.degraded = false
		}
		return s.degraded
	}
	s.clean = 0
	n := 0
	for _, b := range s.last {
		if b {
			n++
		}
	}
	s.degraded = s.degraded || n >= 2
	return s.degraded
}
