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

// transitGateway gives the node of a transit gateway, described or only referred to.
func (b *builder) transitGateway(id string) *TransitGatewayNode {
	g := b.transit[id]
	if g == nil {
		g = &TransitGatewayNode{ID: id}
		b.transit[id] = g
	}
	return g
}

func (b *builder) transitGateways() {
	for i := range b.t.TransitGateways {
		m := &b.t.TransitGateways[i]
		g := b.transitGateway(m.TransitGatewayID)
		if g.Described {
			continue
		}
		g.Described, g.Region, g.HasTables = true, m.Region, len(m.RouteTables) > 0
		attachments := map[string]*AttachmentNode{}
		for j := range m.Attachments {
			a := b.attachmentNode(g, &m.Attachments[j])
			if attachments[a.ID] == nil {
				attachments[a.ID] = a
				g.Attachments = append(g.Attachments, a)
			}
		}
		for j := range m.RouteTables {
			b.transitTable(&m.RouteTables[j], attachments)
		}
	}
}

func (b *builder) attachmentNode(g *TransitGatewayNode, m *TransitGatewayAttachment) *AttachmentNode {
	a := &AttachmentNode{ID: m.TransitGatewayAttachmentID, Type: m.ResourceType, TransitGateway: g, PeerRegion: m.PeerRegion}
	switch m.ResourceType {
	case AttachmentVPC:
		if m.ResourceID == "" {
			return a
		}
		a.VPC = b.referred(m.ResourceID, g.Region, m.ResourceOwnerID, nil)
		a.VPC.TransitGateways = append(a.VPC.TransitGateways, a)
		if a.VPC.Described {
			g.Region = cmp.Or(g.Region, a.VPC.Region) // a transit gateway joins VPCs of its own Region
		}
		for _, id := range m.SubnetIDs {
			if s := b.x.subnets[id]; s != nil {
				a.Subnets = append(a.Subnets, s)
			}
		}
	case AttachmentPeering:
		if m.ResourceID != "" {
			a.Peer = b.transitGateway(m.ResourceID)
			if a.Peer.Region == "" && !a.Peer.Described {
				a.Peer.Region = m.PeerRegion
			}
		}
	}
	return a
}

func (b *builder) transitTable(m *TransitGatewayRouteTable, attachments map[string]*AttachmentNode) {
	t := &TransitGatewayTableNode{ID: m.TransitGatewayRouteTableID}
	insert := func(p netip.Prefix, r *TransitGatewayRouteNode) {
		t.routes.Modify(p, func(old *TransitGatewayRouteNode, ok bool) (*TransitGatewayRouteNode, bool) {
			if ok && old.Type <= r.Type {
				return old, false // static wins over propagated, the first over its equals
			}
			return r, false
		})
	}
	for j := range m.Routes {
		r := &m.Routes[j]
		node := &TransitGatewayRouteNode{Attachment: attachments[r.TransitGatewayAttachmentID], Type: r.Type, Blackhole: r.State == RouteBlackhole}
		if node.Attachment == nil {
			node.Blackhole = true
		}
		if r.PrefixListID != "" {
			for _, p := range b.lists[r.PrefixListID] {
				insert(p, node)
			}
		} else if r.DestinationCIDRBlock.IsValid() {
			insert(r.DestinationCIDRBlock, node)
		}
	}
	for _, id := range m.Propagations {
		if a := attachments[id]; a != nil && a.VPC != nil {
			for _, p := range a.VPC.CIDRs {
				insert(p, &TransitGatewayRouteNode{Attachment: a, Type: RoutePropagated})
			}
		}
	}
	for _, id := range m.Associations {
		if a := attachments[id]; a != nil && a.Table == nil {
			a.Table = t
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
// the VPC's own CIDRs, which every table has, prefix lists, then plain CIDRs.
func (b *builder) routeTable(m *RouteTable, v *VPCNode) *RouteTableNode {
	node := &RouteTableNode{ID: m.RouteTableID, VPC: v}
	local := &RouteNode{Kind: TargetLocal, ID: "local"}
	for _, c := range v.CIDRs {
		node.routes.Insert(c, local)
	}
	b.impliedEndpoints(node, m)
	for j := range m.Routes {
		if r := &m.Routes[j]; r.DestinationPrefixListID != "" {
			target := b.route(r)
			for _, c := range b.lists[r.DestinationPrefixListID] {
				node.routes.Insert(c, target)
			}
		}
	}
	for j := range m.Routes {
		r := &m.Routes[j]
		if r.DestinationCIDRBlock.IsValid() {
			node.routes.Insert(r.DestinationCIDRBlock, b.route(r))
		}
		if r.DestinationIPv6CIDRBlock.IsValid() {
			node.routes.Insert(r.DestinationIPv6CIDRBlock, b.route(r))
		}
	}
	return node
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
		if i, ok := b.interfaces[m.Target]; ok {
			r.Interface = &b.x.interfaces[i]
		}
	case "cagw", "core":
		r.Kind = TargetOutside
	default:
		if isCoreNetwork(m.Target) {
			r.Kind = TargetOutside
		}
	}
	return r
}
