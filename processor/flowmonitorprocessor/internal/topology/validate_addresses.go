// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"net/netip"

	"github.com/gaissmai/bart"
)

// prefix says whether p is a usable CIDR; family is 4, 6, or 0 for either.
func (c *checker) prefix(path string, p netip.Prefix, family int) bool {
	switch {
	case !p.IsValid():
		c.fail(path, "is not a CIDR block")
	case p.Addr().Is4In6():
		c.fail(path, "%s is an IPv4 block written as IPv6", p)
	case p != p.Masked():
		c.fail(path, "%s has host bits set; the block is %s", p, p.Masked())
	case family == 4 && !p.Addr().Is4(), family == 6 && !p.Addr().Is6():
		c.fail(path, "%s is not an IPv%d block", p, family)
	default:
		return true
	}
	return false
}

// address says whether a is usable; the zero address is absent.
func (c *checker) address(path string, a netip.Addr, family int) bool {
	switch {
	case a == netip.Addr{}:
		return false
	case a.Zone() != "":
		c.fail(path, "%s has a zone", a)
	case a.Is4In6():
		c.fail(path, "%s is an IPv4 address written as IPv6", a)
	case family == 4 && !a.Is4(), family == 6 && !a.Is6():
		c.fail(path, "%s is not an IPv%d address", a, family)
	default:
		return true
	}
	return false
}

// blocks is a set of CIDRs that must not overlap, with the name of what has each.
type blocks struct{ table bart.Table[string] }

// add puts p in and gives what it overlaps with, if anything.
func (b *blocks) add(p netip.Prefix, name string) (other netip.Prefix, holder string, overlaps bool) {
	if lpm, holder, ok := b.table.LookupPrefixLPM(p); ok {
		return lpm, holder, true
	}
	for inner, holder := range b.table.Subnets(p) {
		return inner, holder, true
	}
	b.table.Insert(p, name)
	return netip.Prefix{}, "", false
}

func (c *checker) vpcs() {
	c.vpc = index(c, "vpcs", "vpc_id", c.t.VPCs, "vpc-", func(v *VPC) string { return v.VPCID }, self[VPC])
	for i := range c.t.VPCs {
		v, path := &c.t.VPCs[i], at("vpcs", i)
		c.region(path+".region", v.Region)
		c.owner(path+".owner_id", v.OwnerID)
		var own blocks
		for j, p := range v.CIDRBlocks {
			bp := path + "." + at("cidr_blocks", j)
			if !c.prefix(bp, p, 0) {
				continue
			}
			if other, _, overlaps := own.add(p, ""); overlaps {
				c.fail(bp, "%s overlaps with %s of the same VPC", p, other)
			}
		}
	}
}

func (c *checker) subnets() {
	t := c.t
	c.subnet = index(c, "subnets", "subnet_id", t.Subnets, "subnet-", func(s *Subnet) string { return s.SubnetID }, self[Subnet])
	perVPC := map[string]*blocks{}
	for i := range t.Subnets {
		s, path := &t.Subnets[i], at("subnets", i)
		v := c.vpc[s.VPCID]
		c.inVPC(path+".vpc_id", s.VPCID)
		c.subnetZone(path, s, v)
		if perVPC[s.VPCID] == nil {
			perVPC[s.VPCID] = &blocks{}
		}
		for j, p := range s.CIDRBlocks {
			bp := path + "." + at("cidr_blocks", j)
			if !c.prefix(bp, p, 0) {
				continue
			}
			if v != nil && !covered(v.CIDRBlocks, p) {
				c.fail(bp, "%s is outside the cidr_blocks of VPC %q", p, v.VPCID)
			}
			if other, holder, overlaps := perVPC[s.VPCID].add(p, s.SubnetID); overlaps {
				c.fail(bp, "%s overlaps with %s of subnet %q", p, other, holder)
			}
		}
	}
}

func (c *checker) subnetZone(path string, s *Subnet, v *VPC) {
	if s.AvailabilityZone == "" && s.AvailabilityZoneID == "" {
		c.fail(path, "the field 'availability_zone_id' or 'availability_zone' is required")
		return
	}
	if v != nil {
		c.zoneForm(path+".availability_zone", s.AvailabilityZone, path+".availability_zone_id", s.AvailabilityZoneID, v.Region)
	}
	if len(c.zones) == 0 {
		return // zones are only named, not described
	}
	owner := s.OwnerID
	if owner == "" && v != nil {
		owner = v.OwnerID
	}
	byName := c.zoneByName(owner, s.AvailabilityZone)
	byID := c.zones[s.AvailabilityZoneID]
	switch {
	case s.AvailabilityZoneID != "" && byID == nil:
		c.fail(path+".availability_zone_id", "zone %q is not defined in 'availability_zones'", s.AvailabilityZoneID)
		return
	case s.AvailabilityZoneID == "" && byName == nil:
		c.fail(path+".availability_zone", "zone %q is not defined in 'availability_zones'%s", s.AvailabilityZone, forAccount(owner))
		return
	case byID != nil && byName != nil && byID.ZoneID != byName.ZoneID:
		c.fail(path+".availability_zone", "%q is zone %q%s, not %q", s.AvailabilityZone, byName.ZoneID, forAccount(owner), byID.ZoneID)
	}
	zone := byID
	if zone == nil {
		zone = byName
	}
	if v != nil && differ(zone.RegionName, v.Region) {
		c.fail(path+".availability_zone_id", "zone %q is in region %q, VPC %q in %q", zone.ZoneID, zone.RegionName, v.VPCID, v.Region)
	}
}

// zoneByName finds a zone by an account's alias, or by an alias that is everybody's.
func (c *checker) zoneByName(account, name string) *AvailabilityZone {
	var shared *AvailabilityZone
	for i := range c.t.AvailabilityZones {
		z := &c.t.AvailabilityZones[i]
		if name == "" || z.ZoneName != name {
			continue
		}
		if z.AccountID == account {
			return z
		}
		if z.AccountID == "" {
			shared = z
		}
	}
	return shared
}

// covered tells whether one of the blocks contains p, or could: one that could not be read has its own error.
func covered(blocks []netip.Prefix, p netip.Prefix) bool {
	for _, b := range blocks {
		if !b.IsValid() || b.Contains(p.Addr()) && b.Bits() <= p.Bits() {
			return true
		}
	}
	return false
}

func (c *checker) interfaces() {
	t := c.t
	c.eni = index(c, "network_interfaces", "network_interface_id", t.NetworkInterfaces, "eni-",
		func(n *NetworkInterface) string { return n.NetworkInterfaceID }, self[NetworkInterface])
	type key struct {
		vpc string
		ip  netip.Addr
	}
	holders := map[key]string{}
	public := map[netip.Addr]string{}
	delegated := map[string]*blocks{}
	for i := range t.NetworkInterfaces {
		n, path := &t.NetworkInterfaces[i], at("network_interfaces", i)
		s := c.subnet[n.SubnetID]
		if s == nil {
			if n.SubnetID != "" {
				c.fail(path+".subnet_id", "subnet %q is not defined in 'subnets'", n.SubnetID)
			}
			s = &Subnet{}
		} else if differ(n.VPCID, s.VPCID) {
			c.fail(path+".vpc_id", "subnet %q is in VPC %q, not %q", n.SubnetID, s.VPCID, n.VPCID)
		}
		own := func(field string, family int, list []netip.Addr) {
			for j, a := range list {
				p := path + "." + at(field, j)
				if a == (netip.Addr{}) {
					c.fail(p, "is not an address")
				}
				if !c.address(p, a, family) {
					continue
				}
				if s.SubnetID != "" && !covered(s.CIDRBlocks, netip.PrefixFrom(a, a.BitLen())) {
					c.fail(p, "%s is outside the cidr_blocks of subnet %q", a, s.SubnetID)
				}
				k := key{s.VPCID, a}
				if other, taken := holders[k]; taken {
					c.fail(p, "%s is already an address of network interface %q in the same VPC", a, other)
				}
				holders[k] = n.NetworkInterfaceID
			}
		}
		own("private_ip_addresses", 4, n.PrivateIPAddresses)
		own("ipv6_addresses", 6, n.IPv6Addresses)
		prefixes := func(field string, family int, list []netip.Prefix) {
			for j, b := range list {
				p := path + "." + at(field, j)
				if !c.prefix(p, b, family) {
					continue
				}
				if s.SubnetID != "" && !covered(s.CIDRBlocks, b) {
					c.fail(p, "%s is outside the cidr_blocks of subnet %q", b, s.SubnetID)
				}
				if delegated[s.VPCID] == nil {
					delegated[s.VPCID] = &blocks{}
				}
				if other, holder, overlaps := delegated[s.VPCID].add(b, n.NetworkInterfaceID); overlaps {
					c.fail(p, "%s overlaps with %s of network interface %q", b, other, holder)
				}
			}
		}
		prefixes("ipv4_prefixes", 4, n.IPv4Prefixes)
		prefixes("ipv6_prefixes", 6, n.IPv6Prefixes)
		c.associations(path, n, public)
	}
	// An address inside a prefix that another interface has.
	for i := range t.NetworkInterfaces {
		n := &t.NetworkInterfaces[i]
		s := c.subnet[n.SubnetID]
		if s == nil || delegated[s.VPCID] == nil {
			continue
		}
		check := func(field string, list []netip.Addr) {
			for j, a := range list {
				if holder, ok := delegated[s.VPCID].table.Lookup(a); ok && holder != n.NetworkInterfaceID {
					c.fail(at("network_interfaces", i)+"."+at(field, j), "%s is in a prefix delegated to network interface %q", a, holder)
				}
			}
		}
		check("private_ip_addresses", n.PrivateIPAddresses)
		check("ipv6_addresses", n.IPv6Addresses)
	}
}

func (c *checker) associations(path string, n *NetworkInterface, public map[netip.Addr]string) {
	for j, a := range n.Associations {
		p := path + "." + at("associations", j)
		if c.address(p+".public_ip", a.PublicIP, 0) {
			if other, taken := public[a.PublicIP]; taken {
				c.fail(p+".public_ip", "%s is already associated with network interface %q", a.PublicIP, other)
			}
			public[a.PublicIP] = n.NetworkInterfaceID
		}
		if !c.address(p+".private_ip_address", a.PrivateIPAddress, 0) {
			continue
		}
		found := false
		for _, own := range append(n.PrivateIPAddresses[:len(n.PrivateIPAddresses):len(n.PrivateIPAddresses)], n.IPv6Addresses...) {
			found = found || own == a.PrivateIPAddress
		}
		if !found {
			c.fail(p+".private_ip_address", "%s is not an address of this network interface", a.PrivateIPAddress)
		}
	}
}
