// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"cmp"
	"net/netip"
	"strings"
)

// prefixLists expands the prefix lists and learns which service each AWS-managed one is.
func (b *builder) prefixLists() {
	for i := range b.t.PrefixLists {
		m := &b.t.PrefixLists[i]
		cidrs := m.CIDRs
		service, region, managed := parseServiceName(m.PrefixListName)
		if managed && len(cidrs) == 0 && b.blocks != nil {
			cidrs = b.blocks(service, region)
		}
		b.lists[m.PrefixListID] = cidrs
		if managed {
			for _, c := range cidrs {
				b.x.managed.Insert(c, ServiceRef{service, region})
			}
		}
	}
}

// referred gives the node of a VPC that something refers to, described or not.
func (b *builder) referred(id, region, account string, cidrs []netip.Prefix) *VPCNode {
	v := b.x.vpcs[id]
	if v == nil {
		v = &VPCNode{ID: id}
		b.x.vpcs[id] = v
	}
	if !v.Described {
		v.Region, v.Account = cmp.Or(v.Region, region), cmp.Or(v.Account, account)
		v.CIDRs = append(v.CIDRs, cidrs...)
	}
	return v
}

func (b *builder) peeringNodes() {
	for i := range b.t.VPCPeeringConnections {
		m := &b.t.VPCPeeringConnections[i]
		if b.peerings[m.VPCPeeringConnectionID] != nil {
			continue
		}
		side := func(i *PeeringVPCInfo) *VPCNode { return b.referred(i.VPCID, i.Region, i.OwnerID, i.CIDRBlocks) }
		p := &PeeringNode{ID: m.VPCPeeringConnectionID, Requester: side(&m.RequesterVPCInfo), Accepter: side(&m.AccepterVPCInfo), Active: m.active()}
		b.peerings[p.ID] = p
		if p.Active {
			p.Requester.Peerings = append(p.Requester.Peerings, p)
			p.Accepter.Peerings = append(p.Accepter.Peerings, p)
		}
	}
}

func (b *builder) routeTables() {
	x, t := b.x, b.t
	mains := map[*VPCNode]*RouteTableNode{}
	for i := range t.RouteTables {
		m := &t.RouteTables[i]
		v := x.vpcs[m.VPCID]
		if v == nil || !v.Described || b.tables[m.RouteTableID] != nil {
			continue
		}
		node := b.routeTable(m, v)
		b.tables[node.ID] = node
		if m.Main && mains[v] == nil {
			mains[v] = node
		}
	}
	for i := range t.RouteTables {
		m := &t.RouteTables[i]
		for _, id := range m.SubnetIDs {
			if s := x.subnets[id]; s != nil && s.Table == nil {
				s.Table = b.tables[m.RouteTableID]
			}
		}
	}
	for i := range t.Subnets {
		m := &t.Subnets[i]
		if s := x.subnets[m.SubnetID]; s != nil && m.RouteTableID != "" && s.Table == nil {
			s.Table = b.tables[m.RouteTableID]
		}
	}
	for _, s := range x.subnets {
		if s.Table == nil {
			s.Table = mains[s.VPC]
		}
	}
}

// routeTable compiles one table. Of routes to the same destination, a later step wins:
// gateway endpoints, propagated routes, prefix lists, the VPC's own CIDRs, which every
// table has, then plain CIDRs.
func (b *builder) routeTable(m *RouteTable, v *VPCNode) *RouteTableNode {
	node := &RouteTableNode{ID: m.RouteTableID, VPC: v}
	insert := func(d netip.Prefix, r *RouteNode) {
		if d.IsValid() && (r.Kind.withinVPC() || !v.covers(d)) {
			node.routes.Insert(d, r)
		}
	}
	plain := func(propagated bool) {
		for j := range m.Routes {
			if r := &m.Routes[j]; r.maybePropagated() == propagated {
				target := b.route(r)
				insert(r.DestinationCIDRBlock, target)
				insert(r.DestinationIPv6CIDRBlock, target)
			}
		}
	}
	b.impliedEndpoints(node, m)
	plain(true)
	undescribed := false
	for j := range m.Routes {
		if r := &m.Routes[j]; r.DestinationPrefixListID != "" {
			target := b.route(r)
			list, known := b.lists[r.DestinationPrefixListID]
			undescribed = undescribed || !known
			for _, c := range list {
				insert(c, target)
			}
		}
	}
	local := &RouteNode{Kind: TargetLocal, ID: "local"}
	for _, c := range v.CIDRs {
		node.routes.Insert(c, local)
	}
	plain(false)
	if undescribed {
		node.distrust()
	}
	return node
}

// distrust marks what a route to a prefix list may override that is not described, as where
// another account owns it: all but the VPC's own blocks, and the routes to one address.
func (t *RouteTableNode) distrust() {
	for p, r := range t.routes.All() {
		if !p.IsSingleIP() && r.Kind != TargetLocal {
			r.Uncertain = true
		}
	}
}

// maybePropagated tells a route that a virtual private gateway may have put into the
// table. Nothing else propagates, and a static route to the same destination wins.
func (r *Route) maybePropagated() bool { return strings.HasPrefix(r.Target, "vgw-") }

// withinVPC tells the targets that a route within the VPC's own CIDRs may have. AWS
// refuses the others, and ignores those that a virtual private gateway propagates.
func (k TargetKind) withinVPC() bool {
	switch k {
	case TargetNone, TargetLocal, TargetNATGateway, TargetInterface, TargetEndpoint:
		return true
	}
	return false
}

// covers tells whether a whole block is within one of the VPC's CIDRs.
func (v *VPCNode) covers(p netip.Prefix) bool {
	for _, c := range v.CIDRs {
		if c.Bits() <= p.Bits() && c.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

// impliedEndpoints adds the route that a gateway endpoint puts into its route tables,
// unless the table lists a route to that endpoint itself.
func (b *builder) impliedEndpoints(node *RouteTableNode, m *RouteTable) {
	for _, e := range b.gatewaysOf[m.RouteTableID] {
		listed := false
		for _, r := range m.Routes {
			listed = listed || r.Target == e.VPCEndpointID
		}
		if listed {
			continue
		}
		target := &RouteNode{Kind: TargetEndpoint, ID: e.VPCEndpointID, Endpoint: b.endpoints[e.VPCEndpointID]}
		for _, c := range b.serviceBlocks(e.ServiceName) {
			node.routes.Insert(c, target)
		}
	}
}

// serviceBlocks gives the entries of a service's prefix list, or its AWS ranges when
// the topology does not have the list.
func (b *builder) serviceBlocks(name string) []netip.Prefix {
	for i := range b.t.PrefixLists {
		if l := &b.t.PrefixLists[i]; l.PrefixListName == name {
			return b.lists[l.PrefixListID]
		}
	}
	service, region, ok := parseServiceName(name)
	if !ok || b.blocks == nil {
		return nil
	}
	return b.blocks(service, region)
}

func (b *builder) route(m *Route) *RouteNode {
	r := &RouteNode{ID: m.Target, Blackhole: m.State == RouteBlackhole}
	kind, _, _ := strings.Cut(m.Target, "-")
	switch kind {
	case "local":
		r.Kind = TargetLocal
	case "tgw":
		r.Kind, r.TransitGateway = TargetTransitGateway, b.transitGateway(m.Target)
	case "pcx":
		r.Kind, r.Peering = TargetPeering, b.peerings[m.Target]
		r.Blackhole = r.Blackhole || r.Peering != nil && !r.Peering.Active
	case "nat":
		r.Kind, r.NATGateway = TargetNATGateway, b.nats[m.Target]
	case "igw":
		r.Kind = TargetInternetGateway
	case "eigw":
		r.Kind = TargetEgressOnlyInternetGateway
	case "vpce":
		r.Kind, r.Endpoint = TargetEndpoint, b.endpoints[m.Target]
	case "vgw":
		r.Kind = TargetVPNGateway
	case "lgw":
		r.Kind = TargetLocalGateway
	case "eni":
		r.Kind = TargetInterface
		r.Interface = InterfaceNode{b.x, b.interfaceNumber(m.Target)}
	case "cagw", "core":
		r.Kind = TargetOutside
	default:
		if isCoreNetwork(m.Target) {
			r.Kind = TargetOutside
		}
	}
	return r
}
