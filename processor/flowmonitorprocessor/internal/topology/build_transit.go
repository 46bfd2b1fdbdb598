// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"cmp"
	"net/netip"
)

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

// transitTable compiles one table. The better rank wins a destination; of equals with
// different attachments the gateway uses both or chooses by what is not described (the
// age of an attachment, BGP), so that neither is named.
func (b *builder) transitTable(m *TransitGatewayRouteTable, attachments map[string]*AttachmentNode) {
	t := &TransitGatewayTableNode{ID: m.TransitGatewayRouteTableID}
	insert := func(p netip.Prefix, r TransitGatewayRouteNode) {
		t.routes.Modify(p, func(old *TransitGatewayRouteNode, ok bool) (*TransitGatewayRouteNode, bool) {
			switch {
			case !ok || r.rank < old.rank:
				return &r, false
			case r.rank == old.rank && (r.Attachment != old.Attachment || r.Blackhole != old.Blackhole):
				old.Uncertain = true
			}
			return old, false
		})
	}
	named := map[*AttachmentNode]bool{}
	incomplete := m.RoutesIncomplete
	for j := range m.Routes {
		r := &m.Routes[j]
		a := attachments[r.TransitGatewayAttachmentID]
		named[a] = true
		node := TransitGatewayRouteNode{Attachment: a, Blackhole: a == nil || r.State == RouteBlackhole, rank: rankOf(r, a)}
		if r.DestinationCIDRBlock.IsValid() {
			insert(r.DestinationCIDRBlock, node)
			continue
		}
		list, known := b.lists[r.PrefixListID]
		incomplete = incomplete || r.PrefixListID != "" && !known
		for _, p := range list {
			insert(p, node)
		}
	}
	for _, id := range m.Propagations {
		a := attachments[id]
		if a == nil {
			continue
		}
		var cidrs []netip.Prefix
		if a.VPC != nil {
			cidrs = a.VPC.CIDRs
		}
		for _, p := range cidrs {
			insert(p, TransitGatewayRouteNode{Attachment: a, rank: rankVPC})
		}
		incomplete = incomplete || len(cidrs) == 0 && !named[a]
	}
	if incomplete {
		t.distrust()
	}
	for _, id := range m.Associations {
		if a := attachments[id]; a != nil && a.Table == nil {
			a.Table = t
		}
	}
}

// distrust marks what a route that is not known may override: all but the routes to one
// address, and to a VPC's own blocks, which another VPC that can be reached rarely has.
func (t *TransitGatewayTableNode) distrust() {
	for p, r := range t.routes.All() {
		if !p.IsSingleIP() && r.rank != rankVPC {
			r.Uncertain = true
		}
	}
}

// The order in which a transit gateway prefers routes to one destination.
const (
	rankStatic uint8 = iota
	rankPrefixList
	rankVPC
	rankDirectConnect
	rankConnect
	rankVPN
	rankPeering
)

func rankOf(r *TransitGatewayRoute, a *AttachmentNode) uint8 {
	switch {
	case r.PrefixListID != "":
		return rankPrefixList
	case r.Type == RouteStatic || a == nil:
		return rankStatic
	}
	switch a.Type {
	case AttachmentVPC:
		return rankVPC
	case AttachmentDirectConnect:
		return rankDirectConnect
	case AttachmentConnect:
		return rankConnect
	case AttachmentVPN:
		return rankVPN
	}
	return rankPeering
}
