// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2test

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// DefaultAccount owns what a declared topology gives no owner.
const DefaultAccount = "999988887777"

// Complete turns a declared topology into one that EC2 can describe: everything has an
// owner, zones have names and ids, VPCs have main route tables, gateway endpoints have
// their routes, NAT gateways their interfaces. What EC2 does not know is left out: pods,
// clusters without a host, names of instances. blocks gives the entries of the lists of
// services. t itself is not changed.
func Complete(t *topology.Topology, blocks topology.ServiceBlocks) *topology.Topology {
	c := completion{in: t, out: *t, blocks: blocks, owner: map[string]string{}, regions: map[string]string{}}
	c.vpcs()
	c.zones()
	c.subnets()
	c.natGateways()
	c.interfaces()
	c.prefixLists()
	c.endpoints()
	c.routeTables()
	c.peerings()
	c.transit()
	c.hosts()
	c.accounts()
	return &c.out
}

type completion struct {
	in      *topology.Topology
	out     topology.Topology
	blocks  topology.ServiceBlocks
	owner   map[string]string // of VPCs
	regions map[string]string // of VPCs
}

func (c *completion) vpcs() {
	c.out.VPCs = slices.Clone(c.in.VPCs)
	for i := range c.out.VPCs {
		v := &c.out.VPCs[i]
		v.OwnerID = cmp.Or(v.OwnerID, DefaultAccount)
		c.owner[v.VPCID], c.regions[v.VPCID] = v.OwnerID, v.Region
	}
}

// zones gives every zone that is named anywhere an id and a name: the same name for all
// accounts, but where it is declared to be an account's own.
func (c *completion) zones() {
	c.out.AvailabilityZones = slices.Clone(c.in.AvailabilityZones)
	ids := map[string]bool{}
	for _, z := range c.out.AvailabilityZones {
		ids[z.ZoneID] = true
	}
	for _, s := range c.in.Subnets {
		id, name, region := s.AvailabilityZoneID, s.AvailabilityZone, c.regions[s.VPCID]
		if id == "" && c.named(region, c.ownerOf(&s), name) == "" {
			id = "id-of-" + name
		}
		if id == "" || ids[id] {
			continue
		}
		ids[id] = true
		c.out.AvailabilityZones = append(c.out.AvailabilityZones, topology.AvailabilityZone{ZoneID: id, ZoneName: cmp.Or(name, "name-of-"+id), RegionName: region})
	}
	for i := range c.out.AvailabilityZones {
		z := &c.out.AvailabilityZones[i]
		z.ZoneName = cmp.Or(z.ZoneName, "name-of-"+z.ZoneID)
	}
}

// named finds the id of a zone by an owner's name for it.
func (c *completion) named(region, owner, name string) string {
	found := ""
	for _, z := range c.out.AvailabilityZones {
		if z.ZoneName != name || z.RegionName != region {
			continue
		}
		if z.AccountID == owner {
			return z.ZoneID
		}
		if z.AccountID == "" {
			found = z.ZoneID
		}
	}
	return found
}

func (c *completion) ownerOf(s *topology.Subnet) string { return cmp.Or(s.OwnerID, c.owner[s.VPCID]) }

func (c *completion) subnets() {
	c.out.Subnets = slices.Clone(c.in.Subnets)
	c.onePrimary()
	for i := range c.out.Subnets {
		s := &c.out.Subnets[i]
		s.OwnerID = c.ownerOf(s)
		s.AvailabilityZoneID = cmp.Or(s.AvailabilityZoneID, c.named(c.regions[s.VPCID], s.OwnerID, s.AvailabilityZone))
		if s.AvailabilityZone == "" {
			for _, z := range c.out.AvailabilityZones {
				if z.ZoneID == s.AvailabilityZoneID && (z.AccountID == "" || z.AccountID == s.OwnerID) {
					s.AvailabilityZone = z.ZoneName
				}
			}
		}
	}
}

// onePrimary splits subnets with several IPv4 blocks: in EC2 a subnet has one.
func (c *completion) onePrimary() {
	for i := range c.out.Subnets {
		s := &c.out.Subnets[i]
		var keep []netip.Prefix
		for _, p := range s.CIDRBlocks {
			if p.Addr().Is6() || len(keep) == 0 || keep[0].Addr().Is6() {
				keep = append(keep, p)
				continue
			}
			more := *s
			more.SubnetID, more.CIDRBlocks = s.SubnetID+"-also", []netip.Prefix{p}
			c.out.Subnets = append(c.out.Subnets, more)
			s = &c.out.Subnets[i]
		}
		s.CIDRBlocks = keep
	}
}

func (c *completion) subnet(id string) *topology.Subnet {
	for i := range c.out.Subnets {
		if c.out.Subnets[i].SubnetID == id {
			return &c.out.Subnets[i]
		}
	}
	return nil
}

func (c *completion) natGateways() {
	c.out.NATGateways = slices.Clone(c.in.NATGateways)
	c.out.NetworkInterfaces = slices.Clone(c.in.NetworkInterfaces)
	managed := true
	for i := range c.out.NATGateways {
		g := &c.out.NATGateways[i]
		s := c.subnet(g.SubnetID)
		if s != nil {
			g.VPCID = s.VPCID
		}
		g.NATGatewayAddresses = slices.Clone(g.NATGatewayAddresses)
		for j := range g.NATGatewayAddresses {
			a := &g.NATGatewayAddresses[j]
			if a.NetworkInterfaceID != "" || s == nil {
				continue
			}
			a.NetworkInterfaceID = fmt.Sprintf("eni-of-%s-%d", g.NATGatewayID, j)
			n := topology.NetworkInterface{NetworkInterfaceID: a.NetworkInterfaceID, SubnetID: s.SubnetID, InterfaceType: "nat_gateway", RequesterManaged: &managed,
				Description: "Interface for NAT Gateway " + g.NATGatewayID}
			if a.PrivateIP.IsValid() {
				n.PrivateIPAddresses = []netip.Addr{a.PrivateIP}
				if a.PublicIP.IsValid() {
					n.Associations = []topology.Association{{PublicIP: a.PublicIP, PrivateIPAddress: a.PrivateIP}}
				}
			}
			c.out.NetworkInterfaces = append(c.out.NetworkInterfaces, n)
		}
	}
}

func (c *completion) interfaces() {
	yes, no := true, false
	for i := range c.out.NetworkInterfaces {
		n := &c.out.NetworkInterfaces[i]
		n.K8S = nil
		if s := c.subnet(n.SubnetID); s != nil {
			n.OwnerID, n.VPCID = cmp.Or(n.OwnerID, s.OwnerID), s.VPCID
		}
		if n.RequesterManaged == nil {
			n.RequesterManaged = &no
			if n.Description != "" || n.InterfaceType != "" && n.InterfaceType != "interface" {
				n.RequesterManaged = &yes
			}
		}
		n.InterfaceType = cmp.Or(n.InterfaceType, "interface")
		n.Associations = slices.Clone(n.Associations)
		for j := range n.Associations {
			if a := &n.Associations[j]; !a.PrivateIPAddress.IsValid() && len(n.PrivateIPAddresses) > 0 {
				a.PrivateIPAddress = n.PrivateIPAddresses[0]
			}
		}
	}
}

func (c *completion) prefixLists() {
	c.out.PrefixLists = slices.Clone(c.in.PrefixLists)
	for i := range c.out.PrefixLists {
		l := &c.out.PrefixLists[i]
		if len(l.CIDRs) == 0 {
			l.CIDRs = c.service(l.PrefixListName)
		}
	}
}

// service gives the blocks of com.amazonaws.<region>.s3 and …dynamodb, the only ones that
// have gateway endpoints.
func (c *completion) service(name string) []netip.Prefix {
	parts := strings.Split(name, ".")
	if len(parts) != 4 {
		return nil
	}
	return c.blocks(strings.ToUpper(parts[3]), parts[2])
}

func (c *completion) endpoints() {
	c.out.VPCEndpoints = slices.Clone(c.in.VPCEndpoints)
	for i := range c.out.VPCEndpoints {
		e := &c.out.VPCEndpoints[i]
		e.OwnerID = cmp.Or(e.OwnerID, c.owner[e.VPCID])
	}
}

func (c *completion) routeTables() {
	c.out.RouteTables = slices.Clone(c.in.RouteTables)
	mains := map[string]bool{}
	for i := range c.out.RouteTables {
		r := &c.out.RouteTables[i]
		mains[r.VPCID] = mains[r.VPCID] || r.Main
		r.Routes = slices.Clone(r.Routes)
		for _, e := range c.out.VPCEndpoints {
			listed := slices.ContainsFunc(r.Routes, func(r topology.Route) bool { return r.Target == e.VPCEndpointID })
			if e.VPCEndpointType == topology.EndpointGateway && slices.Contains(e.RouteTableIDs, r.RouteTableID) && !listed {
				r.Routes = append(r.Routes, topology.Route{DestinationPrefixListID: c.listOf(e.ServiceName), Target: e.VPCEndpointID})
			}
		}
	}
	for _, v := range c.out.VPCs {
		if !mains[v.VPCID] {
			c.out.RouteTables = append(c.out.RouteTables, topology.RouteTable{RouteTableID: "rtb-main-of-" + v.VPCID, VPCID: v.VPCID, Main: true})
		}
	}
}

// listOf gives the prefix list of a service, which every Region has.
func (c *completion) listOf(name string) string {
	for _, l := range c.out.PrefixLists {
		if l.PrefixListName == name {
			return l.PrefixListID
		}
	}
	id := "pl-" + strings.ReplaceAll(name, ".", "-")
	c.out.PrefixLists = append(c.out.PrefixLists, topology.PrefixList{PrefixListID: id, PrefixListName: name, CIDRs: c.service(name)})
	return id
}

func (c *completion) peerings() {
	c.out.VPCPeeringConnections = slices.Clone(c.in.VPCPeeringConnections)
	side := func(i *topology.PeeringVPCInfo) {
		for _, v := range c.out.VPCs {
			if v.VPCID == i.VPCID {
				i.Region, i.OwnerID, i.CIDRBlocks = v.Region, v.OwnerID, v.CIDRBlocks
			}
		}
	}
	for i := range c.out.VPCPeeringConnections {
		p := &c.out.VPCPeeringConnections[i]
		p.Status = cmp.Or(p.Status, "active")
		side(&p.RequesterVPCInfo)
		side(&p.AccepterVPCInfo)
	}
}

// transit gives transit gateways their Regions, and their route tables if they have none.
// A propagation of which no route is known has none: EC2 would list it.
func (c *completion) transit() {
	c.out.TransitGateways = slices.Clone(c.in.TransitGateways)
	region := map[string]string{}
	for i := range c.out.TransitGateways {
		g := &c.out.TransitGateways[i]
		g.OwnerID = cmp.Or(g.OwnerID, DefaultAccount)
		g.Attachments = slices.Clone(g.Attachments)
		for j := range g.Attachments {
			if a := &g.Attachments[j]; a.ResourceType == topology.AttachmentVPC {
				g.Region = cmp.Or(g.Region, c.regions[a.ResourceID])
				a.ResourceOwnerID = cmp.Or(a.ResourceOwnerID, c.owner[a.ResourceID])
			}
		}
		region[g.TransitGatewayID] = g.Region
	}
	for i := range c.out.TransitGateways {
		g := &c.out.TransitGateways[i]
		for j := range g.Attachments {
			if a := &g.Attachments[j]; a.ResourceType == topology.AttachmentPeering {
				a.PeerRegion = cmp.Or(region[a.ResourceID], a.PeerRegion)
			}
		}
		g.RouteTables = slices.Clone(g.RouteTables)
		if len(g.RouteTables) == 0 {
			g.RouteTables = []topology.TransitGatewayRouteTable{c.defaultTable(g)}
		}
		for j := range g.RouteTables {
			t := &g.RouteTables[j]
			t.Propagations = slices.DeleteFunc(slices.Clone(t.Propagations), func(id string) bool {
				a := attachment(g, id)
				return a == nil || a.ResourceType != topology.AttachmentVPC || c.regions[a.ResourceID] == ""
			})
		}
	}
}

// defaultTable is what a transit gateway is made with: all its VPCs reach each other.
func (c *completion) defaultTable(g *topology.TransitGateway) topology.TransitGatewayRouteTable {
	t := topology.TransitGatewayRouteTable{TransitGatewayRouteTableID: "tgw-rtb-of-" + g.TransitGatewayID}
	for _, a := range g.Attachments {
		t.Associations = append(t.Associations, a.TransitGatewayAttachmentID)
		if a.ResourceType == topology.AttachmentVPC {
			t.Propagations = append(t.Propagations, a.TransitGatewayAttachmentID)
		}
	}
	return t
}

// hosts keeps of instances the cluster, which is a tag of their interfaces.
func (c *completion) hosts() {
	c.out.Instances, c.out.EKSClusters = nil, nil
	for _, i := range c.in.Instances {
		attached := slices.ContainsFunc(c.in.NetworkInterfaces, func(n topology.NetworkInterface) bool { return n.InstanceID == i.InstanceID })
		if attached && i.K8S != nil && i.K8S.ClusterName != "" {
			c.out.Instances = append(c.out.Instances, topology.Instance{InstanceID: i.InstanceID, K8S: &topology.K8S{ClusterName: i.K8S.ClusterName}})
		}
	}
}

// accounts lists everybody who has something, the default account first.
func (c *completion) accounts() {
	ids := []string{DefaultAccount}
	add := func(id string) {
		if id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	for _, v := range c.out.VPCs {
		add(v.OwnerID)
	}
	for _, s := range c.out.Subnets {
		for _, a := range s.SharedWith {
			add(a)
		}
	}
	for _, n := range c.out.NetworkInterfaces {
		add(n.OwnerID)
	}
	for _, g := range c.out.TransitGateways {
		add(g.OwnerID)
	}
	c.out.Accounts, c.out.Regions = nil, nil
	for _, id := range ids {
		c.out.Accounts = append(c.out.Accounts, topology.Account{AccountID: id})
	}
	regions := map[string]bool{}
	for _, v := range c.out.VPCs {
		regions[v.Region] = true
	}
	for _, g := range c.out.TransitGateways {
		regions[g.Region] = g.Region != "" || regions[g.Region]
	}
	for r, is := range regions {
		if is {
			c.out.Regions = append(c.out.Regions, topology.Region{RegionName: r})
		}
	}
	slices.SortFunc(c.out.Regions, func(a, b topology.Region) int { return cmp.Compare(a.RegionName, b.RegionName) })
}
