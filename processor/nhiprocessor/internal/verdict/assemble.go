// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/inference"
)

// assembly is a window's attributable evidence as a problem, and the way back to it.
type assembly struct {
	problem *inference.Problem
	keys    []*evidence.Key    // of each row
	counts  []*evidence.Counts // of each row
	byClass [][]int32          // rows
	classes []*evidence.Class
	traffic []float64 // segments of each class
	waits   []waiting // of each row; nil when no receiver tells
	// monitors lists each monitor's own rows, and application what its flows did otherwise.
	monitors map[string]*own
}

// own is what the flows that match one monitor did.
type own struct {
	rows []int32 // attributable ones
	// outcomes of connections, of all the monitor's flows.
	ended, rejected uint64
}

// stamps number the windows that were assembled in this process.
var stamps atomic.Uint64

func assemble(w *evidence.Window) *assembly {
	a := &assembly{problem: &inference.Problem{}, monitors: map[string]*own{}}
	p := a.problem
	stamp := stamps.Add(1)
	var hosts []*evidence.Host
	services, components := names{}, names{}
	keys := make([]*evidence.Key, 0, len(w.Rows))
	// Who is behind an address is asked once: points that come in meanwhile may tell anew.
	ends := make([][2]*evidence.Host, 0, len(w.Rows))
	a.counts = make([]*evidence.Counts, 0, len(w.Rows))
	add := func(h *evidence.Host) {
		if h.Mark.Stamp != stamp {
			h.Mark.Stamp = stamp
			hosts = append(hosts, h)
		}
	}
	for k, c := range w.Rows {
		for _, m := range k.Monitors.Names {
			o := a.of(m)
			o.rejected += c.N[evidence.FailedRefused] + c.N[evidence.ClosedReset]
			for _, f := range endings {
				o.ended += c.N[f]
			}
			if k.Attributable {
				o.rows = append(o.rows, int32(len(keys)))
			}
		}
		if !k.Attributable {
			continue
		}
		keys = append(keys, k)
		a.counts = append(a.counts, c)
		local, remote := k.Local.Resolved(), k.Remote.Resolved()
		ends = append(ends, [2]*evidence.Host{local, remote})
		add(local)
		add(remote)
		if k.Service != "" {
			services[k.Service] = 0
		}
		if c := k.Path.Class; c.Mark.Stamp != stamp {
			c.Mark.Stamp = stamp
			a.classes = append(a.classes, c)
			for _, name := range c.Components {
				components[name] = 0
			}
		}
	}
	a.keys = keys
	slices.SortFunc(hosts, func(a, b *evidence.Host) int { return strings.Compare(a.Name, b.Name) })
	p.Hosts = make([]string, len(hosts))
	for i, h := range hosts {
		h.Mark.Index, p.Hosts[i] = int32(i), h.Name
	}
	p.Services, p.Components = services.sorted(), components.sorted()
	for i, name := range p.Services {
		p.Services[i] = flowattr.ComponentService + "/" + name
	}
	slices.SortFunc(a.classes, (*evidence.Class).Order)
	p.Classes, a.traffic = make([]inference.Class, len(a.classes)), make([]float64, len(a.classes))
	for i, c := range a.classes {
		c.Mark.Index = int32(i)
		p.Classes[i].Palindrome = c.Palindrome
		p.Classes[i].Components = make([]int32, len(c.Components))
		for j, name := range c.Components {
			p.Classes[i].Components[j] = components[name]
		}
	}
	p.Rows = make([]inference.Row, len(keys))
	a.byClass = make([][]int32, len(p.Classes))
	places := map[place]int32{}
	for i, k := range keys {
		n, lost := a.counts[i].Trials()
		r := inference.Row{
			Segments: float64(n), Lost: float64(lost), Forward: k.Path.Forward, Service: -1,
			Local: ends[i][0].Mark.Index, Remote: ends[i][1].Mark.Index,
			Class: k.Path.Class.Mark.Index, Role: inference.Role(k.Role),
		}
		if k.Path.Mark.Stamp != stamp {
			k.Path.Mark = evidence.Mark{Stamp: stamp, Index: int32(len(p.Paths))}
			p.Paths = append(p.Paths, pathOf(k.Path, components, places))
		}
		r.Path = k.Path.Mark.Index
		if k.Service != "" {
			r.Service = services[k.Service]
		}
		p.Rows[i] = r
		a.byClass[r.Class] = append(a.byClass[r.Class], int32(i))
		a.traffic[r.Class] += r.Segments
	}
	return a
}

// pathOf numbers a path's ends and the places that they are in.
func pathOf(p *evidence.Path, components names, places map[place]int32) inference.Path {
	out := inference.Path{First: -1, Last: -1}
	if n := len(p.Components); n > 0 {
		out.First, out.Last = components[p.Components[0]], components[p.Components[n-1]]
	}
	number := func(to []int32, vpc bool, name string) []int32 {
		if name == "" {
			return to
		}
		n, known := places[place{vpc, name}]
		if !known {
			n = int32(len(places))
			places[place{vpc, name}] = n
		}
		return append(to, n)
	}
	out.Local = number(number(nil, false, p.Places.LocalZone), true, p.Places.LocalVPC)
	out.Remote = number(number(nil, false, p.Places.RemoteZone), true, p.Places.RemoteVPC)
	return out
}

// place is a zone or a VPC.
type place struct {
	vpc  bool
	name string
}

// endings are the ways in which a connection comes to its end.
var endings = [...]evidence.Field{
	evidence.FailedRefused, evidence.FailedTimedOut, evidence.FailedOther,
	evidence.ClosedOrderly, evidence.ClosedReset, evidence.ClosedOther,
}

func (a *assembly) of(monitor string) *own {
	o := a.monitors[monitor]
	if o == nil {
		o = &own{}
		a.monitors[monitor] = o
	}
	return o
}

// names numbers things in the order of their names, so that the outcome does not depend on
// the order of a map.
type names map[string]int32

// sorted fixes the numbers and gives the names in their order.
func (n names) sorted() []string {
	out := slices.Sorted(maps.Keys(n))
	for i, name := range out {
		n[name] = int32(i)
	}
	return out
}
