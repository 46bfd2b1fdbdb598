// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package fleet is a deterministic simulator for the tests: hosts in subnets, flows
// between them along paths, and losses from a background and from faults. It is imported by
// tests only.
package fleet // import "github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/fleet"

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// Host is a machine with a collector of its own, unless Blind. The topology knows its name,
// unless Nameless: then others know it by its address only.
type Host struct {
	ID, Address, VPC, Subnet, AZ string
	Blind, Nameless              bool
}

// Flow is the traffic between a client and a server: Up and Down are the mean numbers of
// segments a window that the client and the server send.
type Flow struct {
	Client, Server *Host
	Service        string   // an AWS service at the server's end
	Components     []string // shared ones, from the client to the server
	Category       string
	Monitors       []string // as the client's side sees the flow
	ServerMonitors []string // as the server's side does
	Up, Down       float64
	Refused, Reset float64 // shares of connections that the server refuses and resets
}

// Loss is a rate of lost segments that come in bursts of geometric length.
type Loss struct {
	Rate  float64
	Burst float64 // mean length, at least 1
}

// Fault loses segments of those directions of flows that Hits names.
type Fault struct {
	Loss
	Hits func(f *Flow, up bool) bool
}

// Fleet is a set of flows. The same seed gives the same windows.
type Fleet struct {
	Hosts      []*Host
	Flows      []*Flow
	Background Loss
	Faults     []Fault
	rng        *rand.Rand
}

// New makes a fleet without hosts, with the background that healthy networks have.
func New(seed uint64) *Fleet {
	return &Fleet{Background: Loss{Rate: 1e-4, Burst: 2}, rng: rand.New(rand.NewPCG(seed, 1))}
}

// AddHosts adds n hosts to a subnet.
func (f *Fleet) AddHosts(n int, name, vpc, subnet, az string) []*Host {
	var out []*Host
	for i := range n {
		h := &Host{
			ID: fmt.Sprintf("i-%s%d", name, i+1), VPC: vpc, Subnet: subnet, AZ: az,
			Address: fmt.Sprintf("10.%d.%d.%d", len(f.Hosts)/65536, len(f.Hosts)/256%256, len(f.Hosts)%256),
		}
		f.Hosts = append(f.Hosts, h)
		out = append(out, h)
	}
	return out
}

// Connect adds a flow from every client to every server; via lists what lies between the
// two subnets. Hosts do not talk to themselves.
func (f *Fleet) Connect(clients, servers []*Host, up, down float64, monitors []string, via ...string) {
	for _, c := range clients {
		for _, s := range servers {
			if c == s {
				continue
			}
			f.Flows = append(f.Flows, &Flow{
				Client: c, Server: s, Up: up, Down: down, Monitors: monitors,
				Components: path(c, s, via), Category: category(c, s),
			})
		}
	}
}

func path(c, s *Host, via []string) []string {
	if c.Subnet == s.Subnet {
		return []string{flowattr.ComponentSubnet + "/" + c.Subnet}
	}
	p := append([]string{flowattr.ComponentSubnet + "/" + c.Subnet}, via...)
	if c.AZ != s.AZ {
		pair := []string{c.AZ, s.AZ}
		slices.Sort(pair)
		p = append(p, flowattr.ComponentAZPair+"/"+pair[0]+":"+pair[1])
	}
	return append(p, flowattr.ComponentSubnet+"/"+s.Subnet)
}

func category(c, s *Host) string {
	switch {
	case c.VPC != s.VPC:
		return flowattr.CategoryInterVPC
	case c.AZ != s.AZ:
		return flowattr.CategoryInterAZ
	}
	return flowattr.CategoryIntraAZ
}

// Observed is what one end saw of one flow in one window.
type Observed struct {
	Flow           *Flow
	Up             bool // seen by the client, which sends up
	Segments, Lost int
	Connections    int
	Refused, Reset int
}

// segmentsPerConnection is how much a client sends on one connection on average.
const segmentsPerConnection = 10

// Local is the observing host, Remote the other one.
func (o *Observed) Local() *Host {
	if o.Up {
		return o.Flow.Client
	}
	return o.Flow.Server
}

// Remote is the host at the other end.
func (o *Observed) Remote() *Host {
	if o.Up {
		return o.Flow.Server
	}
	return o.Flow.Client
}

// Path is the shared components from the observing end.
func (o *Observed) Path() []string {
	p := slices.Clone(o.Flow.Components)
	if !o.Up {
		slices.Reverse(p)
	}
	return p
}

// Window plays one window.
func (f *Fleet) Window() []Observed {
	out := make([]Observed, 0, 2*len(f.Flows))
	for _, flow := range f.Flows {
		for _, up := range []bool{true, false} {
			o := Observed{Flow: flow, Up: up}
			if o.Local().Blind {
				continue
			}
			mean := flow.Up
			if !up {
				mean = flow.Down
			}
			o.Segments = f.poisson(mean)
			o.Lost = f.lost(o.Segments, f.Background)
			for _, fault := range f.Faults {
				if fault.Hits(flow, up) {
					o.Lost += f.lost(o.Segments-o.Lost, fault.Loss)
				}
			}
			o.Connections = f.poisson(flow.Up / segmentsPerConnection)
			for range o.Connections {
				switch {
				case flow.Refused > 0 && f.rng.Float64() < flow.Refused:
					o.Refused++
				case flow.Reset > 0 && f.rng.Float64() < flow.Reset:
					o.Reset++
				}
			}
			out = append(out, o)
		}
	}
	return out
}

// lost draws from bursts of geometric length that begin at random.
func (f *Fleet) lost(segments int, l Loss) (n int) {
	if l.Rate <= 0 {
		return 0
	}
	burst := max(1, l.Burst)
	for range f.poisson(float64(segments) * l.Rate / burst) {
		n++
		for f.rng.Float64() >= 1/burst {
			n++
		}
	}
	return min(n, segments)
}

func (f *Fleet) poisson(mean float64) int {
	if mean > 50 {
		return max(0, int(math.Round(mean+math.Sqrt(mean)*f.rng.NormFloat64())))
	}
	n, p := 0, f.rng.Float64()
	for limit := math.Exp(-mean); p > limit; n++ {
		p *= f.rng.Float64()
	}
	return n
}
