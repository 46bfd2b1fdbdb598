// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// The sizes of pages are the largest that the API reference allows.
const (
	pageOfMost        = 1000
	pageOfRouteTables = 100
	pageOfEgressOnly  = 255
	pageOfPrefixLists = 100
)

// fetch is the reading of one account in one Region.
type fetch struct {
	client          *ec2.Client
	account, region string

	own, shared *topology.Topology
	denied      []string // what there is no permission for, and is left out
}

// section is a part of the topology that is read by itself.
type section struct {
	name     string
	optional bool // without the permission for it the rest is still worth having
	read     func(*fetch, context.Context) error
}

// sections in the order in which they are read.
var sections = []section{
	{"availability_zones", false, (*fetch).zones},
	{"vpcs", false, (*fetch).vpcs},
	{"subnets", false, (*fetch).subnets},
	{"network_interfaces", false, (*fetch).interfaces},
	{"route_tables", false, (*fetch).routeTables},
	{"prefix_lists", false, (*fetch).prefixLists},
	{"vpc_endpoints", false, (*fetch).endpoints},
	{"nat_gateways", false, (*fetch).natGateways},
	{"internet_gateways", false, (*fetch).internetGateways},
	{"egress_only_internet_gateways", false, (*fetch).egressOnlyGateways},
	{"vpc_peering_connections", false, (*fetch).peerings},
	{"vpn_gateways", true, (*fetch).vpnGateways},
	{"vpn_connections", true, (*fetch).vpnConnections},
	{"local_gateways", true, (*fetch).localGateways},
	{"transit_gateways", true, (*fetch).transitGateways},
}

// all reads everything.
func (f *fetch) all(ctx context.Context) error {
	f.own = &topology.Topology{Accounts: []topology.Account{{AccountID: f.account}}, Regions: []topology.Region{{RegionName: f.region}}}
	f.shared = &topology.Topology{}
	for _, s := range sections {
		err := s.read(f, ctx)
		if err != nil && s.optional && isDenied(err) {
			f.denied = append(f.denied, s.name)
			continue
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", s.name, err)
		}
	}
	f.sort()
	return nil
}

// side is where a thing belongs that an account has.
func (f *fetch) side(owner string) *topology.Topology {
	if owner == "" || owner == f.account {
		return f.own
	}
	return f.shared
}

// pages calls read for each page of a list.
func pages(read func(token *string) (next *string, err error)) error {
	var token *string
	for range maxPages {
		next, err := read(token)
		switch {
		case err != nil:
			return err
		case aws.ToString(next) == "":
			return nil
		case aws.ToString(next) == aws.ToString(token):
			return errors.New("the same page token came twice")
		}
		token = next
	}
	return fmt.Errorf("there are more than %d pages", maxPages)
}

func (f *fetch) zones(ctx context.Context) error {
	// This list has no pages. It gives the zones that are enabled for the account.
	out, err := f.client.DescribeAvailabilityZones(ctx, &ec2.DescribeAvailabilityZonesInput{})
	if err != nil {
		return err
	}
	for i := range out.AvailabilityZones {
		if z, ok := f.zone(&out.AvailabilityZones[i]); ok {
			f.own.AvailabilityZones = append(f.own.AvailabilityZones, z)
		}
	}
	return nil
}

func (f *fetch) vpcs(ctx context.Context) error {
	return pages(func(token *string) (*string, error) {
		out, err := f.client.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{MaxResults: aws.Int32(pageOfMost), NextToken: token})
		if err != nil {
			return nil, err
		}
		for i := range out.Vpcs {
			if v, ok := f.vpc(&out.Vpcs[i]); ok {
				side := f.side(v.OwnerID)
				side.VPCs = append(side.VPCs, v)
			}
		}
		return out.NextToken, nil
	})
}

func (f *fetch) subnets(ctx context.Context) error {
	return pages(func(token *string) (*string, error) {
		out, err := f.client.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{MaxResults: aws.Int32(pageOfMost), NextToken: token})
		if err != nil {
			return nil, err
		}
		for i := range out.Subnets {
			if s, ok := f.subnet(&out.Subnets[i]); ok {
				side := f.side(s.OwnerID)
				side.Subnets = append(side.Subnets, s)
			}
		}
		return out.NextToken, nil
	})
}

func (f *fetch) interfaces(ctx context.Context) error {
	return f.describeInterfaces(ctx, nil, func(n *types.NetworkInterface) { f.addInterface(f.own, n) })
}

// describeInterfaces gives the interfaces that the filters leave.
func (f *fetch) describeInterfaces(ctx context.Context, filters []types.Filter, take func(*types.NetworkInterface)) error {
	return pages(func(token *string) (*string, error) {
		out, err := f.client.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{
			Filters: filters, MaxResults: aws.Int32(pageOfMost), NextToken: token,
			IncludeManagedResources: aws.Bool(true), // those of managed services hold addresses like others
		})
		if err != nil {
			return nil, err
		}
		for i := range out.NetworkInterfaces {
			take(&out.NetworkInterfaces[i])
		}
		return out.NextToken, nil
	})
}

func (f *fetch) routeTables(ctx context.Context) error {
	return pages(func(token *string) (*string, error) {
		out, err := f.client.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{MaxResults: aws.Int32(pageOfRouteTables), NextToken: token})
		if err != nil {
			return nil, err
		}
		for i := range out.RouteTables {
			t := &out.RouteTables[i]
			side := f.side(aws.ToString(t.OwnerId))
			side.RouteTables = append(side.RouteTables, routeTable(t))
		}
		return out.NextToken, nil
	})
}

func (f *fetch) peerings(ctx context.Context) error {
	return pages(func(token *string) (*string, error) {
		out, err := f.client.DescribeVpcPeeringConnections(ctx, &ec2.DescribeVpcPeeringConnectionsInput{MaxResults: aws.Int32(pageOfMost), NextToken: token})
		if err != nil {
			return nil, err
		}
		for i := range out.VpcPeeringConnections {
			if p, ok := peering(&out.VpcPeeringConnections[i]); ok {
				f.own.VPCPeeringConnections = append(f.own.VPCPeeringConnections, p)
			}
		}
		return out.NextToken, nil
	})
}

func (f *fetch) natGateways(ctx context.Context) error {
	return pages(func(token *string) (*string, error) {
		out, err := f.client.DescribeNatGateways(ctx, &ec2.DescribeNatGatewaysInput{MaxResults: aws.Int32(pageOfMost), NextToken: token})
		if err != nil {
			return nil, err
		}
		for i := range out.NatGateways {
			if g, ok := natGateway(&out.NatGateways[i]); ok {
				f.own.NATGateways = append(f.own.NATGateways, g)
			}
		}
		return out.NextToken, nil
	})
}

func (f *fetch) internetGateways(ctx context.Context) error {
	return pages(func(token *string) (*string, error) {
		out, err := f.client.DescribeInternetGateways(ctx, &ec2.DescribeInternetGatewaysInput{MaxResults: aws.Int32(pageOfMost), NextToken: token})
		if err != nil {
			return nil, err
		}
		for i := range out.InternetGateways {
			g := &out.InternetGateways[i]
			side := f.side(aws.ToString(g.OwnerId))
			side.InternetGateways = append(side.InternetGateways, topology.InternetGateway{InternetGatewayID: aws.ToString(g.InternetGatewayId), VPCID: attachedVPC(g.Attachments)})
		}
		return out.NextToken, nil
	})
}

func (f *fetch) egressOnlyGateways(ctx context.Context) error {
	return pages(func(token *string) (*string, error) {
		out, err := f.client.DescribeEgressOnlyInternetGateways(ctx, &ec2.DescribeEgressOnlyInternetGatewaysInput{MaxResults: aws.Int32(pageOfEgressOnly), NextToken: token})
		if err != nil {
			return nil, err
		}
		for i := range out.EgressOnlyInternetGateways {
			g := &out.EgressOnlyInternetGateways[i]
			f.own.EgressOnlyInternetGateways = append(f.own.EgressOnlyInternetGateways,
				topology.EgressOnlyInternetGateway{EgressOnlyInternetGatewayID: aws.ToString(g.EgressOnlyInternetGatewayId), VPCID: attachedVPC(g.Attachments)})
		}
		return out.NextToken, nil
	})
}

func (f *fetch) vpnGateways(ctx context.Context) error {
	out, err := f.client.DescribeVpnGateways(ctx, &ec2.DescribeVpnGatewaysInput{}) // this list has no pages
	if err != nil {
		return err
	}
	for i := range out.VpnGateways {
		if g, ok := vpnGateway(&out.VpnGateways[i]); ok {
			f.own.VPNGateways = append(f.own.VPNGateways, g)
		}
	}
	return nil
}

func (f *fetch) vpnConnections(ctx context.Context) error {
	out, err := f.client.DescribeVpnConnections(ctx, &ec2.DescribeVpnConnectionsInput{}) // this list has no pages
	if err != nil {
		return err
	}
	for i := range out.VpnConnections {
		if v, ok := vpnConnection(&out.VpnConnections[i]); ok {
			f.own.VPNConnections = append(f.own.VPNConnections, v)
		}
	}
	return nil
}

func (f *fetch) localGateways(ctx context.Context) error {
	return pages(func(token *string) (*string, error) {
		out, err := f.client.DescribeLocalGateways(ctx, &ec2.DescribeLocalGatewaysInput{MaxResults: aws.Int32(pageOfMost), NextToken: token})
		if err != nil {
			return nil, err
		}
		for i := range out.LocalGateways {
			f.own.LocalGateways = append(f.own.LocalGateways, topology.LocalGateway{LocalGatewayID: aws.ToString(out.LocalGateways[i].LocalGatewayId)})
		}
		return out.NextToken, nil
	})
}

func (f *fetch) endpoints(ctx context.Context) error {
	return pages(func(token *string) (*string, error) {
		out, err := f.client.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{MaxResults: aws.Int32(pageOfMost), NextToken: token})
		if err != nil {
			return nil, err
		}
		for i := range out.VpcEndpoints {
			if e, ok := endpoint(&out.VpcEndpoints[i]); ok {
				side := f.side(e.OwnerID)
				side.VPCEndpoints = append(side.VPCEndpoints, e)
			}
		}
		return out.NextToken, nil
	})
}

func (f *fetch) prefixLists(ctx context.Context) error {
	var lists []topology.PrefixList
	err := pages(func(token *string) (*string, error) {
		out, err := f.client.DescribeManagedPrefixLists(ctx, &ec2.DescribeManagedPrefixListsInput{MaxResults: aws.Int32(pageOfPrefixLists), NextToken: token})
		if err != nil {
			return nil, err
		}
		for i := range out.PrefixLists {
			if l := &out.PrefixLists[i]; l.State != types.PrefixListStateDeleteComplete && l.PrefixListId != nil {
				lists = append(lists, topology.PrefixList{PrefixListID: *l.PrefixListId, PrefixListName: aws.ToString(l.PrefixListName)})
			}
		}
		return out.NextToken, nil
	})
	if err != nil {
		return err
	}
	for i := range lists {
		if err := f.prefixListEntries(ctx, &lists[i]); err != nil && !isGone(err) {
			return err
		}
	}
	f.own.PrefixLists = lists
	return nil
}

func (f *fetch) prefixListEntries(ctx context.Context, l *topology.PrefixList) error {
	return pages(func(token *string) (*string, error) {
		out, err := f.client.GetManagedPrefixListEntries(ctx, &ec2.GetManagedPrefixListEntriesInput{
			PrefixListId: aws.String(l.PrefixListID), MaxResults: aws.Int32(pageOfPrefixLists), NextToken: token,
		})
		if err != nil {
			return nil, err
		}
		for _, e := range out.Entries {
			if p, ok := prefix(e.Cidr); ok {
				l.CIDRs = append(l.CIDRs, p)
			}
		}
		return out.NextToken, nil
	})
}

// sort gives the lists an order of their own: the API has none, and a refresh that finds
// what was there before is no change.
func (f *fetch) sort() {
	for _, t := range []*topology.Topology{f.own, f.shared} {
		by(t.AvailabilityZones, func(z *topology.AvailabilityZone) string { return z.ZoneID })
		by(t.VPCs, func(v *topology.VPC) string { return v.VPCID })
		by(t.Subnets, func(s *topology.Subnet) string { return s.SubnetID })
		sortInterfaces(t)
		by(t.RouteTables, func(r *topology.RouteTable) string { return r.RouteTableID })
		by(t.TransitGateways, func(g *topology.TransitGateway) string { return g.TransitGatewayID })
		for i := range t.TransitGateways {
			by(t.TransitGateways[i].Attachments, func(a *topology.TransitGatewayAttachment) string { return a.TransitGatewayAttachmentID })
			by(t.TransitGateways[i].RouteTables, func(r *topology.TransitGatewayRouteTable) string { return r.TransitGatewayRouteTableID })
		}
		by(t.VPCPeeringConnections, func(p *topology.VPCPeeringConnection) string { return p.VPCPeeringConnectionID })
		by(t.NATGateways, func(g *topology.NATGateway) string { return g.NATGatewayID })
		by(t.InternetGateways, func(g *topology.InternetGateway) string { return g.InternetGatewayID })
		by(t.EgressOnlyInternetGateways, func(g *topology.EgressOnlyInternetGateway) string { return g.EgressOnlyInternetGatewayID })
		by(t.VPNGateways, func(g *topology.VPNGateway) string { return g.VPNGatewayID })
		by(t.VPNConnections, func(v *topology.VPNConnection) string { return v.VPNConnectionID })
		by(t.LocalGateways, func(g *topology.LocalGateway) string { return g.LocalGatewayID })
		by(t.VPCEndpoints, func(e *topology.VPCEndpoint) string { return e.VPCEndpointID })
		by(t.PrefixLists, func(l *topology.PrefixList) string { return l.PrefixListID })
	}
}

func sortInterfaces(t *topology.Topology) {
	by(t.NetworkInterfaces, func(n *topology.NetworkInterface) string { return n.NetworkInterfaceID })
	by(t.Instances, func(i *topology.Instance) string { return i.InstanceID })
	t.Instances = slices.CompactFunc(t.Instances, func(a, b topology.Instance) bool { return a.InstanceID == b.InstanceID })
}

func by[E any](list []E, id func(*E) string) {
	slices.SortStableFunc(list, func(a, b E) int { return cmp.Compare(id(&a), id(&b)) })
}
