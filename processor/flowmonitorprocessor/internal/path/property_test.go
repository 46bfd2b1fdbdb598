// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package path_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/path"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// network draws a random network: two Regions, VPCs of which many have the same blocks, and every way between them.
type network struct {
	*rand.Rand
	t *topology.Topology
}

func (n *network) chance(percent int) bool { return n.IntN(100) < percent }

func pick[T any](n *network, of []T) T { return of[n.IntN(len(of))] }

var blocks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("10.0.1.0/24"), netip.MustParsePrefix("10.0.2.0/24"), netip.MustParsePrefix("10.0.3.0/24")}

// destinations are what routes lead to: wider and narrower than the VPCs' blocks, and the same.
var destinations = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/22"), netip.MustParsePrefix("10.0.0.0/23"),
	netip.MustParsePrefix("10.0.2.0/23"), netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("10.0.1.0/24"), netip.MustParsePrefix("10.0.2.0/24"),
	netip.MustParsePrefix("10.0.3.0/24"), netip.MustParsePrefix("10.0.1.64/26"), netip.MustParsePrefix("10.0.2.0/25"), netip.MustParsePrefix("10.0.2.16/28"),
	netip.MustParsePrefix("10.0.3.128/26"), netip.MustParsePrefix("203.0.113.0/24"),
}

func (n *network) draw() *topology.Topology {
	n.t = &topology.Topology{}
	// Two lists never have an entry in common: which of them wins then, AWS does not say.
	mixed := slices.Clone(destinations)
	n.Shuffle(len(mixed), func(i, k int) { mixed[i], mixed[k] = mixed[k], mixed[i] })
	n.t.PrefixLists = []topology.PrefixList{{PrefixListID: "pl-1", CIDRs: mixed[:2]}, {PrefixListID: "pl-2", CIDRs: mixed[2:5]}}
	regions := []string{"eu-west-1", "us-east-1"}
	for i := range 2 + n.IntN(5) {
		n.vpc(i, pick(n, regions))
	}
	n.peerings()
	n.transit(regions)
	n.tables()
	return n.t
}

func (n *network) vpc(i int, region string) {
	v := topology.VPC{VPCID: fmt.Sprintf("vpc-%d", i), Region: region, OwnerID: "111111111111", CIDRBlocks: []netip.Prefix{pick(n, blocks)}}
	if second := pick(n, blocks); n.chance(30) && second != v.CIDRBlocks[0] {
		v.CIDRBlocks = append(v.CIDRBlocks, second)
	}
	n.t.VPCs = append(n.t.VPCs, v)
	n.t.InternetGateways = append(n.t.InternetGateways, topology.InternetGateway{InternetGatewayID: fmt.Sprintf("igw-%d", i), VPCID: v.VPCID})
	zones := map[string]string{"eu-west-1": "euw1-az", "us-east-1": "use1-az"}
	for b, block := range v.CIDRBlocks {
		for q := range 4 {
			if q > 0 && n.chance(30) { // a hole, but not for the first: an attachment needs one
				continue
			}
			a := block.Addr().As4()
			a[3] = byte(q * 64)
			s := topology.Subnet{SubnetID: fmt.Sprintf("subnet-%d-%d-%d", i, b, q), VPCID: v.VPCID, CIDRBlocks: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4(a), 26)},
				AvailabilityZoneID: fmt.Sprintf("%s%d", zones[region], 1+n.IntN(2))}
			n.t.Subnets = append(n.t.Subnets, s)
			for e := range n.IntN(4) {
				a[3] = byte(q*64 + 4 + e*5)
				m := topology.NetworkInterface{NetworkInterfaceID: fmt.Sprintf("eni-%d-%d-%d-%d", i, b, q, e), SubnetID: s.SubnetID,
					InstanceID: fmt.Sprintf("i-%d-%d-%d-%d", i, b, q, e), PrivateIPAddresses: []netip.Addr{netip.AddrFrom4(a)}}
				if e == 0 && n.chance(50) {
					a[3] = byte(q*64 + 32)
					m.IPv4Prefixes = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4(a), 28)}
				}
				n.t.NetworkInterfaces = append(n.t.NetworkInterfaces, m)
			}
		}
	}
}

func (n *network) peerings() {
	for i, a := range n.t.VPCs {
		for _, b := range n.t.VPCs[:i] {
			overlap := slices.ContainsFunc(a.CIDRBlocks, func(p netip.Prefix) bool { return slices.Contains(b.CIDRBlocks, p) })
			if overlap || n.chance(50) {
				continue
			}
			n.t.VPCPeeringConnections = append(n.t.VPCPeeringConnections, topology.VPCPeeringConnection{
				VPCPeeringConnectionID: fmt.Sprintf("pcx-%s%s", a.VPCID[4:], b.VPCID[4:]), Status: pick(n, []string{"active", "active", "active", "deleted"}),
				RequesterVPCInfo: topology.PeeringVPCInfo{VPCID: a.VPCID}, AccepterVPCInfo: topology.PeeringVPCInfo{VPCID: b.VPCID}})
		}
	}
}

// transit joins most VPCs to the transit gateway of their Region, and the two gateways.
func (n *network) transit(regions []string) {
	for r, region := range regions {
		g := topology.TransitGateway{TransitGatewayID: "tgw-" + region, Region: region}
		for _, v := range n.t.VPCs {
			if v.Region == region && n.chance(85) {
				var subnets []string
				for _, s := range n.t.Subnets {
					if s.VPCID == v.VPCID {
						subnets = append(subnets, s.SubnetID)
					}
				}
				g.Attachments = append(g.Attachments, topology.TransitGatewayAttachment{TransitGatewayAttachmentID: "tgw-attach-" + v.VPCID,
					ResourceType: topology.AttachmentVPC, ResourceID: v.VPCID, SubnetIDs: []string{pick(n, subnets)}})
			}
		}
		vpcs := len(g.Attachments)
		g.Attachments = append(g.Attachments, topology.TransitGatewayAttachment{TransitGatewayAttachmentID: "tgw-attach-peering",
			ResourceType: topology.AttachmentPeering, ResourceID: "tgw-" + regions[1-r]})
		for k := range 2 {
			rt := topology.TransitGatewayRouteTable{TransitGatewayRouteTableID: fmt.Sprintf("tgw-rtb-%s-%d", region, k)}
			for i, a := range g.Attachments {
				if i < vpcs && n.chance(60) {
					rt.Propagations = append(rt.Propagations, a.TransitGatewayAttachmentID)
				}
			}
			for _, p := range destinations {
				if n.chance(25) {
					rt.Routes = append(rt.Routes, n.transitRoute(g, topology.TransitGatewayRoute{DestinationCIDRBlock: p}))
				}
			}
			for _, l := range n.t.PrefixLists {
				if n.chance(25) {
					rt.Routes = append(rt.Routes, n.transitRoute(g, topology.TransitGatewayRoute{PrefixListID: l.PrefixListID}))
				}
			}
			g.RouteTables = append(g.RouteTables, rt)
		}
		for _, a := range g.Attachments {
			if n.chance(90) { // else what comes in is dropped
				rt := &g.RouteTables[n.IntN(2)]
				rt.Associations = append(rt.Associations, a.TransitGatewayAttachmentID)
			}
		}
		n.t.TransitGateways = append(n.t.TransitGateways, g)
	}
}

func (n *network) transitRoute(g topology.TransitGateway, r topology.TransitGatewayRoute) topology.TransitGatewayRoute {
	r.TransitGatewayAttachmentID = pick(n, g.Attachments).TransitGatewayAttachmentID
	if n.chance(15) {
		r.State = topology.RouteBlackhole
	}
	return r
}

// tables gives each VPC a main route table, and some subnets one of their own.
func (n *network) tables() {
	for i, v := range n.t.VPCs {
		targets := []string{fmt.Sprintf("igw-%d", i), "tgw-" + v.Region, "tgw-" + v.Region, "tgw-" + v.Region}
		for _, p := range n.t.VPCPeeringConnections {
			if p.RequesterVPCInfo.VPCID == v.VPCID || p.AccepterVPCInfo.VPCID == v.VPCID {
				targets = append(targets, p.VPCPeeringConnectionID)
			}
		}
		table := func(id string) topology.RouteTable {
			rt := topology.RouteTable{RouteTableID: id, VPCID: v.VPCID}
			for _, p := range destinations {
				if n.chance(40) {
					rt.Routes = append(rt.Routes, n.route(topology.Route{DestinationCIDRBlock: p}, targets))
				}
			}
			for _, l := range n.t.PrefixLists {
				if n.chance(30) {
					rt.Routes = append(rt.Routes, n.route(topology.Route{DestinationPrefixListID: l.PrefixListID}, targets))
				}
			}
			return rt
		}
		main := table("rtb-" + v.VPCID[4:])
		main.Main = true
		n.t.RouteTables = append(n.t.RouteTables, main)
		for _, s := range n.t.Subnets {
			if s.VPCID == v.VPCID && n.chance(25) {
				own := table("rtb-of-" + s.SubnetID)
				own.SubnetIDs = []string{s.SubnetID}
				n.t.RouteTables = append(n.t.RouteTables, own)
			}
		}
	}
}

func (n *network) route(r topology.Route, targets []string) topology.Route {
	r.Target = pick(n, targets)
	if n.chance(8) {
		r.State = topology.RouteBlackhole
	}
	return r
}

func TestResolutionByIndexEqualsTheReferenceOnRandomNetworks(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 30
	}
	n := &network{Rand: rand.New(rand.NewPCG(4, 11))}
	seen := map[string]int{}
	for round := range rounds {
		m := n.draw()
		require.Empty(t, m.Validate())
		r, f := path.New(topology.Build(m, nil), nil), &reference{t: m}
		asked := []netip.Addr{netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("192.168.0.1")}
		for range 40 {
			asked = append(asked, netip.AddrFrom4([4]byte{10, 0, byte(n.IntN(4)), byte(n.IntN(256))}))
		}
		for _, b := range blocks {
			asked = append(asked, b.Addr().Next().Next()) // where a DNS server may be
		}
		for _, e := range m.NetworkInterfaces {
			if n.chance(30) {
				asked = append(asked, e.PrivateIPAddresses...)
			}
		}
		for range 12 {
			if len(m.NetworkInterfaces) == 0 {
				break
			}
			from := &m.NetworkInterfaces[n.IntN(len(m.NetworkInterfaces))]
			for _, dst := range asked {
				if dst == from.PrivateIPAddresses[0] {
					continue
				}
				want := f.resolve(from, dst)
				got := r.Resolve(&path.Origin{Host: from.InstanceID}, from.PrivateIPAddresses[0], dst)
				require.Equal(t, want, verdict{got.Category, got.Remote.VPC, got.Remote.Subnet, got.Remote.Interface, got.Remote.Service, got.Unresolved, strings.Join(got.Path, " ")},
					"network %d: %s to %s", round, from.NetworkInterfaceID, dst)
				require.Equal(t, from.NetworkInterfaceID, got.Local.Interface)
				seen[want.category]++
				for _, kind := range []string{"vpc_peering/", "transit_gateway_peering/", " vpc/", "internet_gateway/"} {
					if strings.Contains(want.path, kind) {
						seen[kind]++
					}
				}
			}
		}
	}
	// The test says nothing of what never came up.
	for _, kind := range []string{"INTRA_AZ", "INTER_AZ", "INTER_VPC", "INTER_REGION", "TRANSIT_GATEWAY", "INTERNET", "AWS_SERVICE", "UNCLASSIFIED",
		"vpc_peering/", "transit_gateway_peering/", " vpc/", "internet_gateway/"} {
		assert.Greater(t, seen[kind], rounds, kind)
	}
	t.Log(seen)
}
