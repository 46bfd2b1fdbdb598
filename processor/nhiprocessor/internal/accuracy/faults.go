// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package accuracy

import (
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// Kind is a kind of condition.
type Kind string

// Kinds of faults. The first ones are the network's.
const (
	AZPair    Kind = "az_pair"
	Gateway   Kind = "gateway"
	Subnet    Kind = "subnet"
	Endpoint  Kind = "endpoint"
	OnePath   Kind = "one_path"
	Direction Kind = "direction"
	Delay25   Kind = "delay_25"
	Delay100  Kind = "delay_100"
	Several   Kind = "several"
	SlowMany  Kind = "several_delay_100"

	Service       Kind = "service"
	HostInterface Kind = "host_interface"
	Shaping       Kind = "shaping"
	Receiver      Kind = "overloaded_receiver"
	SlowReader    Kind = "slow_reader"
	Deploy        Kind = "deploy"
	FlashCrowd    Kind = "flash_crowd"
	FlashTier     Kind = "flash_crowd_tier"
	SeveralHosts  Kind = "several_hosts"
)

// NetworkKinds and OtherKinds list them.
var (
	NetworkKinds = []Kind{AZPair, Gateway, Subnet, Endpoint, OnePath, Direction, Delay25, Delay100, Several, SlowMany}
	OtherKinds   = []Kind{Service, HostInterface, Shaping, Receiver, SlowReader, Deploy, FlashCrowd, FlashTier}
)

// causes are those that are right for a kind.
var ends = []string{flowattr.CauseLocalHost, flowattr.CauseRemoteHost, flowattr.CauseApplication}

// Causes lists the causes that are right for a kind.
func (k Kind) Causes() []string {
	switch {
	case slices.Contains(NetworkKinds, k):
		return []string{flowattr.CauseNetwork}
	case k == Service:
		return []string{flowattr.CauseRemoteService}
	}
	return ends
}

// Network says whether the fault is the network's.
func (k Kind) Network() bool { return slices.Contains(NetworkKinds, k) }

// turns and restart are how a deployment goes on: in how many parts, and for how many windows each.
const (
	turns   = 5
	restart = 2
)

// Fault is one condition.
type Fault struct {
	Kind       Kind
	Components []string // what is at fault
	Loss       float64
	Burst      float64
	DelayShare float64 // of the pair's own round-trip time
	DelayLeast float64 // s
	Resets     float64 // share of connections
	SlowReader bool
	Crowd      float64 // how many times its own traffic somebody gets
	also       *Fault  // something else that comes with it
	now        int     // which of its windows is played
	// hits gives the share of a direction's traffic that is concerned; onPath ≥ 0: only the
	// connections on that path.
	hits   func(f *Flow, atClient bool) bool
	onPath int
	load   func(f *Flow) float64
}

func (f *Fault) loadOf(flow *Flow) float64 {
	if f.load == nil {
		return 1
	}
	return f.load(flow)
}

// shareOf is the share of the segments that one end sends which the fault concerns, and
// the connections that they belong to.
func (f *Fault) shareOf(flow *Flow, atClient bool) (float64, uint64) {
	if !f.hits(flow, atClient) {
		return 0, 0
	}
	if f.onPath < 0 {
		return 1, ^uint64(0)
	}
	var conns uint64
	n := 0
	for i, p := range flow.PathOf {
		if int(p) == f.onPath {
			conns |= 1 << i
			n++
		}
	}
	return float64(n) / float64(flow.Conns), conns
}

func on(component string) func(*Flow, bool) bool {
	return func(f *Flow, _ bool) bool { return slices.Contains(f.Components, component) }
}

func at(hosts ...*Host) func(*Flow, bool) bool {
	return func(f *Flow, _ bool) bool {
		return slices.Contains(hosts, f.Client) || slices.Contains(hosts, f.Server)
	}
}

func sentTo(hosts ...*Host) func(*Flow, bool) bool {
	return func(f *Flow, atClient bool) bool {
		if atClient {
			return slices.Contains(hosts, f.Server)
		}
		return slices.Contains(hosts, f.Client)
	}
}

// components lists those of a type that flows cross.
func (f *Fleet) components(kind string) (all []string) {
	for _, flow := range f.Flows {
		for _, c := range flow.Components {
			if strings.HasPrefix(c, kind+"/") && !slices.Contains(all, c) {
				all = append(all, c)
			}
		}
	}
	slices.Sort(all)
	return all
}

// Inject makes a fault of a kind somewhere in a fleet, nil when the fleet has no place for it.
func (f *Fleet) Inject(kind Kind, loss, burst float64, rng *rand.Rand) *Fault {
	fault := &Fault{Kind: kind, Loss: loss, Burst: burst, Crowd: 8, onPath: -1}
	component := func(kind string) string {
		all := f.components(kind)
		if len(all) == 0 {
			return ""
		}
		return all[rng.IntN(len(all))]
	}
	host := func() *Host { return f.Hosts[rng.IntN(len(f.Hosts))] }
	name := ""
	switch kind {
	case AZPair, OnePath, Direction:
		name = component(flowattr.ComponentAZPair)
		if kind != AZPair && rng.IntN(2) == 0 {
			if tgw := component(flowattr.ComponentTransitGateway); tgw != "" {
				name = tgw
			}
		}
	case Gateway:
		name = component(flowattr.ComponentTransitGateway)
	case Subnet:
		name = component(flowattr.ComponentSubnet)
	case Endpoint:
		name = component(flowattr.ComponentVPCEndpoint)
	case Several, SlowMany:
		// Two of a kind at least, and all but one at most.
		kinds := []string{flowattr.ComponentAZPair, flowattr.ComponentSubnet}
		all := f.components(kinds[rng.IntN(len(kinds))])
		if len(all) < 3 {
			all = f.components(flowattr.ComponentSubnet)
		}
		if len(all) < 3 {
			return nil
		}
		rng.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
		fault.Components = all[:2+rng.IntN(len(all)-2)]
		fault.hits = func(fl *Flow, _ bool) bool {
			return slices.ContainsFunc(fault.Components, func(c string) bool { return slices.Contains(fl.Components, c) })
		}
		if kind == SlowMany {
			fault.Loss, fault.DelayShare, fault.DelayLeast = 0, 1, 0.0005
		}
		return fault
	case Delay25, Delay100:
		fault.Loss = 0
		fault.DelayShare, fault.DelayLeast = 0.25, 0.0005
		if kind == Delay100 {
			fault.DelayShare = 1
		}
		name = component([]string{flowattr.ComponentAZPair, flowattr.ComponentTransitGateway, flowattr.ComponentSubnet, flowattr.ComponentVPCEndpoint}[rng.IntN(4)])
	}
	if kind.Network() {
		if name == "" {
			return nil
		}
		fault.Components = []string{name}
		fault.hits = on(name)
		switch kind {
		case OnePath:
			fault.onPath = rng.IntN(EqualCostPaths)
		case Direction:
			// Out of one zone, or out of one VPC.
			var from func(h *Host) string
			if name == transit {
				from = func(h *Host) string { return h.VPC }
			} else {
				from = func(h *Host) string { return h.AZ }
			}
			first := ""
			for _, flow := range f.Flows {
				if slices.Contains(flow.Components, name) {
					first = from(flow.Client)
					break
				}
			}
			fault.hits = func(fl *Flow, atClient bool) bool {
				if !slices.Contains(fl.Components, name) {
					return false
				}
				if atClient {
					return from(fl.Client) == first
				}
				return from(fl.Server) == first
			}
		}
		return fault
	}
	switch kind {
	case Service:
		var all []string
		for _, e := range f.Ends {
			if !slices.Contains(all, e.Service) {
				all = append(all, e.Service)
			}
		}
		if len(all) == 0 {
			return nil
		}
		service := all[rng.IntN(len(all))]
		fault.Components = []string{flowattr.ComponentService + "/" + service}
		fault.hits = func(fl *Flow, _ bool) bool { return fl.Server.Service == service }
	case HostInterface:
		h := host()
		fault.hits = at(h)
		fault.Components = []string{instance(h)}
	case SeveralHosts:
		// Three of ten, and of none of the subnets more than half: most of what goes from one subnet to another is
		// concerned.
		hosts := slices.Clone(f.Hosts)
		rng.Shuffle(len(hosts), func(i, k int) { hosts[i], hosts[k] = hosts[k], hosts[i] })
		of, bad := map[string]int{}, map[string]int{}
		for _, h := range hosts {
			of[h.Subnet]++
		}
		var some []*Host
		for _, h := range hosts {
			if len(some) < 3*len(hosts)/10 && 2*(bad[h.Subnet]+1) <= of[h.Subnet] {
				bad[h.Subnet]++
				some = append(some, h)
			}
		}
		fault.hits = at(some...)
		for _, h := range some {
			fault.Components = append(fault.Components, instance(h))
		}
	case Shaping:
		// What exceeds the allowance is queued, then dropped in bursts.
		h := host()
		fault.hits = at(h)
		fault.Burst, fault.DelayShare, fault.DelayLeast = max(burst, 10), 0.8, 0.0003
		fault.Components = []string{instance(h)}
	case Receiver:
		h := host()
		fault.hits = sentTo(h)
		fault.DelayShare, fault.DelayLeast = 1, 0.001
		fault.Components = []string{instance(h)}
	case SlowReader:
		h := host()
		fault.hits = sentTo(h)
		fault.Loss, fault.SlowReader, fault.DelayShare, fault.DelayLeast = 0, true, 1, 0.001
		fault.Components = []string{instance(h)}
		fault.load = func(fl *Flow) float64 {
			if fl.Client == h || fl.Server == h {
				return 0.6
			}
			return 1
		}
	case Deploy:
		// All hosts of a tier, a fifth of them at a time, each for two windows; what was on the way is sent
		// again. Resets are what the clients see of it.
		tier := rng.IntN(tiers)
		fault.Loss, fault.Burst = 0.0002, 1
		fault.hits = func(fl *Flow, _ bool) bool {
			return fl.Server.Service == "" && fl.Server.Tier == tier && fl.Server.index%turns == fault.now/restart%turns
		}
		fault.also = &Fault{Kind: kind, Resets: 0.3, onPath: -1, hits: func(fl *Flow, atClient bool) bool { return atClient && fault.hits(fl, atClient) }}
	case FlashCrowd:
		h := host()
		fault.hits = at(h)
		fault.DelayShare, fault.DelayLeast = 1, 0.002
		fault.Burst = max(burst, 3)
		fault.Components = []string{instance(h)}
		fault.load = func(fl *Flow) float64 {
			if fl.Server == h {
				return fault.Crowd
			}
			return 1
		}
	case FlashTier:
		// Every server of a tier gets a multiple of its load, and drops what it cannot bear.
		tier := rng.IntN(tiers)
		crowd := func(fl *Flow) bool { return fl.Server.Service == "" && fl.Server.Tier == tier }
		fault.hits = func(fl *Flow, _ bool) bool { return crowd(fl) }
		fault.DelayShare, fault.DelayLeast = 1, 0.002
		fault.Burst = max(burst, 3)
		fault.load = func(fl *Flow) float64 {
			if crowd(fl) {
				return fault.Crowd
			}
			return 1
		}
	}
	return fault
}

func instance(h *Host) string { return flowattr.ComponentInstance + "/" + h.ID }
