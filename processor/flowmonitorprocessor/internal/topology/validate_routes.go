// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"fmt"
	"net/netip"
	"strings"
)

func (c *checker) prefixLists() {
	c.list = index(c, "prefix_lists", "prefix_list_id", c.t.PrefixLists, "pl-",
		func(l *PrefixList) string { return l.PrefixListID }, self[PrefixList])
	for i := range c.t.PrefixLists {
		l, path := &c.t.PrefixLists[i], at("prefix_lists", i)
		if len(l.CIDRs) == 0 {
			if _, _, ok := parseServiceName(l.PrefixListName); !ok {
				c.fail(path+".cidrs", "is required, except for the list of an AWS service (prefix_list_name: com.amazonaws.<region>.<service>)")
			}
		}
		for j, p := range l.CIDRs {
			c.prefix(path+"."+at("cidrs", j), p, 0)
		}
	}
}

func (c *checker) peerings() {
	c.peering = index(c, "vpc_peering_connections", "vpc_peering_connection_id", c.t.VPCPeeringConnections, "pcx-",
		func(p *VPCPeeringConnection) string { return p.VPCPeeringConnectionID }, self[VPCPeeringConnection])
	for i := range c.t.VPCPeeringConnections {
		p, path := &c.t.VPCPeeringConnections[i], at("vpc_peering_connections", i)
		c.peerInfo(path+".requester_vpc_info", &p.RequesterVPCInfo)
		c.peerInfo(path+".accepter_vpc_info", &p.AccepterVPCInfo)
		if id := p.RequesterVPCInfo.VPCID; id != "" && id == p.AccepterVPCInfo.VPCID {
			c.fail(path+".accepter_vpc_info.vpc_id", "%q is the requester too", id)
			continue
		}
		a, b := c.vpc[p.RequesterVPCInfo.VPCID], c.vpc[p.AccepterVPCInfo.VPCID]
		if a == nil || b == nil || !p.active() {
			continue
		}
		for _, x := range a.CIDRBlocks {
			for _, y := range b.CIDRBlocks {
				if x.Overlaps(y) {
					c.fail(path, "VPCs with overlapping CIDRs cannot be peered: %s of %q and %s of %q", x, a.VPCID, y, b.VPCID)
				}
			}
		}
	}
}

func (p *VPCPeeringConnection) active() bool { return p.Status == "" || p.Status == "active" }

func (c *checker) peerInfo(path string, info *PeeringVPCInfo) {
	for j, b := range info.CIDRBlocks {
		c.prefix(path+"."+at("cidr_blocks", j), b, 0)
	}
	if v := c.vpc[info.VPCID]; v != nil && differ(info.Region, v.Region) {
		c.fail(path+".region", "VPC %q is in region %q, not %q", v.VPCID, v.Region, info.Region)
	}
}

func (c *checker) routeTables() {
	t := c.t
	c.table = index(c, "route_tables", "route_table_id", t.RouteTables, "rtb-",
		func(r *RouteTable) string { return r.RouteTableID }, self[RouteTable])
	mains, associated := map[string]string{}, map[string]string{}
	for i := range t.RouteTables {
		rt, path := &t.RouteTables[i], at("route_tables", i)
		c.inVPC(path+".vpc_id", rt.VPCID)
		if rt.Main {
			if other := mains[rt.VPCID]; other != "" {
				c.fail(path+".main", "route table %q is already the main one of VPC %q", other, rt.VPCID)
			}
			mains[rt.VPCID] = rt.RouteTableID
		}
		c.subnetIDs(path+".subnet_ids", rt.SubnetIDs, rt.VPCID)
		for j, id := range rt.SubnetIDs {
			if other := associated[id]; other != "" {
				c.fail(fmt.Sprintf("%s.subnet_ids[%d]", path, j), "subnet %q is already associated with route table %q", id, other)
			}
			associated[id] = rt.RouteTableID
		}
		c.routes(path, rt)
	}
	for i := range t.Subnets {
		s, path := &t.Subnets[i], at("subnets", i)+".route_table_id"
		if s.RouteTableID == "" {
			continue
		}
		if rt := c.table[s.RouteTableID]; rt == nil {
			c.fail(path, "route table %q is not defined in 'route_tables'", s.RouteTableID)
		} else if rt.VPCID != s.VPCID {
			c.fail(path, "route table %q belongs to VPC %q, not %q", s.RouteTableID, rt.VPCID, s.VPCID)
		} else if other := associated[s.SubnetID]; other != "" && other != s.RouteTableID {
			c.fail(path, "route table %q names this subnet too", other)
		}
	}
}

func (c *checker) routes(path string, rt *RouteTable) {
	type key struct {
		destination string
		propagated  bool // a static and a propagated route may have one destination
	}
	seen := map[key]bool{}
	for j := range rt.Routes {
		r, p := &rt.Routes[j], path+"."+at("routes", j)
		destination, n := "", 0
		if d := r.DestinationCIDRBlock; d != (netip.Prefix{}) {
			c.prefix(p+".destination_cidr_block", d, 0)
			destination, n = d.String(), n+1
		}
		if d := r.DestinationIPv6CIDRBlock; d != (netip.Prefix{}) {
			c.prefix(p+".destination_ipv6_cidr_block", d, 6)
			destination, n = d.String(), n+1
		}
		if d := r.DestinationPrefixListID; d != "" {
			destination, n = d, n+1
			if c.list[d] == nil {
				c.fail(p+".destination_prefix_list_id", "prefix list %q is not defined in 'prefix_lists'", d)
			}
		}
		k := key{destination, r.maybePropagated()}
		if n != 1 {
			c.fail(p, "one of 'destination_cidr_block', 'destination_ipv6_cidr_block' and 'destination_prefix_list_id' is required, not %d of them", n)
		} else if seen[k] {
			c.fail(p, "the destination %s has a route in this table already", destination)
		}
		seen[k] = true
		c.target(p+".target", r, rt.VPCID)
	}
}

func (c *checker) target(path string, r *Route, vpc string) {
	id := r.Target
	notDefined := func(section string) {
		c.fail(path, "%q is not defined in '%s'", id, section)
	}
	ofVPC := func(section string, of map[string]string) {
		if v, ok := of[id]; !ok {
			notDefined(section)
		} else if v != "" && v != vpc {
			c.fail(path, "%q belongs to VPC %q, not %q", id, v, vpc)
		}
	}
	kind, _, _ := strings.Cut(id, "-")
	switch kind {
	case "":
		if r.State != RouteBlackhole {
			c.fail(path, "is required: local or the id of a gateway, endpoint or network interface")
		}
	case "local", "tgw", "cagw", "core": // a transit gateway may be shared by others
	case "igw":
		ofVPC("internet_gateways", c.igw)
	case "eigw":
		ofVPC("egress_only_internet_gateways", c.eigw)
	case "vgw":
		ofVPC("vpn_gateways", c.vgw)
	case "lgw":
		ofVPC("local_gateways", c.lgw)
	case "nat":
		ofVPC("nat_gateways", c.nat)
	case "pcx":
		if p := c.peering[id]; p == nil {
			notDefined("vpc_peering_connections")
		} else if vpc != p.RequesterVPCInfo.VPCID && vpc != p.AccepterVPCInfo.VPCID {
			c.fail(path, "VPC %q is neither side of peering %q", vpc, id)
		}
	case "vpce":
		if e := c.endpoint[id]; e == nil {
			notDefined("vpc_endpoints")
		} else if e.VPCID != vpc {
			c.fail(path, "%q belongs to VPC %q, not %q", id, e.VPCID, vpc)
		} else if e.VPCEndpointType == EndpointInterface {
			c.fail(path, "an interface endpoint is no route target")
		}
	case "eni":
		if n := c.eni[id]; n == nil {
			notDefined("network_interfaces")
		} else if s := c.subnet[n.SubnetID]; s != nil && s.VPCID != vpc {
			c.fail(path, "%q belongs to VPC %q, not %q", id, s.VPCID, vpc)
		}
	default:
		if isCoreNetwork(id) {
			return
		}
		c.fail(path, "%q is none of local, tgw-, pcx-, nat-, igw-, eigw-, vpce-, vgw-, lgw-, eni-, cagw- and a core network", id)
	}
}

func (c *checker) transitGateways() {
	t := c.t
	index(c, "transit_gateways", "transit_gateway_id", t.TransitGateways, "tgw-",
		func(g *TransitGateway) string { return g.TransitGatewayID }, self[TransitGateway])
	elsewhere := map[string]AttachmentType{}
	for i := range t.TransitGateways {
		g, path := &t.TransitGateways[i], at("transit_gateways", i)
		c.region(path+".region", g.Region)
		attachments := index(c, path+".attachments", "transit_gateway_attachment_id", g.Attachments, "tgw-attach-",
			func(a *TransitGatewayAttachment) string { return a.TransitGatewayAttachmentID }, self[TransitGatewayAttachment])
		vpcs := map[string]bool{}
		for j := range g.Attachments {
			c.attachment(path+"."+at("attachments", j), g, &g.Attachments[j], vpcs, elsewhere)
		}
		for _, a := range g.Attachments {
			elsewhere[a.TransitGatewayAttachmentID] = a.ResourceType
		}
		index(c, path+".route_tables", "transit_gateway_route_table_id", g.RouteTables, "tgw-rtb-",
			func(r *TransitGatewayRouteTable) string { return r.TransitGatewayRouteTableID }, self[TransitGatewayRouteTable])
		associated := map[string]string{}
		for j := range g.RouteTables {
			c.transitTable(path+"."+at("route_tables", j), &g.RouteTables[j], attachments, associated)
		}
	}
}

func (c *checker) attachment(path string, g *TransitGateway, a *TransitGatewayAttachment, vpcs map[string]bool, elsewhere map[string]AttachmentType) {
	if other, ok := elsewhere[a.TransitGatewayAttachmentID]; ok && (other != AttachmentPeering || a.ResourceType != AttachmentPeering) {
		c.fail(path+".transit_gateway_attachment_id", "%q is defined at another transit gateway; only a peering is at two", a.TransitGatewayAttachmentID)
	}
	switch a.ResourceType {
	case AttachmentVPC:
		if a.ResourceID == "" {
			c.fail(path+".resource_id", "is required: the id of the VPC")
			return
		}
		if vpcs[a.ResourceID] {
			c.fail(path+".resource_id", "VPC %q is attached to this transit gateway already", a.ResourceID)
		}
		vpcs[a.ResourceID] = true
		v := c.vpc[a.ResourceID]
		if v == nil {
			return // a VPC of others
		}
		c.subnetIDs(path+".subnet_ids", a.SubnetIDs, a.ResourceID)
		if differ(v.Region, g.Region) {
			c.fail(path+".resource_id", "VPC %q is in region %q, the transit gateway in %q", v.VPCID, v.Region, g.Region)
		}
	case AttachmentPeering:
		if a.ResourceID == "" {
			c.fail(path+".resource_id", "is required: the id of the peer transit gateway")
		} else if a.ResourceID == g.TransitGatewayID {
			c.fail(path+".resource_id", "%q is this transit gateway itself", a.ResourceID)
		}
	}
}

func (c *checker) transitTable(path string, rt *TransitGatewayRouteTable, attachments map[string]*TransitGatewayAttachment, associated map[string]string) {
	known := func(p, id string) {
		if attachments[id] == nil {
			c.fail(p, "attachment %q is not defined in this transit gateway's 'attachments'", id)
		}
	}
	for j, id := range rt.Associations {
		p := fmt.Sprintf("%s.associations[%d]", path, j)
		known(p, id)
		if other := associated[id]; other != "" {
			c.fail(p, "attachment %q is already associated with route table %q", id, other)
		}
		associated[id] = rt.TransitGatewayRouteTableID
	}
	for j, id := range rt.Propagations {
		p := fmt.Sprintf("%s.propagations[%d]", path, j)
		known(p, id)
		if a := attachments[id]; a != nil && a.ResourceType == AttachmentPeering {
			c.fail(p, "a peering does not propagate routes")
		}
	}
	type key struct {
		destination string
		kind        RouteType
	}
	seen := map[key]bool{}
	for j := range rt.Routes {
		r, p := &rt.Routes[j], path+"."+at("routes", j)
		destination := r.PrefixListID
		if d := r.DestinationCIDRBlock; d != (netip.Prefix{}) {
			c.prefix(p+".destination_cidr_block", d, 0)
			if destination != "" {
				c.fail(p, "has both 'destination_cidr_block' and 'prefix_list_id'")
			}
			destination = d.String()
		}
		switch {
		case destination == "":
			c.fail(p, "'destination_cidr_block' or 'prefix_list_id' is required")
		case r.PrefixListID != "" && c.list[r.PrefixListID] == nil:
			c.fail(p+".prefix_list_id", "prefix list %q is not defined in 'prefix_lists'", r.PrefixListID)
		}
		if r.TransitGatewayAttachmentID != "" {
			known(p+".transit_gateway_attachment_id", r.TransitGatewayAttachmentID)
		} else if r.State != RouteBlackhole {
			c.fail(p+".transit_gateway_attachment_id", "is required")
		}
		a := attachments[r.TransitGatewayAttachmentID]
		multipath := a != nil && a.ResourceType >= AttachmentVPN // equal-cost routes to the outside are allowed
		k := key{destination, r.Type}
		if destination != "" && seen[k] && !multipath {
			c.fail(p, "the destination %s has a route of this type in this table already", destination)
		}
		seen[k] = true
	}
}
