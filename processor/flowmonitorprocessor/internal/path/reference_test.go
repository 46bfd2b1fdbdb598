// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package path_test

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// The slow and obviously right answer: a packet is handed on by loops over the lists of the
// topology, as the VPC user guide and the transit gateway guide say. Nothing of the index or
// of the resolver is used.
type reference struct {
	t *topology.Topology

	dst     netip.Addr
	path    []string
	from    string // zone
	region  string
	crossed bool // a transit gateway
	tables  []string
}

// arrival is where the packet ends.
type arrival struct {
	subnet, eni string // in a VPC
	vpc         string // of the subnet, or known without one
	internet    bool
	dns         bool
	lost        bool // dropped, or on its way to where nothing is known
}

// verdict is what has to be said of the flow.
type verdict struct{ category, vpc, subnet, eni, service, unresolved, path string }

func (f *reference) vpc(id string) *topology.VPC {
	return &f.t.VPCs[slices.IndexFunc(f.t.VPCs, func(v topology.VPC) bool { return v.VPCID == id })]
}

func (f *reference) subnet(id string) *topology.Subnet {
	return &f.t.Subnets[slices.IndexFunc(f.t.Subnets, func(s topology.Subnet) bool { return s.SubnetID == id })]
}

func (f *reference) gateway(id string) *topology.TransitGateway {
	return &f.t.TransitGateways[slices.IndexFunc(f.t.TransitGateways, func(g topology.TransitGateway) bool { return g.TransitGatewayID == id })]
}

func anyContains(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

// resolve follows a packet from an interface.
func (f *reference) resolve(from *topology.NetworkInterface, dst netip.Addr) verdict {
	s := f.subnet(from.SubnetID)
	v := f.vpc(s.VPCID)
	*f = reference{t: f.t, dst: dst, from: s.AvailabilityZoneID, region: v.Region}
	f.path = []string{"eni/" + from.NetworkInterfaceID, "subnet/" + s.SubnetID}
	a := f.route(v, f.table(s))
	out := verdict{vpc: a.vpc, subnet: a.subnet, eni: a.eni}
	end := a.vpc
	switch {
	case a.internet:
		out.category = "INTERNET"
		f.path = append(f.path, "address/"+f.dst.String())
	case a.dns:
		out.category, out.service = "AWS_SERVICE", "ROUTE53_RESOLVER"
		if f.vpc(end).Region != v.Region {
			out.category = "INTER_REGION"
		}
		f.edge(f.vpc(end).Region)
		f.path = append(f.path, "service/ROUTE53_RESOLVER")
		out.vpc = ""
	case a.lost:
		out.category, out.unresolved = "UNCLASSIFIED", "unknown"
		switch {
		case f.crossed && f.region != v.Region:
			out.category, out.unresolved = "INTER_REGION", ""
		case f.crossed:
			out.category = "TRANSIT_GATEWAY"
		}
		if end != "" && f.path[len(f.path)-1] != "vpc/"+end {
			f.path = append(f.path, "vpc/"+end)
		}
		f.path = append(f.path, "address/"+f.dst.String())
	case a.subnet == "": // a peer's address outside its subnets
		out.category = "INTER_VPC"
		if f.vpc(end).Region != v.Region {
			out.category = "INTER_REGION"
		}
		f.edge(f.vpc(end).Region)
		f.path = append(f.path, "vpc/"+end, "address/"+f.dst.String())
	default:
		to := f.subnet(a.subnet)
		switch {
		case f.vpc(end).Region != v.Region:
			out.category = "INTER_REGION"
		case end != v.VPCID:
			out.category = "INTER_VPC"
		case to.AvailabilityZoneID == s.AvailabilityZoneID:
			out.category = "INTRA_AZ"
		default:
			out.category = "INTER_AZ"
		}
		f.edge(f.vpc(end).Region)
		f.zone(to)
		if last := "subnet/" + to.SubnetID; f.path[len(f.path)-1] != last {
			f.path = append(f.path, last)
		}
		if a.eni == "" {
			f.path = append(f.path, "address/"+f.dst.String())
		} else {
			f.path = append(f.path, "eni/"+a.eni)
		}
		if a.eni == from.NetworkInterfaceID {
			f.path = f.path[:1]
		}
	}
	out.path = strings.Join(f.path, " ")
	return out
}

// zone notes the pair of zones where the packet changes between two of a Region.
func (f *reference) zone(s *topology.Subnet) {
	if to := s.AvailabilityZoneID; f.from != "" && f.from != to && f.vpc(s.VPCID).Region == f.region {
		f.path = append(f.path, "az_pair/"+min(f.from, to)+":"+max(f.from, to))
	}
	f.from = s.AvailabilityZoneID
}

func (f *reference) edge(region string) {
	if region != f.region {
		f.path = append(f.path, "region_edge/"+region)
		f.region, f.from = region, ""
	}
}

// table gives a subnet's own route table, else the main one of its VPC.
func (f *reference) table(s *topology.Subnet) *topology.RouteTable {
	var main *topology.RouteTable
	for i := range f.t.RouteTables {
		rt := &f.t.RouteTables[i]
		if slices.Contains(rt.SubnetIDs, s.SubnetID) {
			return rt
		}
		if rt.Main && rt.VPCID == s.VPCID {
			main = rt
		}
	}
	return main
}

// longest gives the index of the best route: the longest prefix; of two to the same
// destination the one of the better rank, which is the lower.
func longest(n int, at func(int) (p netip.Prefix, rank int), dst netip.Addr) int {
	best, bits, better := -1, -1, 0
	for i := range n {
		p, rank := at(i)
		if p.Contains(dst) && (p.Bits() > bits || p.Bits() == bits && rank < better) {
			best, bits, better = i, p.Bits(), rank
		}
	}
	return best
}

type vpcRoute struct {
	to     netip.Prefix
	rank   int // static, local, prefix list
	target string
	lost   bool
}

// routesOf lists all routes of a table, the local ones and those of prefix lists too.
func (f *reference) routesOf(v *topology.VPC, rt *topology.RouteTable) (routes []vpcRoute) {
	for _, p := range v.CIDRBlocks {
		routes = append(routes, vpcRoute{p, 1, "local", false})
	}
	add := func(p netip.Prefix, rank int, r *topology.Route) {
		for _, own := range v.CIDRBlocks {
			if own.Bits() <= p.Bits() && own.Contains(p.Addr()) && r.Target != "" && r.Target != "local" {
				return // AWS takes no route within the VPC's own blocks to such a target
			}
		}
		routes = append(routes, vpcRoute{p, rank, r.Target, r.State == topology.RouteBlackhole})
	}
	for i := range rt.Routes {
		r := &rt.Routes[i]
		if r.DestinationPrefixListID == "" {
			add(r.DestinationCIDRBlock, 0, r)
			continue
		}
		for _, p := range f.list(r.DestinationPrefixListID) {
			add(p, 2, r)
		}
	}
	return routes
}

func (f *reference) list(id string) []netip.Prefix {
	return f.t.PrefixLists[slices.IndexFunc(f.t.PrefixLists, func(l topology.PrefixList) bool { return l.PrefixListID == id })].CIDRs
}

// route hands the packet on from a VPC by a table.
func (f *reference) route(v *topology.VPC, rt *topology.RouteTable) arrival {
	if slices.Contains(f.tables, rt.RouteTableID) {
		return arrival{lost: true} // it goes round in circles
	}
	f.tables = append(f.tables, rt.RouteTableID)
	routes := f.routesOf(v, rt)
	i := longest(len(routes), func(i int) (netip.Prefix, int) { return routes[i].to, routes[i].rank }, f.dst)
	if i < 0 || routes[i].lost {
		return arrival{lost: true}
	}
	switch target := routes[i].target; {
	case target == "local":
		return f.deliver(v)
	case strings.HasPrefix(target, "pcx-"):
		return f.peer(v, target)
	case strings.HasPrefix(target, "tgw-"):
		return f.transit(v, f.gateway(target))
	case strings.HasPrefix(target, "igw-") && !f.dst.IsPrivate():
		f.path = append(f.path, "internet_gateway/"+target)
		return arrival{internet: true}
	}
	return arrival{lost: true}
}

// deliver finds who has the address in a VPC.
func (f *reference) deliver(v *topology.VPC) arrival {
	a := f.at(v)
	switch {
	case a.eni != "":
		return a
	case f.dst == v.CIDRBlocks[0].Addr().Next().Next():
		return arrival{dns: true, vpc: v.VPCID}
	case a.subnet != "":
		return a
	}
	return arrival{lost: true, vpc: v.VPCID}
}

func (f *reference) at(v *topology.VPC) arrival {
	for _, holds := range []func(*topology.NetworkInterface) bool{
		func(n *topology.NetworkInterface) bool { return slices.Contains(n.PrivateIPAddresses, f.dst) },
		func(n *topology.NetworkInterface) bool { return anyContains(n.IPv4Prefixes, f.dst) },
	} {
		for i := range f.t.NetworkInterfaces {
			n := &f.t.NetworkInterfaces[i]
			if f.subnet(n.SubnetID).VPCID == v.VPCID && holds(n) {
				return arrival{subnet: n.SubnetID, eni: n.NetworkInterfaceID, vpc: v.VPCID}
			}
		}
	}
	for _, s := range f.t.Subnets {
		if s.VPCID == v.VPCID && anyContains(s.CIDRBlocks, f.dst) {
			return arrival{subnet: s.SubnetID, vpc: v.VPCID}
		}
	}
	return arrival{}
}

// peer crosses a peering, which leads to the other VPC's own addresses only.
func (f *reference) peer(v *topology.VPC, id string) arrival {
	p := f.t.VPCPeeringConnections[slices.IndexFunc(f.t.VPCPeeringConnections, func(p topology.VPCPeeringConnection) bool { return p.VPCPeeringConnectionID == id })]
	if p.Status != "active" {
		return arrival{lost: true}
	}
	other := p.RequesterVPCInfo.VPCID
	if other == v.VPCID {
		other = p.AccepterVPCInfo.VPCID
	}
	f.path = append(f.path, "vpc_peering/"+id)
	to := f.vpc(other)
	if a := f.at(to); a.subnet != "" {
		return a
	}
	if anyContains(to.CIDRBlocks, f.dst) {
		return arrival{vpc: other}
	}
	return arrival{lost: true}
}

type transitRoute struct {
	to   netip.Prefix
	rank int // static, prefix list, propagated
	by   string
	lost bool
}

// transit hands the packet on by transit gateways.
func (f *reference) transit(v *topology.VPC, g *topology.TransitGateway) arrival {
	f.crossed = true
	f.path = append(f.path, "transit_gateway/"+g.TransitGatewayID)
	in := ""
	for _, a := range g.Attachments {
		if a.ResourceID == v.VPCID {
			in = a.TransitGatewayAttachmentID
		}
	}
	passed := map[string]bool{}
	for {
		out, table := f.transitRoute(g, in)
		if out == "" || passed[table] {
			return arrival{lost: true} // also between two gateways that send it to each other
		}
		passed[table] = true
		a := g.Attachments[slices.IndexFunc(g.Attachments, func(a topology.TransitGatewayAttachment) bool { return a.TransitGatewayAttachmentID == out })]
		if a.ResourceType == topology.AttachmentPeering {
			f.path = append(f.path, "transit_gateway_peering/"+out)
			g, in = f.gateway(a.ResourceID), out
			f.edge(g.Region)
			f.path = append(f.path, "transit_gateway/"+g.TransitGatewayID)
			continue
		}
		return f.attached(f.vpc(a.ResourceID), f.subnet(a.SubnetIDs[0]))
	}
}

// transitRoute gives the attachment by which a gateway sends on what came in by another;
// "" for none, a black hole, or two that are equally good. And the table that says so.
func (f *reference) transitRoute(g *topology.TransitGateway, in string) (out, table string) {
	i := slices.IndexFunc(g.RouteTables, func(rt topology.TransitGatewayRouteTable) bool { return slices.Contains(rt.Associations, in) })
	if in == "" || i < 0 {
		return "", ""
	}
	var routes []transitRoute
	for _, r := range g.RouteTables[i].Routes {
		lost := r.State == topology.RouteBlackhole
		if r.PrefixListID == "" {
			routes = append(routes, transitRoute{r.DestinationCIDRBlock, 0, r.TransitGatewayAttachmentID, lost})
			continue
		}
		for _, p := range f.list(r.PrefixListID) {
			routes = append(routes, transitRoute{p, 1, r.TransitGatewayAttachmentID, lost})
		}
	}
	for _, id := range g.RouteTables[i].Propagations {
		for _, a := range g.Attachments {
			if a.TransitGatewayAttachmentID == id {
				for _, p := range f.vpc(a.ResourceID).CIDRBlocks {
					routes = append(routes, transitRoute{p, 2, id, false})
				}
			}
		}
	}
	best := longest(len(routes), func(i int) (netip.Prefix, int) { return routes[i].to, routes[i].rank }, f.dst)
	if best < 0 {
		return "", ""
	}
	for _, r := range routes {
		if b := routes[best]; r.to == b.to && r.rank == b.rank && (r.by != b.by || r.lost != b.lost) {
			return "", ""
		}
	}
	if routes[best].lost {
		return "", ""
	}
	return routes[best].by, g.RouteTables[i].TransitGatewayRouteTableID
}

// attached enters a VPC by the subnet of its attachment.
func (f *reference) attached(v *topology.VPC, s *topology.Subnet) arrival {
	if anyContains(v.CIDRBlocks, f.dst) {
		routes := f.routesOf(v, f.table(s))
		i := longest(len(routes), func(i int) (netip.Prefix, int) { return routes[i].to, routes[i].rank }, f.dst)
		if routes[i].target == "local" {
			return f.deliver(v)
		}
		f.edge(v.Region)
		f.zone(s)
		return f.route(v, f.table(s))
	}
	f.edge(v.Region)
	f.zone(s)
	f.path = append(f.path, "vpc/"+v.VPCID)
	return f.route(v, f.table(s))
}
