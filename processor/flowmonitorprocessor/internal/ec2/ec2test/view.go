// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2test

import (
	"net/url"
	"slices"
	"strings"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// view is what one account sees of the world in one Region.
type view struct {
	*topology.Topology
	account, region string
	searchLimit     int
}

func (v *view) vpc(id string) *topology.VPC {
	for i := range v.VPCs {
		if v.VPCs[i].VPCID == id {
			return &v.VPCs[i]
		}
	}
	return nil
}

func (v *view) subnet(id string) *topology.Subnet {
	for i := range v.Subnets {
		if v.Subnets[i].SubnetID == id {
			return &v.Subnets[i]
		}
	}
	return nil
}

// owns tells whether the account has a VPC, in this Region.
func (v *view) owns(vpc string) bool {
	w := v.vpc(vpc)
	return w != nil && w.Region == v.region && w.OwnerID == v.account
}

// seesSubnet: its own, and those that are shared with it.
func (v *view) seesSubnet(s *topology.Subnet) bool {
	w := v.vpc(s.VPCID)
	return w != nil && w.Region == v.region && (s.OwnerID == v.account || slices.Contains(s.SharedWith, v.account))
}

// seesVPC: its own, and those of which a subnet is shared with it.
func (v *view) seesVPC(id string) bool {
	return v.owns(id) || slices.ContainsFunc(v.Subnets, func(s topology.Subnet) bool { return s.VPCID == id && v.seesSubnet(&s) })
}

// zoneName is what the account calls a zone.
func (v *view) zoneName(id string) string {
	for _, z := range v.AvailabilityZones {
		if z.ZoneID == id && (z.AccountID == v.account || z.AccountID == "") {
			return z.ZoneName
		}
	}
	return ""
}

// home tells the account and Region in which things are that belong to no VPC.
func (v *view) home() bool { return len(v.Accounts) > 0 && v.Accounts[0].AccountID == v.account }

// answer gives what an action lists.
func (v *view) answer(action string, form url.Values, filters map[string][]string) (*list, *apiError) {
	allowed := map[string][]string{
		"DescribeNetworkInterfaces":  {"vpc-id", "addresses.private-ip-address", "ipv6-addresses.ipv6-address", "attachment.instance-id"},
		"SearchTransitGatewayRoutes": {"state", "route-search.subnet-of-match", "route-search.exact-match"},
	}
	for name := range filters {
		if !slices.Contains(allowed[action], name) {
			return nil, &apiError{"InvalidParameterValue", "The filter '" + name + "' is invalid"}
		}
	}
	lists := map[string]func() *list{
		"DescribeAvailabilityZones":                v.zones,
		"DescribeVpcs":                             v.vpcs,
		"DescribeSubnets":                          v.subnets,
		"DescribeNetworkInterfaces":                func() *list { return v.interfaces(filters) },
		"DescribeRouteTables":                      v.routeTables,
		"DescribeVpcPeeringConnections":            v.peerings,
		"DescribeNatGateways":                      v.natGateways,
		"DescribeInternetGateways":                 v.internetGateways,
		"DescribeEgressOnlyInternetGateways":       v.egressOnly,
		"DescribeVpnGateways":                      v.vpnGateways,
		"DescribeVpnConnections":                   v.vpnConnections,
		"DescribeLocalGateways":                    v.localGateways,
		"DescribeVpcEndpoints":                     v.endpoints,
		"DescribeManagedPrefixLists":               v.prefixLists,
		"DescribeTransitGateways":                  v.transitGateways,
		"DescribeTransitGatewayAttachments":        v.attachments,
		"DescribeTransitGatewayVpcAttachments":     v.vpcAttachments,
		"DescribeTransitGatewayPeeringAttachments": v.peeringAttachments,
		"DescribeTransitGatewayRouteTables":        v.transitTables,
	}
	if f, ok := lists[action]; ok {
		return f(), nil
	}
	switch action {
	case "GetManagedPrefixListEntries":
		return v.entries(form.Get("PrefixListId"))
	case "GetTransitGatewayRouteTablePropagations":
		return v.propagations(form.Get("TransitGatewayRouteTableId"))
	case "SearchTransitGatewayRoutes":
		return v.search(form.Get("TransitGatewayRouteTableId"), filters)
	}
	return nil, &apiError{"InvalidAction", "The action " + action + " is not valid for this web service."}
}

func (v *view) zones() *list {
	l := &list{set: "availabilityZoneInfo"}
	for _, z := range v.AvailabilityZones {
		if z.RegionName != v.region || z.AccountID != "" && z.AccountID != v.account {
			continue
		}
		kind, _ := z.ZoneType.MarshalText()
		if len(kind) == 0 {
			kind = []byte("availability-zone")
		}
		group := z.NetworkBorderGroup
		if group == "" {
			group = z.RegionName
		}
		l.items = append(l.items, []node{tx("optInStatus", "opt-in-not-required"), el("messageSet"), tx("regionName", z.RegionName), tx("zoneName", z.ZoneName),
			tx("zoneId", z.ZoneID), tx("groupName", group), tx("networkBorderGroup", z.NetworkBorderGroup), tx("zoneType", string(kind)),
			tx("parentZoneId", z.ParentZoneID), tx("zoneState", "available")})
	}
	return l
}

func (v *view) vpcs() *list {
	l := &list{set: "vpcSet"}
	for _, w := range v.VPCs {
		if !v.seesVPC(w.VPCID) {
			continue
		}
		four, six := el("cidrBlockAssociationSet"), el("ipv6CidrBlockAssociationSet")
		primary := ""
		for _, c := range w.CIDRBlocks {
			if c.Addr().Is4() {
				if primary == "" {
					primary = c.String()
				}
				four.kids = append(four.kids, el("item", tx("associationId", "vpc-cidr-assoc-1"), tx("cidrBlock", c), el("cidrBlockState", tx("state", "associated"))))
			} else {
				six.kids = append(six.kids, el("item", tx("associationId", "vpc-cidr-assoc-2"), tx("ipv6CidrBlock", c), tx("ipv6Pool", "Amazon"),
					tx("networkBorderGroup", w.Region), el("ipv6CidrBlockState", tx("state", "associated"))))
			}
		}
		// One that is on its way out is not the VPC's any more.
		four.kids = append(four.kids, el("item", tx("associationId", "vpc-cidr-assoc-3"), tx("cidrBlock", "192.0.2.0/24"), el("cidrBlockState", tx("state", "disassociated"))))
		if primary == "" {
			primary = "198.18.0.0/24" // a VPC without IPv4 is not to be had
		}
		l.items = append(l.items, []node{tx("vpcId", w.VPCID), tx("ownerId", w.OwnerID), tx("state", "available"), tx("cidrBlock", primary), four, six,
			tx("dhcpOptionsId", "dopt-1"), tx("instanceTenancy", "default"), tx("isDefault", "false"), tags("Name", w.Name)})
	}
	return l
}

func tags(pairs ...string) node {
	n := el("tagSet")
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			n.kids = append(n.kids, el("item", tx("key", pairs[i]), tx("value", pairs[i+1])))
		}
	}
	return n
}

func (v *view) subnets() *list {
	l := &list{set: "subnetSet"}
	for i := range v.Subnets {
		s := &v.Subnets[i]
		if !v.seesSubnet(s) {
			continue
		}
		item := []node{tx("subnetId", s.SubnetID), tx("subnetArn", "arn:aws:ec2:"+v.region+":"+s.OwnerID+":subnet/"+s.SubnetID), tx("state", "available"),
			tx("ownerId", s.OwnerID), tx("vpcId", s.VPCID), tx("availableIpAddressCount", 251), tx("availabilityZone", v.zoneName(s.AvailabilityZoneID)),
			tx("availabilityZoneId", s.AvailabilityZoneID), tx("defaultForAz", "false"), tx("mapPublicIpOnLaunch", "false"), tags("Name", s.Name)}
		six := el("ipv6CidrBlockAssociationSet")
		for _, c := range s.CIDRBlocks {
			if c.Addr().Is4() {
				item = append(item, tx("cidrBlock", c))
			} else {
				six.kids = append(six.kids, el("item", tx("ipv6CidrBlock", c), tx("associationId", "subnet-cidr-assoc-1"), el("ipv6CidrBlockState", tx("state", "associated"))))
			}
		}
		l.items = append(l.items, append(item, six))
	}
	return l
}

func (v *view) interfaces(filters map[string][]string) *list {
	l := &list{set: "networkInterfaceSet"}
	for i := range v.NetworkInterfaces {
		n := &v.NetworkInterfaces[i]
		s := v.subnet(n.SubnetID)
		if s == nil {
			continue
		}
		w := v.vpc(s.VPCID)
		// A VPC's owner sees the interfaces of those it shares a subnet with; they see their own.
		if w == nil || w.Region != v.region || n.OwnerID != v.account && w.OwnerID != v.account || !matches(n, s.VPCID, filters) {
			continue
		}
		l.items = append(l.items, v.networkInterface(n, s))
	}
	return l
}

func matches(n *topology.NetworkInterface, vpc string, filters map[string][]string) bool {
	for name, values := range filters {
		var has []string
		switch name {
		case "vpc-id":
			has = []string{vpc}
		case "attachment.instance-id":
			has = []string{n.InstanceID}
		case "addresses.private-ip-address":
			for _, a := range n.PrivateIPAddresses {
				has = append(has, a.String())
			}
		case "ipv6-addresses.ipv6-address":
			for _, a := range n.IPv6Addresses {
				has = append(has, a.String())
			}
		}
		if !slices.ContainsFunc(has, func(h string) bool { return slices.Contains(values, h) }) {
			return false
		}
	}
	return true
}

func (v *view) networkInterface(n *topology.NetworkInterface, s *topology.Subnet) []node {
	managed := n.RequesterManaged != nil && *n.RequesterManaged
	item := []node{tx("networkInterfaceId", n.NetworkInterfaceID), tx("subnetId", n.SubnetID), tx("vpcId", s.VPCID), tx("availabilityZone", v.zoneName(s.AvailabilityZoneID)),
		tx("availabilityZoneId", s.AvailabilityZoneID), tx("description", n.Description), tx("ownerId", n.OwnerID), tx("requesterManaged", managed), tx("status", "in-use"),
		tx("macAddress", "02:81:60:cb:27:37"), tx("sourceDestCheck", "true"), set("groupSet", []node{tx("groupId", "sg-1"), tx("groupName", "default")}),
		tx("interfaceType", n.InterfaceType)}
	if managed {
		item = append(item, tx("requesterId", "amazon-aws"))
	}
	attachment := el("attachment", tx("attachmentId", "eni-attach-1"), tx("instanceId", n.InstanceID), tx("instanceOwnerId", n.OwnerID), tx("deviceIndex", 0), tx("status", "attached"),
		tx("attachTime", "2026-01-01T00:00:00.000Z"), tx("deleteOnTermination", "true"))
	privates := el("privateIpAddressesSet")
	for i, a := range n.PrivateIPAddresses {
		kids := []node{tx("privateIpAddress", a), tx("privateDnsName", "ip-1.internal"), tx("primary", i == 0)}
		for _, p := range n.Associations {
			if p.PrivateIPAddress != a {
				continue
			}
			association := el("association", tx("publicIp", p.PublicIP), tx("publicDnsName", "ec2-1.amazonaws.com"), tx("ipOwnerId", n.OwnerID))
			kids = append(kids, association)
			if i == 0 {
				item = append(item, association)
			}
		}
		privates.kids = append(privates.kids, el("item", kids...))
		if i == 0 {
			item = append(item, tx("privateIpAddress", a))
		}
	}
	six, prefix4, prefix6 := el("ipv6AddressesSet"), el("ipv4PrefixSet"), el("ipv6PrefixSet")
	for _, a := range n.IPv6Addresses {
		six.kids = append(six.kids, el("item", tx("ipv6Address", a), tx("isPrimaryIpv6", "false")))
	}
	for _, p := range n.IPv4Prefixes {
		prefix4.kids = append(prefix4.kids, el("item", tx("ipv4Prefix", p)))
	}
	for _, p := range n.IPv6Prefixes {
		prefix6.kids = append(prefix6.kids, el("item", tx("ipv6Prefix", p)))
	}
	cluster := ""
	for _, i := range v.Instances {
		if i.InstanceID == n.InstanceID && n.InstanceID != "" && i.K8S != nil {
			cluster = i.K8S.ClusterName
		}
	}
	return append(item, attachment, privates, six, prefix4, prefix6, tags("cluster.k8s.amazonaws.com/name", cluster))
}

func (v *view) endpoints() *list {
	l := &list{set: "vpcEndpointSet"}
	for _, e := range v.VPCEndpoints {
		if w := v.vpc(e.VPCID); w == nil || w.Region != v.region || e.OwnerID != v.account {
			continue
		}
		kind, _ := e.VPCEndpointType.MarshalText()
		l.items = append(l.items, []node{tx("vpcEndpointId", e.VPCEndpointID), tx("vpcEndpointType", string(kind)), tx("vpcId", e.VPCID), tx("serviceName", e.ServiceName),
			tx("state", "available"), tx("policyDocument", `{"Version":"2012-10-17"}`), texts("routeTableIdSet", e.RouteTableIDs), texts("subnetIdSet", e.SubnetIDs),
			texts("networkInterfaceIdSet", e.NetworkInterfaceIDs), tx("privateDnsEnabled", "true"), tx("requesterManaged", "false"),
			tx("creationTimestamp", "2026-01-01T00:00:00.000Z"), tx("ownerId", e.OwnerID)})
	}
	// The API tells of those that are gone, too.
	return &list{set: l.set, items: append(l.items, []node{tx("vpcEndpointId", "vpce-deleted"), tx("vpcEndpointType", "Interface"), tx("vpcId", "vpc-1"),
		tx("serviceName", "com.amazonaws.eu-west-1.sqs"), tx("state", "deleted"), tx("ownerId", v.account)})}
}

// regional tells the lists of services of other Regions.
func (v *view) sees(l *topology.PrefixList) bool {
	return !strings.HasPrefix(l.PrefixListName, "com.amazonaws.") || strings.Contains(l.PrefixListName, "."+v.region+".") || strings.Contains(l.PrefixListName, ".global.")
}

func (v *view) prefixLists() *list {
	l := &list{set: "prefixListSet"}
	for i := range v.PrefixLists {
		p := &v.PrefixLists[i]
		if !v.sees(p) {
			continue
		}
		owner := v.account
		if strings.HasPrefix(p.PrefixListName, "com.amazonaws.") {
			owner = "AWS"
		}
		l.items = append(l.items, []node{tx("prefixListId", p.PrefixListID), tx("addressFamily", "IPv4"), tx("state", "create-complete"),
			tx("prefixListArn", "arn:aws:ec2:"+v.region+":aws:prefix-list/"+p.PrefixListID), tx("prefixListName", p.PrefixListName), tx("ownerId", owner)})
	}
	return l
}

func (v *view) entries(id string) (*list, *apiError) {
	for i := range v.PrefixLists {
		p := &v.PrefixLists[i]
		if p.PrefixListID != id || !v.sees(p) {
			continue
		}
		l := &list{set: "entrySet"}
		for _, c := range p.CIDRs {
			l.items = append(l.items, []node{tx("cidr", c), tx("description", "")})
		}
		return l, nil
	}
	return nil, &apiError{"InvalidPrefixListID.NotFound", "The prefix list '" + id + "' does not exist"}
}
