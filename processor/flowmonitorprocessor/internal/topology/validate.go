// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"fmt"
	"strings"
)

// Problem is one thing that cannot be true of a [Topology].
type Problem struct {
	Path string // of the field, such as subnets[2].cidr_blocks[0]
	Msg  string
}

// Validate gives all that cannot be true of a described topology: things named twice,
// references inside the description that lead nowhere, CIDRs that overlap where they
// cannot. What belongs to others may stay undescribed: the other side of a peering, the
// VPCs and the peers of a transit gateway, a transit gateway that is shared, the owner
// of an interface.
func (t *Topology) Validate() []Problem {
	c := &checker{t: t}
	c.zonesAndOwners()
	c.vpcs()
	c.subnets()
	c.interfaces()
	c.gateways()
	c.endpoints()
	c.prefixLists()
	c.peerings()
	c.transitGateways()
	c.routeTables()
	return c.problems
}

type checker struct {
	t        *Topology
	problems []Problem

	regions  map[string]bool
	accounts map[string]bool
	zones    map[string]*AvailabilityZone // by id
	vpc      map[string]*VPC
	subnet   map[string]*Subnet
	eni      map[string]*NetworkInterface
	table    map[string]*RouteTable
	nat      map[string]string // gateway id → VPC id, for every kind that belongs to one
	igw      map[string]string
	eigw     map[string]string
	vgw      map[string]string
	lgw      map[string]string
	endpoint map[string]*VPCEndpoint
	peering  map[string]*VPCPeeringConnection
	list     map[string]*PrefixList
}

func (c *checker) fail(path, format string, args ...any) {
	c.problems = append(c.problems, Problem{Path: path, Msg: fmt.Sprintf(format, args...)})
}

// index collects what a section defines by id and reports a second one of the same.
func index[E, V any](c *checker, section, field string, list []E, prefix string, id func(*E) string, value func(*E) V) map[string]V {
	m := make(map[string]V, len(list))
	first := make(map[string]int, len(list))
	for i := range list {
		path := at(section, i) + "." + field
		key := id(&list[i])
		if key == "" {
			continue // the decoder said that it is required
		}
		if !strings.HasPrefix(key, prefix) {
			c.fail(path, "%q does not begin with %q", key, prefix)
		}
		if _, twice := m[key]; twice {
			c.fail(path, "%q is defined twice, before as %s", key, at(section, first[key]))
			continue
		}
		m[key], first[key] = value(&list[i]), i
	}
	return m
}

func at(section string, i int) string { return fmt.Sprintf("%s[%d]", section, i) }

// differ compares two references that have to be the same. One that is missing or could not be
// read is an error of its own, and not of whoever is compared with it.
func differ(a, b string) bool { return a != "" && b != "" && a != b }

func self[E any](e *E) *E { return e }

func (c *checker) zonesAndOwners() {
	t := c.t
	c.accounts = index(c, "accounts", "account_id", t.Accounts, "",
		func(a *Account) string { return a.AccountID }, func(*Account) bool { return true })
	c.regions = index(c, "regions", "region_name", t.Regions, "",
		func(r *Region) string { return r.RegionName }, func(*Region) bool { return true })
	index(c, "instances", "instance_id", t.Instances, "",
		func(i *Instance) string { return i.InstanceID }, self[Instance])
	clusters := map[EKSCluster]bool{}
	for i, k := range t.EKSClusters {
		k.ARN = ""
		if clusters[k] {
			c.fail(at("eks_clusters", i)+".name", "%q is defined twice in the same region and account", k.Name)
		}
		clusters[k] = true
	}

	c.zones = make(map[string]*AvailabilityZone, len(t.AvailabilityZones))
	type alias struct{ account, key string }
	ids, zoneNames := map[alias]bool{}, map[alias]bool{}
	for i := range t.AvailabilityZones {
		z, path := &t.AvailabilityZones[i], at("availability_zones", i)
		c.region(path+".region_name", z.RegionName)
		c.zoneForm(path+".zone_name", z.ZoneName, path+".zone_id", z.ZoneID, z.RegionName)
		if first, ok := c.zones[z.ZoneID]; !ok {
			c.zones[z.ZoneID] = z
		} else if first.RegionName != z.RegionName || first.ZoneType != z.ZoneType {
			c.fail(path+".zone_id", "%q is defined before with another region_name or zone_type", z.ZoneID)
		}
		if key := (alias{z.AccountID, z.ZoneID}); ids[key] {
			c.fail(path+".zone_id", "%q is defined twice%s", z.ZoneID, forAccount(z.AccountID))
		} else {
			ids[key] = true
		}
		if z.ZoneName == "" {
			continue
		}
		if key := (alias{z.AccountID, z.ZoneName}); zoneNames[key] {
			c.fail(path+".zone_name", "%q names two zones%s", z.ZoneName, forAccount(z.AccountID))
		} else {
			zoneNames[key] = true
		}
	}
	for i := range t.AvailabilityZones {
		if p := t.AvailabilityZones[i].ParentZoneID; p != "" && c.zones[p] == nil {
			c.fail(at("availability_zones", i)+".parent_zone_id", "zone %q is not defined in 'availability_zones'", p)
		}
	}
}

func forAccount(account string) string {
	if account == "" {
		return ""
	}
	return " for account " + account
}

// region and owner refer to sections that may be left out; then nothing is checked.
func (c *checker) region(path, name string) {
	if name != "" && len(c.regions) > 0 && !c.regions[name] {
		c.fail(path, "region %q is not defined in 'regions'", name)
	}
}

func (c *checker) owner(path, id string) {
	if id != "" && len(c.accounts) > 0 && !c.accounts[id] {
		c.fail(path, "account %q is not defined in 'accounts'", id)
	}
}

func (c *checker) inVPC(path, id string) bool {
	if id == "" {
		return false
	}
	if c.vpc[id] == nil {
		c.fail(path, "VPC %q is not defined in 'vpcs'", id)
		return false
	}
	return true
}

func (c *checker) gateways() {
	t := c.t
	attached := map[string]string{}
	c.igw = index(c, "internet_gateways", "internet_gateway_id", t.InternetGateways, "igw-",
		func(g *InternetGateway) string { return g.InternetGatewayID }, func(g *InternetGateway) string { return g.VPCID })
	for i, g := range t.InternetGateways {
		path := at("internet_gateways", i) + ".vpc_id"
		if c.inVPC(path, g.VPCID) {
			if other := attached[g.VPCID]; other != "" && other != g.InternetGatewayID {
				c.fail(path, "VPC %q already has internet gateway %q", g.VPCID, other)
			}
			attached[g.VPCID] = g.InternetGatewayID
		}
	}
	c.eigw = index(c, "egress_only_internet_gateways", "egress_only_internet_gateway_id", t.EgressOnlyInternetGateways, "eigw-",
		func(g *EgressOnlyInternetGateway) string { return g.EgressOnlyInternetGatewayID },
		func(g *EgressOnlyInternetGateway) string { return g.VPCID })
	for i, g := range t.EgressOnlyInternetGateways {
		c.inVPC(at("egress_only_internet_gateways", i)+".vpc_id", g.VPCID)
	}
	c.vgw = index(c, "vpn_gateways", "vpn_gateway_id", t.VPNGateways, "vgw-",
		func(g *VPNGateway) string { return g.VPNGatewayID }, func(g *VPNGateway) string { return g.VPCID })
	for i, g := range t.VPNGateways {
		c.inVPC(at("vpn_gateways", i)+".vpc_id", g.VPCID)
	}
	index(c, "vpn_connections", "vpn_connection_id", t.VPNConnections, "vpn-",
		func(v *VPNConnection) string { return v.VPNConnectionID }, self[VPNConnection])
	for i, v := range t.VPNConnections {
		path := at("vpn_connections", i)
		switch _, known := c.vgw[v.VPNGatewayID]; {
		case v.VPNGatewayID != "" && v.TransitGatewayID != "":
			c.fail(path+".transit_gateway_id", "is absent where there is a 'vpn_gateway_id'")
		case v.VPNGatewayID != "" && !known:
			c.fail(path+".vpn_gateway_id", "%q is not defined in 'vpn_gateways'", v.VPNGatewayID)
		}
	}
	c.lgw = index(c, "local_gateways", "local_gateway_id", t.LocalGateways, "lgw-",
		func(g *LocalGateway) string { return g.LocalGatewayID }, func(*LocalGateway) string { return "" })
	c.natGateways()
}

func (c *checker) natGateways() {
	vpcOf := func(g *NATGateway) string {
		if s := c.subnet[g.SubnetID]; s != nil {
			return s.VPCID
		}
		return g.VPCID
	}
	c.nat = index(c, "nat_gateways", "nat_gateway_id", c.t.NATGateways, "nat-",
		func(g *NATGateway) string { return g.NATGatewayID }, vpcOf)
	for i := range c.t.NATGateways {
		g, path := &c.t.NATGateways[i], at("nat_gateways", i)
		switch s := c.subnet[g.SubnetID]; {
		case g.SubnetID == "" && g.VPCID == "":
			c.fail(path+".subnet_id", "is required; a regional NAT gateway has 'vpc_id' instead")
		case g.SubnetID == "":
			c.inVPC(path+".vpc_id", g.VPCID)
		case s == nil:
			c.fail(path+".subnet_id", "subnet %q is not defined in 'subnets'", g.SubnetID)
		case differ(g.VPCID, s.VPCID):
			c.fail(path+".vpc_id", "subnet %q is in VPC %q, not %q", g.SubnetID, s.VPCID, g.VPCID)
		}
		for j, a := range g.NATGatewayAddresses {
			ap := path + "." + at("nat_gateway_addresses", j)
			if a.NetworkInterfaceID != "" && c.eni[a.NetworkInterfaceID] == nil {
				c.fail(ap+".network_interface_id", "network interface %q is not defined in 'network_interfaces'", a.NetworkInterfaceID)
			}
			c.address(ap+".public_ip", a.PublicIP, 0)
			c.address(ap+".private_ip", a.PrivateIP, 0)
		}
	}
}

func (c *checker) endpoints() {
	c.endpoint = index(c, "vpc_endpoints", "vpc_endpoint_id", c.t.VPCEndpoints, "vpce-",
		func(e *VPCEndpoint) string { return e.VPCEndpointID }, self[VPCEndpoint])
	tables := map[string]*RouteTable{}
	for i := range c.t.RouteTables {
		tables[c.t.RouteTables[i].RouteTableID] = &c.t.RouteTables[i]
	}
	for i := range c.t.VPCEndpoints {
		e, path := &c.t.VPCEndpoints[i], at("vpc_endpoints", i)
		c.inVPC(path+".vpc_id", e.VPCID)
		for j, id := range e.NetworkInterfaceIDs {
			p := path + "." + at("network_interface_ids", j)
			n := c.eni[id]
			if n == nil {
				c.fail(p, "network interface %q is not defined in 'network_interfaces'", id)
			} else if s := c.subnet[n.SubnetID]; s != nil && differ(s.VPCID, e.VPCID) {
				c.fail(p, "network interface %q is in VPC %q, not %q", id, s.VPCID, e.VPCID)
			}
		}
		c.subnetIDs(path+".subnet_ids", e.SubnetIDs, e.VPCID)
		if len(e.RouteTableIDs) > 0 && e.VPCEndpointType != EndpointGateway {
			c.fail(path+".route_table_ids", "only an endpoint of type gateway has route tables")
		}
		for j, id := range e.RouteTableIDs {
			p := path + "." + at("route_table_ids", j)
			if rt := tables[id]; rt == nil {
				c.fail(p, "route table %q is not defined in 'route_tables'", id)
			} else if rt.VPCID != e.VPCID {
				c.fail(p, "route table %q belongs to VPC %q, not %q", id, rt.VPCID, e.VPCID)
			}
		}
	}
}

// subnetIDs checks references to subnets that have to be in one VPC.
func (c *checker) subnetIDs(path string, ids []string, vpc string) {
	for j, id := range ids {
		p := fmt.Sprintf("%s[%d]", path, j)
		if s := c.subnet[id]; s == nil {
			c.fail(p, "subnet %q is not defined in 'subnets'", id)
		} else if differ(s.VPCID, vpc) {
			c.fail(p, "subnet %q is in VPC %q, not %q", id, s.VPCID, vpc)
		}
	}
}
