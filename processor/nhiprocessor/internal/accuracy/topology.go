// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package accuracy

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// Host is one end of flows: a machine with a collector, or an address of a service, which
// has none.
type Host struct {
	ID, Address, VPC, AZ, Subnet string
	Service                      string  // of a front end
	Tier                         int     // hosts of one tier do the same work
	Weight                       float64 // how much it has to say: some are chatty
	Activity                     float64 // share of windows in which it says anything: some are lazy
	index                        int
}

// Flow is the traffic between a client and a server.
type Flow struct {
	Client, Server *Host
	Up, Down       float64  // mean segments a window, sent by the client and by the server
	Components     []string // shared ones, from the client to the server
	Category       string
	Monitors       [2][]string // that its observation at the client and at the server matches
	Conns          int
	PathOf         []uint8 // which of the equal-cost paths each connection takes
	RTT            float64 // s, while nothing is wrong
}

// Shape says how a fleet is built. Fleets of one shape and different seeds differ in size of
// subnets, in who talks to whom, and in how much.
type Shape struct {
	Hosts, AZs, VPCs int
	Peers            int     // that each host talks to on average; 0: all that it may talk to
	Tail             float64 // Pareto exponent of the flows' sizes; smaller is heavier, 0 is equal sizes
	Lazy             float64 // share of hosts that are silent in most windows
	Tiered           bool    // each subnet holds one tier, else each holds all tiers
	Services         bool
	Even             bool // the same number of hosts in each subnet
	Conns            int  // connections of each flow; 0: 1 to 32, to a service 1 to 16
	// Replication is how many times more the hosts of a subnet say to each other, where it is more than one.
	Replication float64
	// Elephant is a flow within a subnet of so many times the segments of all others, where it is more than nothing.
	Elephant float64
}

// EqualCostPaths is how many paths there are between two subnets. A connection keeps its own.
const EqualCostPaths = 4

// Fleet is hosts and their flows.
type Fleet struct {
	Hosts    []*Host // with a collector
	Ends     []*Host // front ends of services
	Flows    []*Flow
	Monitors []string
	rng      *rand.Rand
}

const (
	tiers         = 3
	frontEnds     = 6
	transit       = flowattr.ComponentTransitGateway + "/tgw-1"
	serviceS3     = "S3"
	serviceDynamo = "DYNAMODB"
	serviceSQS    = "SQS"
)

// Build makes a fleet. The same shape and seed make the same fleet.
func Build(s Shape, seed uint64) *Fleet {
	f := &Fleet{rng: rand.New(rand.NewPCG(seed, 0x666c656574))}
	f.addHosts(s)
	f.connect(s)
	if s.Services {
		f.addServices(s)
	}
	f.addElephant(s)
	monitors := map[string]bool{}
	if s.Conns > 0 {
		f.connections(s.Conns)
	}
	for _, flow := range f.Flows {
		for _, names := range flow.Monitors {
			for _, n := range names {
				monitors[n] = true
			}
		}
	}
	for n := range monitors {
		f.Monitors = append(f.Monitors, n)
	}
	slices.Sort(f.Monitors)
	return f
}

func (f *Fleet) addHosts(s Shape) {
	cells := s.AZs * s.VPCs
	weights := make([]float64, cells)
	total := 0.0
	for i := range weights {
		weights[i] = 1
		if !s.Even {
			weights[i] = 0.5 + f.rng.Float64()
		}
		total += weights[i]
	}
	made := 0
	sum := 0.0
	for i := range cells {
		sum += weights[i]
		until := int(math.Round(sum / total * float64(s.Hosts)))
		vpc, az := fmt.Sprintf("vpc-%c", 'a'+i/s.AZs), fmt.Sprintf("euw1-az%d", i%s.AZs+1)
		for ; made < until; made++ {
			h := &Host{
				ID: fmt.Sprintf("i-%04d", made), Address: fmt.Sprintf("10.%d.%d.%d", i, made/250, made%250+1),
				VPC: vpc, AZ: az, Subnet: fmt.Sprintf("subnet-%c%d", 'a'+i/s.AZs, i%s.AZs+1),
				Tier: made % tiers, Weight: 1, Activity: 1, index: made,
			}
			if s.Tiered {
				h.Tier = i % tiers
			}
			if s.Tail > 0 {
				h.Weight = math.Exp(0.5 * f.rng.NormFloat64())
			}
			if f.rng.Float64() < s.Lazy {
				h.Activity = 0.3
			}
			f.Hosts = append(f.Hosts, h)
		}
	}
}

func (f *Fleet) connect(s Shape) {
	for _, c := range f.Hosts {
		share := 1.0
		if s.Peers > 0 {
			share = min(1, float64(s.Peers)/float64(len(f.Hosts)))
		}
		if share < 0.5 {
			for range s.Peers {
				if o := f.Hosts[f.rng.IntN(len(f.Hosts))]; o != c {
					f.add(s, c, o)
				}
			}
			continue
		}
		for _, o := range f.Hosts {
			if o != c && f.rng.Float64() < share {
				f.add(s, c, o)
			}
		}
	}
}

func (f *Fleet) add(s Shape, c, o *Host) {
	size := 1.0
	if s.Tail > 0 {
		size = min(math.Pow(1-f.rng.Float64(), -1/s.Tail), 50)
	}
	size *= c.Weight * o.Weight
	if c.Subnet == o.Subnet && s.Replication > 1 {
		size *= s.Replication
	}
	flow := &Flow{Client: c, Server: o, Up: size * 20, Down: size * 100, Conns: 1 + f.rng.IntN(32)}
	var via []string
	if c.VPC != o.VPC {
		via = append(via, transit)
	}
	flow.RTT = 0.0002
	switch {
	case c.VPC != o.VPC:
		flow.Category = flowattr.CategoryInterVPC
		flow.RTT = 0.0006
	case c.AZ != o.AZ:
		flow.Category = flowattr.CategoryInterAZ
	default:
		flow.Category = flowattr.CategoryIntraAZ
	}
	if c.AZ != o.AZ {
		pair := []string{c.AZ, o.AZ}
		slices.Sort(pair)
		via = append(via, flowattr.ComponentAZPair+"/"+pair[0]+":"+pair[1])
		flow.RTT += 0.0008
	}
	flow.RTT *= math.Exp(0.15 * f.rng.NormFloat64())
	flow.Components = append(flow.Components, flowattr.ComponentSubnet+"/"+c.Subnet)
	if c.Subnet != o.Subnet {
		flow.Components = append(append(flow.Components, via...), flowattr.ComponentSubnet+"/"+o.Subnet)
	}
	flow.Monitors = [2][]string{monitorsOf(c, o), monitorsOf(o, c)}
	f.finish(flow)
}

// monitorsOf are the monitors whose local side is l and remote side r: between zones, and
// between VPCs.
func monitorsOf(l, r *Host) []string {
	out := []string{l.AZ + "-" + r.AZ}
	if l.VPC != r.VPC {
		out = append(out, l.VPC+"-"+r.VPC)
	}
	if l.VPC == r.VPC && l.AZ != r.AZ {
		out = append(out, l.Subnet+"-"+r.Subnet)
	}
	return out
}

func (f *Fleet) finish(flow *Flow) {
	flow.PathOf = make([]uint8, flow.Conns)
	for i := range flow.PathOf {
		flow.PathOf[i] = uint8(f.rng.IntN(EqualCostPaths))
	}
	f.Flows = append(f.Flows, flow)
}

// addServices lets every host use S3 and DynamoDB through the endpoints of its VPC, and SQS
// through the NAT gateway of its zone.
func (f *Fleet) addServices(s Shape) {
	for n, service := range []string{serviceS3, serviceDynamo, serviceSQS} {
		var ends []*Host
		for i := range frontEnds {
			e := &Host{Address: fmt.Sprintf("52.%d.0.%d", 90+n, i+1), Service: service, Weight: 1, Activity: 1, index: -1}
			ends = append(ends, e)
			f.Ends = append(f.Ends, e)
		}
		for _, h := range f.Hosts {
			size := h.Weight
			if s.Tail > 0 {
				size *= min(math.Pow(1-f.rng.Float64(), -1/s.Tail), 50)
			}
			for _, e := range ends {
				if f.rng.IntN(2) == 0 && s.Hosts > 30 {
					continue
				}
				flow := &Flow{
					Client: h, Server: e, Up: size * 60, Conns: 1 + f.rng.IntN(16), RTT: 0.002 * math.Exp(0.2*f.rng.NormFloat64()),
					Components: []string{flowattr.ComponentSubnet + "/" + h.Subnet},
					Monitors:   [2][]string{{service, h.VPC + "-" + service}, nil},
				}
				switch service {
				case serviceS3:
					flow.Category = flowattr.CategoryAmazonS3
					flow.Components = append(flow.Components, endpoint(service, h.VPC))
				case serviceDynamo:
					flow.Category = flowattr.CategoryAmazonDynamoDB
					flow.Components = append(flow.Components, endpoint(service, h.VPC))
				default:
					flow.Category = flowattr.CategoryAWSService
					flow.Components = append(flow.Components, flowattr.ComponentNATGateway+"/nat-"+h.VPC+"-"+h.AZ)
				}
				f.finish(flow)
			}
		}
	}
}

// connections gives each flow so many.
func (f *Fleet) connections(n int) {
	for _, flow := range f.Flows {
		flow.Conns, flow.PathOf = n, make([]uint8, n)
		for i := range flow.PathOf {
			flow.PathOf[i] = uint8(f.rng.IntN(EqualCostPaths))
		}
	}
}

// addElephant lets one of the flows within a subnet outgrow all others: a backup, or a new replica.
func (f *Fleet) addElephant(s Shape) {
	if s.Elephant <= 0 {
		return
	}
	total := 0.0
	var elephant *Flow
	for _, flow := range f.Flows {
		total += flow.Up + flow.Down
		if elephant == nil && flow.Client.Subnet == flow.Server.Subnet && flow.Category == flowattr.CategoryIntraAZ {
			elephant = flow
		}
	}
	if elephant != nil {
		elephant.Up = s.Elephant * total
	}
}

func endpoint(service, vpc string) string {
	return flowattr.ComponentVPCEndpoint + "/vpce-" + service + "-" + vpc
}

// Scale multiplies all traffic so that what hits names of a flow's directions carries the
// given number of segments a window on average.
func (f *Fleet) Scale(segments float64, hits func(*Flow, bool) float64) {
	total := 0.0
	for _, flow := range f.Flows {
		active := flow.Client.Activity * flow.Server.Activity
		total += active * (flow.Up*hits(flow, true) + flow.Down*hits(flow, false))
	}
	if total == 0 {
		return
	}
	for _, flow := range f.Flows {
		flow.Up *= segments / total
		flow.Down *= segments / total
	}
}
