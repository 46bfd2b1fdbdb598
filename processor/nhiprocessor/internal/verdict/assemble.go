// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"slices"
	"strings"

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
	// monitors lists each monitor's own rows, and application what its flows did otherwise.
	monitors map[string]*own
}

// own is what the flows that match one monitor did.
type own struct {
	rows []int32 // attributable ones
	// outcomes of connections, of all the monitor's flows.
	ended, rejected uint64
}

func assemble(w *evidence.Window) *assembly {
	a := &assembly{problem: &inference.Problem{}, monitors: map[string]*own{}}
	p := a.problem
	hosts := names[*evidence.Host]{}
	services, components := names[string]{}, names[string]{}
	classes := names[*evidence.Class]{}
	paths := map[*evidence.Path]int32{}
	places := map[string]int32{}
	keys := make([]*evidence.Key, 0, len(w.Rows))
	// Who is behind an address is asked once: points that come in meanwhile may tell anew.
	var ends [][2]*evidence.Host
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
		hosts.add(local, local.Name)
		hosts.add(remote, remote.Name)
		if k.Service != "" {
			services.add(k.Service, flowattr.ComponentService+"/"+k.Service)
		}
		if c := k.Path.Class; classes.add(c, c.Service+" "+strings.Join(c.Components, " ")) {
			for _, name := range c.Components {
				components.add(name, name)
			}
		}
	}
	a.keys = keys
	p.Hosts, p.Services, p.Components = hosts.sorted(), services.sorted(), components.sorted()
	p.Classes = make([]inference.Class, len(classes.all))
	classes.sorted()
	a.classes, a.traffic = make([]*evidence.Class, len(p.Classes)), make([]float64, len(p.Classes))
	for c, i := range classes.index {
		a.classes[i] = c
		p.Classes[i].Palindrome = c.Palindrome
		for _, name := range c.Components {
			p.Classes[i].Components = append(p.Classes[i].Components, components.index[name])
		}
	}
	p.Rows = make([]inference.Row, len(keys))
	a.byClass = make([][]int32, len(p.Classes))
	for i, k := range keys {
		n, lost := a.counts[i].Trials()
		r := inference.Row{
			Segments: float64(n), Lost: float64(lost), Forward: k.Path.Forward, Service: -1,
			Local: hosts.index[ends[i][0]], Remote: hosts.index[ends[i][1]],
			Class: classes.index[k.Path.Class], Role: inference.Role(k.Role),
		}
		path, known := paths[k.Path]
		if !known {
			path = int32(len(p.Paths))
			paths[k.Path] = path
			p.Paths = append(p.Paths, pathOf(k.Path, components.index, places))
		}
		r.Path = path
		if k.Service != "" {
			r.Service = services.index[k.Service]
		}
		p.Rows[i] = r
		a.byClass[r.Class] = append(a.byClass[r.Class], int32(i))
		a.traffic[r.Class] += r.Segments
	}
	return a
}

// pathOf numbers a path's ends and the places that they are in.
func pathOf(p *evidence.Path, components, places map[string]int32) inference.Path {
	out := inference.Path{First: -1, Last: -1}
	if n := len(p.Components); n > 0 {
		out.First, out.Last = components[p.Components[0]], components[p.Components[n-1]]
	}
	number := func(kind, name string) []int32 {
		if name == "" {
			return nil
		}
		n, known := places[kind+name]
		if !known {
			n = int32(len(places))
			places[kind+name] = n
		}
		return []int32{n}
	}
	out.Local = append(number("zone ", p.Places.LocalZone), number("vpc ", p.Places.LocalVPC)...)
	out.Remote = append(number("zone ", p.Places.RemoteZone), number("vpc ", p.Places.RemoteVPC)...)
	return out
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
type names[K comparable] struct {
	index map[K]int32
	all   []named[K]
}

type named[K comparable] struct {
	key  K
	name string
}

// add says whether the key is new.
func (n *names[K]) add(key K, name string) bool {
	if _, known := n.index[key]; known {
		return false
	}
	if n.index == nil {
		n.index = map[K]int32{}
	}
	n.index[key] = 0
	n.all = append(n.all, named[K]{key, name})
	return true
}

// sorted fixes the numbers and gives the names in their order.
func (n *names[K]) sorted() []string {
	slices.SortFunc(n.all, func(a, b named[K]) int { return strings.Compare(a.name, b.name) })
	out := make([]string, len(n.all))
	for i, e := range n.all {
		n.index[e.key] = int32(i)
		out[i] = e.name
	}
	return out
}
