// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2test

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

func (v *view) routeTables() *list {
	l := &list{set: "routeTableSet"}
	for i := range v.RouteTables {
		t := &v.RouteTables[i]
		w := v.vpc(t.VPCID)
		if w == nil || !v.owns(t.VPCID) && !v.seesTable(t) {
			continue
		}
		routes := el("routeSet")
		for _, c := range w.CIDRBlocks {
			routes.kids = append(routes.kids, el("item", destination(c), tx("gatewayId", "local"), tx("state", "active"), tx("origin", "CreateRouteTable")))
		}
		for j := range t.Routes {
			routes.kids = append(routes.kids, el("item", route(&t.Routes[j])...))
		}
		associations := el("associationSet")
		if t.Main {
			associations.kids = append(associations.kids, el("item", tx("routeTableAssociationId", "rtbassoc-1"), tx("routeTableId", t.RouteTableID), tx("main", "true"),
				el("associationState", tx("state", "associated"))))
		}
		for _, s := range v.Subnets {
			if slices.Contains(t.SubnetIDs, s.SubnetID) || s.RouteTableID == t.RouteTableID {
				associations.kids = append(associations.kids, el("item", tx("routeTableAssociationId", "rtbassoc-2"), tx("routeTableId", t.RouteTableID), tx("subnetId", s.SubnetID),
					tx("main", "false"), el("associationState", tx("state", "associated"))))
			}
		}
		l.items = append(l.items, []node{tx("routeTableId", t.RouteTableID), tx("vpcId", t.VPCID), tx("ownerId", w.OwnerID), routes, associations, el("propagatingVgwSet"), tags()})
	}
	return l
}

// seesTable: who has a share of a subnet sees the table that is in force for it.
func (v *view) seesTable(t *topology.RouteTable) bool {
	return slices.ContainsFunc(v.Subnets, func(s topology.Subnet) bool {
		return v.seesSubnet(&s) && (slices.Contains(t.SubnetIDs, s.SubnetID) || s.RouteTableID == t.RouteTableID)
	})
}

func destination(p netip.Prefix) node {
	if p.Addr().Is6() {
		return tx("destinationIpv6CidrBlock", p)
	}
	return tx("destinationCidrBlock", p)
}

func route(r *topology.Route) []node {
	state, _ := r.State.MarshalText()
	origin := "CreateRoute"
	name := "gatewayId" // igw-, vgw-, vpce- and local
	switch kind, _, _ := strings.Cut(r.Target, "-"); kind {
	case "tgw":
		name = "transitGatewayId"
	case "pcx":
		name = "vpcPeeringConnectionId"
	case "nat":
		name = "natGatewayId"
	case "eigw":
		name = "egressOnlyInternetGatewayId"
	case "lgw":
		name = "localGatewayId"
	case "cagw":
		name = "carrierGatewayId"
	case "eni":
		name = "networkInterfaceId"
	case "vgw":
		origin = "EnableVgwRoutePropagation"
	default:
		if strings.HasPrefix(r.Target, "arn:") {
			name = "coreNetworkArn"
		}
	}
	to := tx("destinationPrefixListId", r.DestinationPrefixListID)
	for _, p := range []netip.Prefix{r.DestinationCIDRBlock, r.DestinationIPv6CIDRBlock} {
		if p.IsValid() {
			to = destination(p)
		}
	}
	return []node{to, tx(name, r.Target), tx("state", string(state)), tx("origin", origin)}
}

func (v *view) peerings() *list {
	l := &list{set: "vpcPeeringConnectionSet"}
	for _, p := range v.VPCPeeringConnections {
		a, b := p.RequesterVPCInfo, p.AccepterVPCInfo
		if (a.Region != v.region || a.OwnerID != v.account) && (b.Region != v.region || b.OwnerID != v.account) {
			continue
		}
		side := func(name string, i topology.PeeringVPCInfo) node {
			n := el(name, tx("ownerId", i.OwnerID), tx("vpcId", i.VPCID), tx("region", i.Region))
			four, six := el("cidrBlockSet"), el("ipv6CidrBlockSet")
			for j, c := range i.CIDRBlocks {
				switch {
				case c.Addr().Is6():
					six.kids = append(six.kids, el("item", tx("ipv6CidrBlock", c)))
				default:
					if j == 0 {
						n.kids = append(n.kids, tx("cidrBlock", c))
					}
					four.kids = append(four.kids, el("item", tx("cidrBlock", c)))
				}
			}
			n.kids = append(n.kids, four, six)
			return n
		}
		status := p.Status
		if status == "" {
			status = "active"
		}
		l.items = append(l.items, []node{tx("vpcPeeringConnectionId", p.VPCPeeringConnectionID), side("requesterVpcInfo", a), side("accepterVpcInfo", b),
			el("status", tx("code", status), tx("message", status)), tags()})
	}
	return l
}

func (v *view) natGateways() *list {
	l := &list{set: "natGatewaySet"}
	for _, g := range v.NATGateways {
		if !v.owns(g.VPCID) {
			continue
		}
		kind, _ := g.ConnectivityType.MarshalText()
		addresses := el("natGatewayAddressSet")
		for i, a := range g.NATGatewayAddresses {
			addresses.kids = append(addresses.kids, el("item", tx("publicIp", a.PublicIP), tx("privateIp", a.PrivateIP), tx("networkInterfaceId", a.NetworkInterfaceID),
				tx("allocationId", "eipalloc-1"), tx("isPrimary", i == 0), tx("status", "succeeded")))
		}
		l.items = append(l.items, []node{tx("natGatewayId", g.NATGatewayID), tx("subnetId", g.SubnetID), tx("vpcId", g.VPCID), tx("state", "available"),
			tx("createTime", "2026-01-01T00:00:00.000Z"), tx("connectivityType", string(kind)), addresses, tags()})
	}
	l.items = append(l.items, []node{tx("natGatewayId", "nat-deleted"), tx("subnetId", "subnet-1"), tx("vpcId", "vpc-1"), tx("state", "deleted")})
	return l
}

func (v *view) internetGateways() *list {
	l := &list{set: "internetGatewaySet"}
	for _, g := range v.InternetGateways {
		attachments := el("attachmentSet")
		if g.VPCID != "" {
			attachments.kids = append(attachments.kids, el("item", tx("vpcId", g.VPCID), tx("state", "available")))
		}
		if v.owns(g.VPCID) || g.VPCID == "" && v.home() {
			l.items = append(l.items, []node{tx("internetGatewayId", g.InternetGatewayID), tx("ownerId", v.account), attachments, tags()})
		}
	}
	return l
}

func (v *view) egressOnly() *list {
	l := &list{set: "egressOnlyInternetGatewaySet"}
	for _, g := range v.EgressOnlyInternetGateways {
		if v.owns(g.VPCID) || g.VPCID == "" && v.home() {
			l.items = append(l.items, []node{tx("egressOnlyInternetGatewayId", g.EgressOnlyInternetGatewayID),
				set("attachmentSet", []node{tx("state", "attached"), tx("vpcId", g.VPCID)})})
		}
	}
	return l
}

func (v *view) vpnGateways() *list {
	l := &list{set: "vpnGatewaySet"}
	for _, g := range v.VPNGateways {
		if v.owns(g.VPCID) || g.VPCID == "" && v.home() {
			l.items = append(l.items, []node{tx("vpnGatewayId", g.VPNGatewayID), tx("state", "available"), tx("type", "ipsec.1"), tx("amazonSideAsn", 64512),
				set("attachments", []node{tx("vpcId", g.VPCID), tx("state", "attached")})})
		}
	}
	return l
}

func (v *view) vpnConnections() *list {
	l := &list{set: "vpnConnectionSet"}
	for _, c := range v.VPNConnections {
		if v.home() {
			l.items = append(l.items, []node{tx("vpnConnectionId", c.VPNConnectionID), tx("state", c.State), tx("customerGatewayId", c.CustomerGatewayID), tx("type", "ipsec.1"),
				tx("vpnGatewayId", c.VPNGatewayID), tx("transitGatewayId", c.TransitGatewayID), tx("category", "VPN")})
		}
	}
	return l
}

func (v *view) localGateways() *list {
	l := &list{set: "localGatewaySet"}
	for _, g := range v.LocalGateways {
		if v.home() {
			l.items = append(l.items, []node{tx("localGatewayId", g.LocalGatewayID), tx("outpostArn", "arn:aws:outposts:"+v.region+":"+v.account+":outpost/op-1"),
				tx("ownerId", v.account), tx("state", "available")})
		}
	}
	return l
}
