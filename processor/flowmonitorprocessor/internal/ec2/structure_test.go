// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"cmp"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ec2"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ec2/ec2test"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// normal writes down a world in the words of the API: with the local routes that every table
// has, the routes that VPCs propagate, the zones of each account; sorted.
func normal(world *topology.Topology) *topology.Topology {
	t := *world
	cidrs := map[string][]netip.Prefix{}
	for _, v := range t.VPCs {
		cidrs[v.VPCID] = v.CIDRBlocks
	}
	t.Regions, t.Accounts = nil, nil // what is configured, not what is there
	t.AvailabilityZones = nil
	for _, a := range world.Accounts {
		for _, z := range world.AvailabilityZones {
			if z.AccountID == "" || z.AccountID == a.AccountID {
				z.AccountID = a.AccountID
				z.ZoneType = max(z.ZoneType, topology.ZoneAvailability)
				t.AvailabilityZones = append(t.AvailabilityZones, z)
			}
		}
	}
	t.Subnets = slices.Clone(t.Subnets)
	tables := map[string][]string{}
	for i := range t.Subnets {
		s := &t.Subnets[i]
		if s.RouteTableID != "" {
			tables[s.RouteTableID] = append(tables[s.RouteTableID], s.SubnetID)
			s.RouteTableID = ""
		}
	}
	t.NetworkInterfaces = slices.Clone(t.NetworkInterfaces)
	for i := range t.NetworkInterfaces {
		if n := &t.NetworkInterfaces[i]; !*n.RequesterManaged {
			n.Description = ""
		}
	}
	t.RouteTables = slices.Clone(t.RouteTables)
	for i := range t.RouteTables {
		r := &t.RouteTables[i]
		for _, id := range r.SubnetIDs {
			if !slices.Contains(tables[r.RouteTableID], id) {
				tables[r.RouteTableID] = append(tables[r.RouteTableID], id)
			}
		}
		r.SubnetIDs = tables[r.RouteTableID]
		slices.Sort(r.SubnetIDs)
		var routes []topology.Route
		for _, c := range cidrs[r.VPCID] {
			routes = append(routes, topology.Route{DestinationCIDRBlock: c, Target: "local"})
		}
		r.Routes = append(routes, r.Routes...)
		for j := range r.Routes {
			if x := &r.Routes[j]; x.DestinationCIDRBlock.Addr().Is6() {
				x.DestinationIPv6CIDRBlock, x.DestinationCIDRBlock = x.DestinationCIDRBlock, netip.Prefix{}
			}
		}
		slices.SortFunc(r.Routes, func(a, b topology.Route) int {
			return cmp.Or(a.DestinationCIDRBlock.Addr().Compare(b.DestinationCIDRBlock.Addr()), cmp.Compare(a.DestinationCIDRBlock.Bits(), b.DestinationCIDRBlock.Bits()),
				a.DestinationIPv6CIDRBlock.Addr().Compare(b.DestinationIPv6CIDRBlock.Addr()), cmp.Compare(a.DestinationIPv6CIDRBlock.Bits(), b.DestinationIPv6CIDRBlock.Bits()),
				cmp.Compare(a.DestinationPrefixListID, b.DestinationPrefixListID), cmp.Compare(a.Target, b.Target))
		})
	}
	t.VPCPeeringConnections = slices.DeleteFunc(slices.Clone(t.VPCPeeringConnections), func(p topology.VPCPeeringConnection) bool { return p.Status == "deleted" })
	t.TransitGateways = slices.Clone(t.TransitGateways)
	for i := range t.TransitGateways {
		transitRoutes(&t, &t.TransitGateways[i], cidrs)
	}
	arrange(&t)
	return &t
}

func transitRoutes(t *topology.Topology, g *topology.TransitGateway, cidrs map[string][]netip.Prefix) {
	g.RouteTables = slices.Clone(g.RouteTables)
	for j := range g.RouteTables {
		r := &g.RouteTables[j]
		var routes []topology.TransitGatewayRoute
		for _, x := range r.Routes {
			if x.PrefixListID == "" {
				routes = append(routes, x)
				continue
			}
			for _, l := range t.PrefixLists {
				for _, c := range l.CIDRs {
					if l.PrefixListID == x.PrefixListID {
						x.DestinationCIDRBlock = c
						routes = append(routes, x)
					}
				}
			}
		}
		for _, id := range r.Propagations {
			for _, a := range g.Attachments {
				for _, c := range cidrs[a.ResourceID] {
					if a.TransitGatewayAttachmentID == id {
						routes = append(routes, topology.TransitGatewayRoute{DestinationCIDRBlock: c, TransitGatewayAttachmentID: id, Type: topology.RoutePropagated})
					}
				}
			}
		}
		slices.SortFunc(routes, func(a, b topology.TransitGatewayRoute) int {
			return cmp.Or(a.DestinationCIDRBlock.Addr().Compare(b.DestinationCIDRBlock.Addr()), cmp.Compare(a.DestinationCIDRBlock.Bits(), b.DestinationCIDRBlock.Bits()),
				cmp.Compare(a.PrefixListID, b.PrefixListID), cmp.Compare(a.Type, b.Type), cmp.Compare(a.TransitGatewayAttachmentID, b.TransitGatewayAttachmentID))
		})
		r.Routes, r.Propagations = routes, nil
		r.Associations = slices.Sorted(slices.Values(r.Associations))
	}
	g.Attachments = slices.Clone(g.Attachments)
	for j := range g.Attachments {
		g.Attachments[j].SubnetIDs = slices.Sorted(slices.Values(g.Attachments[j].SubnetIDs))
	}
}

// arrange sorts every list by what identifies its members.
func arrange(t *topology.Topology) {
	t.Regions, t.Accounts = nil, nil
	by := func(a, b string) int { return cmp.Compare(a, b) }
	sortAs(&t.AvailabilityZones, func(a, b topology.AvailabilityZone) int { return cmp.Or(by(a.ZoneID, b.ZoneID), by(a.AccountID, b.AccountID)) })
	sortAs(&t.VPCs, func(a, b topology.VPC) int { return by(a.VPCID, b.VPCID) })
	sortAs(&t.Subnets, func(a, b topology.Subnet) int { return by(a.SubnetID, b.SubnetID) })
	for i := range t.Subnets {
		t.Subnets[i].SharedWith = slices.Sorted(slices.Values(t.Subnets[i].SharedWith))
	}
	sortAs(&t.NetworkInterfaces, func(a, b topology.NetworkInterface) int { return by(a.NetworkInterfaceID, b.NetworkInterfaceID) })
	sortAs(&t.Instances, func(a, b topology.Instance) int { return by(a.InstanceID, b.InstanceID) })
	sortAs(&t.RouteTables, func(a, b topology.RouteTable) int { return by(a.RouteTableID, b.RouteTableID) })
	sortAs(&t.TransitGateways, func(a, b topology.TransitGateway) int { return by(a.TransitGatewayID, b.TransitGatewayID) })
	for i := range t.TransitGateways {
		g := &t.TransitGateways[i]
		sortAs(&g.Attachments, func(a, b topology.TransitGatewayAttachment) int {
			return by(a.TransitGatewayAttachmentID, b.TransitGatewayAttachmentID)
		})
		for j := range g.Attachments {
			g.Attachments[j].ResourceOwnerID = "" // of what nobody describes, it is not declared
		}
		sortAs(&g.RouteTables, func(a, b topology.TransitGatewayRouteTable) int {
			return by(a.TransitGatewayRouteTableID, b.TransitGatewayRouteTableID)
		})
	}
	sortAs(&t.VPCPeeringConnections, func(a, b topology.VPCPeeringConnection) int { return by(a.VPCPeeringConnectionID, b.VPCPeeringConnectionID) })
	sortAs(&t.NATGateways, func(a, b topology.NATGateway) int { return by(a.NATGatewayID, b.NATGatewayID) })
	sortAs(&t.InternetGateways, func(a, b topology.InternetGateway) int { return by(a.InternetGatewayID, b.InternetGatewayID) })
	sortAs(&t.EgressOnlyInternetGateways, func(a, b topology.EgressOnlyInternetGateway) int {
		return by(a.EgressOnlyInternetGatewayID, b.EgressOnlyInternetGatewayID)
	})
	sortAs(&t.VPNGateways, func(a, b topology.VPNGateway) int { return by(a.VPNGatewayID, b.VPNGatewayID) })
	sortAs(&t.VPNConnections, func(a, b topology.VPNConnection) int { return by(a.VPNConnectionID, b.VPNConnectionID) })
	sortAs(&t.LocalGateways, func(a, b topology.LocalGateway) int { return by(a.LocalGatewayID, b.LocalGatewayID) })
	sortAs(&t.VPCEndpoints, func(a, b topology.VPCEndpoint) int { return by(a.VPCEndpointID, b.VPCEndpointID) })
	for i := range t.VPCEndpoints {
		t.VPCEndpoints[i].RouteTableIDs = slices.Sorted(slices.Values(t.VPCEndpoints[i].RouteTableIDs))
	}
	sortAs(&t.PrefixLists, func(a, b topology.PrefixList) int { return by(a.PrefixListID, b.PrefixListID) })
}

func sortAs[E any](list *[]E, less func(a, b E) int) {
	*list = slices.Clone(*list)
	slices.SortFunc(*list, less)
}

// Field by field, what is read is what is there.
func TestTheAPIGivesTheSameTopologyAsIsDeclared(t *testing.T) {
	for name, d := range declared(t) {
		t.Run(name, func(t *testing.T) {
			world := complete(d)
			s := ec2test.New(t, world)
			w := run(t, options(s, accounts(s, world)))
			require.NoError(t, w.await(t, 1))
			want, got := normal(world), w.Merge()
			arrange(got)
			assert.Equal(t, want.AvailabilityZones, got.AvailabilityZones)
			assert.Equal(t, want.VPCs, got.VPCs)
			assert.Equal(t, want.Subnets, got.Subnets)
			assert.Equal(t, want.NetworkInterfaces, got.NetworkInterfaces)
			assert.Equal(t, want.Instances, got.Instances)
			assert.Equal(t, want.RouteTables, got.RouteTables)
			assert.Equal(t, want.TransitGateways, got.TransitGateways)
			assert.Equal(t, want.VPCPeeringConnections, got.VPCPeeringConnections)
			assert.Equal(t, want.NATGateways, got.NATGateways)
			assert.Equal(t, want.InternetGateways, got.InternetGateways)
			assert.Equal(t, want.EgressOnlyInternetGateways, got.EgressOnlyInternetGateways)
			assert.Equal(t, want.VPNGateways, got.VPNGateways)
			assert.Equal(t, want.VPNConnections, got.VPNConnections)
			assert.Equal(t, want.LocalGateways, got.LocalGateways)
			assert.Equal(t, want.VPCEndpoints, got.VPCEndpoints)
			assert.Equal(t, want.PrefixLists, got.PrefixLists)
		})
	}
}

// A guest's name for a zone is not the owner's.
func TestAGuestDoesNotNameTheZonesOfItsHost(t *testing.T) {
	world := complete(read(t, "testdata/everything.yaml"))
	s := ec2test.New(t, world)
	list := slices.DeleteFunc(accounts(s, world), func(a ec2.Account) bool { return a.RoleARN != "arn:aws:iam::222222222222:role/reader" })
	w := run(t, options(s, list))
	require.NoError(t, w.await(t, 1))
	for _, sub := range w.Merge().Subnets {
		if sub.OwnerID != "222222222222" {
			assert.Empty(t, sub.AvailabilityZone, sub.SubnetID)
			assert.Equal(t, []string{"222222222222"}, sub.SharedWith)
		} else {
			assert.NotEmpty(t, sub.AvailabilityZone)
		}
	}
}
