// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"cmp"
	"net/netip"
	"unique"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// What the API gives is taken as it comes: a field that is absent or strange is left out,
// and a thing without an id is none. Nothing here fails.

func prefix(s *string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(aws.ToString(s))
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, false
	}
	return p.Masked(), true
}

func address(s *string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(aws.ToString(s))
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}

func comparePrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// same keeps one copy of a text that many things have.
func same(s *string) string {
	if s == nil || *s == "" {
		return ""
	}
	return unique.Make(*s).Value()
}

func (f *fetch) zone(z *types.AvailabilityZone) (topology.AvailabilityZone, bool) {
	out := topology.AvailabilityZone{
		ZoneID: aws.ToString(z.ZoneId), ZoneName: aws.ToString(z.ZoneName), AccountID: f.account,
		RegionName: aws.ToString(z.RegionName), ParentZoneID: aws.ToString(z.ParentZoneId), NetworkBorderGroup: aws.ToString(z.NetworkBorderGroup),
	}
	if out.RegionName == "" {
		out.RegionName = f.region
	}
	_ = out.ZoneType.UnmarshalText([]byte(aws.ToString(z.ZoneType))) // another word: the form of the id tells
	return out, out.ZoneID != ""
}

func (f *fetch) vpc(v *types.Vpc) (topology.VPC, bool) {
	out := topology.VPC{VPCID: same(v.VpcId), Region: f.region, OwnerID: same(v.OwnerId), Name: nameOf(v.Tags)}
	add := func(s *string) {
		if p, ok := prefix(s); ok && !contains(out.CIDRBlocks, p) {
			out.CIDRBlocks = append(out.CIDRBlocks, p)
		}
	}
	add(v.CidrBlock) // the primary one first
	for _, a := range v.CidrBlockAssociationSet {
		if a.CidrBlockState != nil && a.CidrBlockState.State == types.VpcCidrBlockStateCodeAssociated {
			add(a.CidrBlock)
		}
	}
	for _, a := range v.Ipv6CidrBlockAssociationSet {
		if a.Ipv6CidrBlockState != nil && a.Ipv6CidrBlockState.State == types.VpcCidrBlockStateCodeAssociated {
			add(a.Ipv6CidrBlock)
		}
	}
	return out, out.VPCID != ""
}

func contains(list []netip.Prefix, p netip.Prefix) bool {
	for _, q := range list {
		if p == q {
			return true
		}
	}
	return false
}

func (f *fetch) subnet(s *types.Subnet) (topology.Subnet, bool) {
	out := topology.Subnet{
		SubnetID: same(s.SubnetId), VPCID: same(s.VpcId), OwnerID: same(s.OwnerId),
		AvailabilityZone: same(s.AvailabilityZone), AvailabilityZoneID: same(s.AvailabilityZoneId), Name: nameOf(s.Tags),
	}
	if p, ok := prefix(s.CidrBlock); ok {
		out.CIDRBlocks = append(out.CIDRBlocks, p)
	}
	for _, a := range s.Ipv6CidrBlockAssociationSet {
		if p, ok := prefix(a.Ipv6CidrBlock); ok && a.Ipv6CidrBlockState != nil && a.Ipv6CidrBlockState.State == types.SubnetCidrBlockStateCodeAssociated {
			out.CIDRBlocks = append(out.CIDRBlocks, p)
		}
	}
	if out.OwnerID != "" && out.OwnerID != f.account {
		out.AvailabilityZone = "" // it is this account's name of the zone, not the owner's
		out.SharedWith = []string{f.account}
	}
	return out, out.SubnetID != "" && out.VPCID != ""
}

// clusterTag is the tag by which the Amazon VPC CNI and EKS mark the interfaces of a cluster's nodes.
const clusterTag = "cluster.k8s.amazonaws.com/name"

// addInterface adds an interface, and what it says of its instance.
func (f *fetch) addInterface(t *topology.Topology, n *types.NetworkInterface) {
	out := topology.NetworkInterface{
		NetworkInterfaceID: aws.ToString(n.NetworkInterfaceId), SubnetID: same(n.SubnetId), VPCID: same(n.VpcId), OwnerID: same(n.OwnerId),
		InterfaceType: unique.Make(string(n.InterfaceType)).Value(), RequesterManaged: flag(n.RequesterManaged),
	}
	if out.NetworkInterfaceID == "" || out.SubnetID == "" {
		return
	}
	if out.RequesterManaged != &no {
		out.Description = aws.ToString(n.Description) // a customer's own says nothing that is believed
	}
	if n.Attachment != nil {
		out.InstanceID = aws.ToString(n.Attachment.InstanceId)
	}
	privates(&out, n)
	for _, a := range n.Ipv6Addresses {
		if ip, ok := address(a.Ipv6Address); ok {
			out.IPv6Addresses = append(out.IPv6Addresses, ip)
		}
	}
	for _, p := range n.Ipv4Prefixes {
		if block, ok := prefix(p.Ipv4Prefix); ok {
			out.IPv4Prefixes = append(out.IPv4Prefixes, block)
		}
	}
	for _, p := range n.Ipv6Prefixes {
		if block, ok := prefix(p.Ipv6Prefix); ok {
			out.IPv6Prefixes = append(out.IPv6Prefixes, block)
		}
	}
	t.NetworkInterfaces = append(t.NetworkInterfaces, out)
	for _, tag := range n.TagSet {
		if aws.ToString(tag.Key) == clusterTag && out.InstanceID != "" && aws.ToString(tag.Value) != "" {
			t.Instances = append(t.Instances, topology.Instance{InstanceID: out.InstanceID, K8S: &topology.K8S{ClusterName: same(tag.Value)}})
		}
	}
}

// privates adds the IPv4 addresses with the public ones that lead to them, the primary
// one first.
func privates(out *topology.NetworkInterface, n *types.NetworkInterface) {
	add := func(s *string, association *types.NetworkInterfaceAssociation) {
		private, ok := address(s)
		if !ok {
			return
		}
		for _, a := range out.PrivateIPAddresses {
			if a == private {
				return
			}
		}
		out.PrivateIPAddresses = append(out.PrivateIPAddresses, private)
		if association == nil {
			return
		}
		if public, ok := address(association.PublicIp); ok {
			out.Associations = append(out.Associations, topology.Association{PublicIP: public, PrivateIPAddress: private})
		}
	}
	for _, primary := range []bool{true, false} {
		for i := range n.PrivateIpAddresses {
			if a := &n.PrivateIpAddresses[i]; aws.ToBool(a.Primary) == primary {
				add(a.PrivateIpAddress, a.Association)
			}
		}
	}
	add(n.PrivateIpAddress, n.Association)
}

// yes and no are what all interfaces point to.
var yes, no = true, false

func flag(b *bool) *bool {
	switch {
	case b == nil:
		return nil
	case *b:
		return &yes
	}
	return &no
}

func nameOf(tags []types.Tag) string {
	for _, t := range tags {
		if aws.ToString(t.Key) == "Name" {
			return aws.ToString(t.Value)
		}
	}
	return ""
}
