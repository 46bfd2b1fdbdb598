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
	problem    *inference.Problem
	keys       []*evidence.Key    // of each row
	counts     []*evidence.Counts // of each row
	byClass    [][]int32          // rows
	classes    []*evidence.Class
	traffic    []float64 // segments of each class
	components names
	waits      []waiting // of each row; nil when no receiver tells
	restarting []bool    // of each host
	// monitors lists each monitor's own rows, and application what its flows did otherwise.
	monitors map[string]*own
}

// own is what the flows that match one monitor did.
type own struct {
	rows    []int32    // attributable ones
	crossed []crossing // the classes of paths that those with traffic take
	// outcomes of connections, of all the monitor's flows.
	ended, rejected uint64
}

// stamps number the windows that were assembled in this process.
var stamps atomic.Uint64

// numbered gives what is seen for the first time in a window its number.
func numbered(m *evidence.Mark, stamp uint64, next int) (isNew bool) {
	if m.Stamp == stamp {
		return false
	}
	*m = evidence.Mark{Stamp: stamp, Index: int32(next)}
	return true
}

// assemble takes one pass over the rows: in a large window, each look at one is a miss of the
// processor's caches.
func assemble(w *evidence.Window) *assembly {
	a := &assembly{problem: &inference.Problem{}, monitors: map[string]*own{}, components: names{}}
	p := a.problem
	stamp := stamps.Add(1)
	var hosts []*evidence.Host
	services := names{}
	places := 0
	var arena []int32 // of the places
	a.keys = make([]*evidence.Key, 0, len(w.Rows))
	a.counts = make([]*evidence.Counts, 0, len(w.Rows))
	p.Rows = make([]inference.Row, 0, len(w.Rows))
	host := func(h *evidence.Host) int32 {
		if numbered(&h.Mark, stamp, len(hosts)) {
			hosts = append(hosts, h)
		}
		return h.Mark.Index
	}
	owners := map[*evidence.MonitorSet][]*own{}
	for _, row := range w.Rows {
		k, c := row.Key, row.Counts
		of, known := owners[k.Monitors]
		if !known {
			for _, m := range k.Monitors.Names {
				of = append(of, a.of(m))
			}
			owners[k.Monitors] = of
		}
		ended, rejected := endingsOf(c)
		for _, o := range of {
			o.ended += ended
			o.rejected += rejected
			if k.Attributable {
				o.rows = append(o.rows, int32(len(a.keys)))
			}
		}
		if !k.Attributable {
			continue
		}
		if class := k.Path.Class; numbered(&class.Mark, stamp, len(p.Classes)) {
			a.class(class, stamp)
		}
		if numbered(&k.Path.Mark, stamp, len(p.Paths)) {
			p.Paths = append(p.Paths, pathOf(k.Path, stamp, &places, &arena))
		}
		n, lost := c.Trials()
		r := inference.Row{
			Segments: float64(n), Lost: float64(lost), Active: float32(c.N[evidence.Active]), Retransmitting: float32(c.N[evidence.Retransmitting]), Forward: k.Path.Forward, Service: -1, Path: k.Path.Mark.Index,
			// Who is behind an address is asked once: points that come in meanwhile may tell anew.
			Local: host(k.Local.Resolved()), Remote: host(k.Remote.Resolved()),
			Class: k.Path.Class.Mark.Index, Role: inference.Role(k.Role),
		}
		if k.Service != "" {
			at, known := services[k.Service]
			if !known {
				at = int32(len(services))
				services[k.Service] = at
			}
			r.Service = at
		}
		a.byClass[r.Class] = append(a.byClass[r.Class], int32(len(a.keys)))
		a.traffic[r.Class] += r.Segments
		a.keys = append(a.keys, k)
		a.counts = append(a.counts, c)
		p.Rows = append(p.Rows, r)
	}
	a.sort(hosts, services)
	return a
}

// class takes in a class that is seen for the first time.
func (a *assembly) class(c *evidence.Class, stamp uint64) {
	p := a.problem
	usual, _ := c.Memory.(*inference.Usual)
	if usual == nil {
		usual = &inference.Usual{}
		c.Memory = usual
	}
	out := inference.Class{Palindrome: c.Palindrome, Components: make([]int32, len(c.Names)), Usual: usual}
	for i, n := range c.Names {
		if n.Mark.Stamp != stamp {
			// A name that was dropped, and came again while a window still held the old one, is the same.
			at, known := a.components[n.Text]
			if !known {
				at = int32(len(p.Components))
				a.components[n.Text] = at
				p.Components = append(p.Components, n.Text)
			}
			n.Mark = evidence.Mark{Stamp: stamp, Index: at}
		}
		out.Components[i] = n.Mark.Index
	}
	p.Classes = append(p.Classes, out)
	a.classes = append(a.classes, c)
	a.byClass = append(a.byClass, nil)
	a.traffic = append(a.traffic, 0)
}

// sort numbers hosts and services in the order of their names: of some that explain the same, the
// first is taken, whatever the order of the rows.
func (a *assembly) sort(hosts []*evidence.Host, services names) {
	p := a.problem
	sorted := slices.Clone(hosts)
	slices.SortFunc(sorted, func(a, b *evidence.Host) int { return strings.Compare(a.Name, b.Name) })
	p.Hosts = make([]string, len(sorted))
	for i, h := range sorted {
		h.Mark.Index, p.Hosts[i] = int32(i), h.Name
	}
	of := make([]int32, len(hosts))
	for i, h := range hosts {
		of[i] = h.Mark.Index
	}
	before := make([]string, len(services))
	for name, i := range services {
		before[i] = name
	}
	p.Services = services.sorted()
	for i, name := range p.Services {
		p.Services[i] = flowattr.ComponentService + "/" + name
	}
	for i := range p.Rows {
		r := &p.Rows[i]
		r.Local, r.Remote = of[r.Local], of[r.Remote]
		if r.Service >= 0 {
			r.Service = services[before[r.Service]]
		}
	}
}

// pathOf numbers a path's ends and the places that they are in.
func pathOf(p *evidence.Path, stamp uint64, places *int, arena *[]int32) inference.Path {
	out := inference.Path{First: -1, Last: -1}
	if p.First != nil {
		out.First, out.Last = p.First.Mark.Index, p.Last.Mark.Index // numbered with the class
	}
	number := func(at [2]*evidence.Name) []int32 {
		to := *arena
		from := len(to)
		for _, n := range at {
			if n == nil {
				continue
			}
			if numbered(&n.Mark, stamp, *places) {
				*places++
			}
			to = append(to, n.Mark.Index)
		}
		*arena = to
		return to[from:len(to):len(to)]
	}
	out.Local, out.Remote = number(p.Local), number(p.Remote)
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
type names map[string]int32

// sorted fixes the numbers and gives the names in their order.
func (n names) sorted() []string {
	out := slices.Sorted(maps.Keys(n))
	for i, name := range out {
		n[name] = int32(i)
	}
	return out
}
