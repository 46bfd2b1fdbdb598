// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2test

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// seesAttachment: all at its own transit gateways; at others', those of its own resources.
func (v *view) seesAttachment(g *topology.TransitGateway, a *topology.TransitGatewayAttachment) bool {
	return g.Region == v.region && (g.OwnerID == v.account || a.ResourceOwnerID == v.account && a.ResourceType != topology.AttachmentPeering)
}

func (v *view) seesGateway(g *topology.TransitGateway) bool {
	return g.Region == v.region && (g.OwnerID == v.account ||
		slices.ContainsFunc(g.Attachments, func(a topology.TransitGatewayAttachment) bool { return v.seesAttachment(g, &a) }))
}

func (v *view) transitGateways() *list {
	l := &list{set: "transitGatewaySet"}
	for i := range v.TransitGateways {
		g := &v.TransitGateways[i]
		if v.seesGateway(g) {
			l.items = append(l.items, []node{tx("transitGatewayId", g.TransitGatewayID), tx("transitGatewayArn", "arn:aws:ec2:"+v.region+":"+g.OwnerID+":transit-gateway/"+g.TransitGatewayID),
				tx("state", "available"), tx("ownerId", g.OwnerID), tx("creationTime", "2026-01-01T00:00:00.000Z"), el("options", tx("amazonSideAsn", 64512))})
		}
	}
	return l
}

func typeOf(a *topology.TransitGatewayAttachment) string {
	text, _ := a.ResourceType.MarshalText()
	if a.ResourceType == topology.AttachmentOther {
		return "network-function"
	}
	return string(text)
}

func (v *view) each(take func(*topology.TransitGateway, *topology.TransitGatewayAttachment)) {
	for i := range v.TransitGateways {
		g := &v.TransitGateways[i]
		for j := range g.Attachments {
			if v.seesAttachment(g, &g.Attachments[j]) {
				take(g, &g.Attachments[j])
			}
		}
	}
}

func (v *view) attachments() *list {
	l := &list{set: "transitGatewayAttachments"}
	v.each(func(g *topology.TransitGateway, a *topology.TransitGatewayAttachment) {
		item := []node{tx("transitGatewayAttachmentId", a.TransitGatewayAttachmentID), tx("transitGatewayId", g.TransitGatewayID), tx("transitGatewayOwnerId", g.OwnerID),
			tx("resourceOwnerId", a.ResourceOwnerID), tx("resourceType", typeOf(a)), tx("resourceId", a.ResourceID), tx("state", "available"),
			tx("creationTime", "2026-01-01T00:00:00.000Z"), tags()}
		for _, t := range g.RouteTables {
			if slices.Contains(t.Associations, a.TransitGatewayAttachmentID) {
				item = append(item, el("association", tx("transitGatewayRouteTableId", t.TransitGatewayRouteTableID), tx("state", "associated")))
			}
		}
		l.items = append(l.items, item)
	})
	l.items = append(l.items, []node{tx("transitGatewayAttachmentId", "tgw-attach-deleted"), tx("transitGatewayId", "tgw-1"), tx("resourceType", "vpc"), tx("resourceId", "vpc-1"), tx("state", "deleted")})
	return l
}

func (v *view) vpcAttachments() *list {
	l := &list{set: "transitGatewayVpcAttachments"}
	v.each(func(g *topology.TransitGateway, a *topology.TransitGatewayAttachment) {
		if a.ResourceType == topology.AttachmentVPC {
			l.items = append(l.items, []node{tx("transitGatewayAttachmentId", a.TransitGatewayAttachmentID), tx("transitGatewayId", g.TransitGatewayID), tx("vpcId", a.ResourceID),
				tx("vpcOwnerId", a.ResourceOwnerID), tx("state", "available"), texts("subnetIds", a.SubnetIDs), el("options", tx("dnsSupport", "enable"))})
		}
	})
	return l
}

func (v *view) peeringAttachments() *list {
	l := &list{set: "transitGatewayPeeringAttachments"}
	v.each(func(g *topology.TransitGateway, a *topology.TransitGatewayAttachment) {
		if a.ResourceType == topology.AttachmentPeering {
			l.items = append(l.items, []node{tx("transitGatewayAttachmentId", a.TransitGatewayAttachmentID), tx("state", "available"),
				el("requesterTgwInfo", tx("transitGatewayId", g.TransitGatewayID), tx("ownerId", g.OwnerID), tx("region", g.Region)),
				el("accepterTgwInfo", tx("transitGatewayId", a.ResourceID), tx("ownerId", a.ResourceOwnerID), tx("region", a.PeerRegion)), el("status", tx("code", "available"))})
		}
	})
	return l
}

func (v *view) transitTables() *list {
	l := &list{set: "transitGatewayRouteTables"}
	for i := range v.TransitGateways {
		g := &v.TransitGateways[i]
		if g.Region != v.region || g.OwnerID != v.account {
			continue // its guests do not see them
		}
		for _, t := range g.RouteTables {
			l.items = append(l.items, []node{tx("transitGatewayRouteTableId", t.TransitGatewayRouteTableID), tx("transitGatewayId", g.TransitGatewayID), tx("state", "available"),
				tx("defaultAssociationRouteTable", "false"), tx("defaultPropagationRouteTable", "false"), tx("creationTime", "2026-01-01T00:00:00.000Z"), tags()})
		}
	}
	return l
}

func (v *view) table(id string) (*topology.TransitGateway, *topology.TransitGatewayRouteTable, *apiError) {
	for i := range v.TransitGateways {
		g := &v.TransitGateways[i]
		for j := range g.RouteTables {
			if t := &g.RouteTables[j]; t.TransitGatewayRouteTableID == id && g.Region == v.region && g.OwnerID == v.account {
				return g, t, nil
			}
		}
	}
	return nil, nil, &apiError{"InvalidRouteTableID.NotFound", "Transit Gateway Route Table " + id + " was deleted or does not exist."}
}

func attachment(g *topology.TransitGateway, id string) *topology.TransitGatewayAttachment {
	for i := range g.Attachments {
		if g.Attachments[i].TransitGatewayAttachmentID == id {
			return &g.Attachments[i]
		}
	}
	return nil
}

func (v *view) propagations(id string) (*list, *apiError) {
	g, t, err := v.table(id)
	if err != nil {
		return nil, err
	}
	l := &list{set: "transitGatewayRouteTablePropagations"}
	for _, p := range t.Propagations {
		if a := attachment(g, p); a != nil {
			l.items = append(l.items, []node{tx("transitGatewayAttachmentId", p), tx("resourceId", a.ResourceID), tx("resourceType", typeOf(a)), tx("state", "enabled")})
		}
	}
	return l, nil
}

// search gives the routes that are in force for each destination: what is declared, and
// what the VPCs propagate.
func (v *view) search(id string, filters map[string][]string) (*list, *apiError) {
	g, t, err := v.table(id)
	if err != nil {
		return nil, err
	}
	if len(filters["state"]) == 0 {
		return nil, &apiError{"MissingParameter", "The request must contain the parameter Filters"}
	}
	routes := slices.Clone(t.Routes)
	for _, p := range t.Propagations {
		a := attachment(g, p)
		if a == nil || a.ResourceType != topology.AttachmentVPC {
			continue
		}
		if w := v.vpc(a.ResourceID); w != nil {
			for _, c := range w.CIDRBlocks {
				routes = append(routes, topology.TransitGatewayRoute{DestinationCIDRBlock: c, TransitGatewayAttachmentID: p, Type: topology.RoutePropagated})
			}
		}
	}
	var expanded []topology.TransitGatewayRoute
	for _, r := range routes {
		if r.PrefixListID == "" {
			expanded = append(expanded, r)
			continue
		}
		for _, l := range v.PrefixLists { // EC2 gives each entry of the list
			if l.PrefixListID == r.PrefixListID {
				for _, c := range l.CIDRs {
					r.DestinationCIDRBlock = c
					expanded = append(expanded, r)
				}
			}
		}
	}
	slices.SortStableFunc(expanded, func(a, b topology.TransitGatewayRoute) int {
		return cmp.Or(a.DestinationCIDRBlock.Addr().Compare(b.DestinationCIDRBlock.Addr()), cmp.Compare(a.DestinationCIDRBlock.Bits(), b.DestinationCIDRBlock.Bits()))
	})
	l := &list{set: "routeSet"}
	for _, r := range expanded {
		state, _ := r.State.MarshalText()
		kind, _ := r.Type.MarshalText()
		if !slices.Contains(filters["state"], string(state)) || !within(r.DestinationCIDRBlock, filters) {
			continue
		}
		attachments := el("transitGatewayAttachments")
		if a := attachment(g, r.TransitGatewayAttachmentID); a != nil {
			attachments.kids = append(attachments.kids, el("item", tx("resourceId", a.ResourceID), tx("transitGatewayAttachmentId", a.TransitGatewayAttachmentID), tx("resourceType", typeOf(a))))
		}
		l.items = append(l.items, []node{tx("destinationCidrBlock", r.DestinationCIDRBlock), tx("prefixListId", r.PrefixListID), attachments, tx("type", string(kind)), tx("state", string(state))})
	}
	more := len(l.items) > v.searchLimit
	l.items = l.items[:min(len(l.items), v.searchLimit)]
	l.more = []node{tx("additionalRoutesAvailable", more)}
	return l, nil
}

func within(p netip.Prefix, filters map[string][]string) bool {
	for name, values := range filters {
		q, err := netip.ParsePrefix(values[0])
		switch {
		case name == "state":
		case err != nil:
			return false
		case name == "route-search.exact-match" && p != q:
			return false
		case name == "route-search.subnet-of-match" && (!q.Contains(p.Addr()) || p.Bits() < q.Bits()):
			return false
		}
	}
	return true
}
