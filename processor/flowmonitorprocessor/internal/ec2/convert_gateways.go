// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"cmp"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

func routeTable(t *types.RouteTable) topology.RouteTable {
	out := topology.RouteTable{RouteTableID: aws.ToString(t.RouteTableId), VPCID: same(t.VpcId)}
	for _, a := range t.Associations {
		if s := a.AssociationState; s != nil && (s.State == types.RouteTableAssociationStateCodeDisassociated || s.State == types.RouteTableAssociationStateCodeFailed) {
			continue
		}
		out.Main = out.Main || aws.ToBool(a.Main)
		if id := same(a.SubnetId); id != "" {
			out.SubnetIDs = append(out.SubnetIDs, id)
		}
	}
	slices.Sort(out.SubnetIDs)
	for i := range t.Routes {
		if r, ok := route(&t.Routes[i]); ok {
			out.Routes = append(out.Routes, r)
		}
	}
	slices.SortStableFunc(out.Routes, func(a, b topology.Route) int {
		return cmp.Or(comparePrefix(a.DestinationCIDRBlock, b.DestinationCIDRBlock), comparePrefix(a.DestinationIPv6CIDRBlock, b.DestinationIPv6CIDRBlock),
			cmp.Compare(a.DestinationPrefixListID, b.DestinationPrefixListID), cmp.Compare(a.Target, b.Target))
	})
	return out
}

func route(r *types.Route) (topology.Route, bool) {
	if r.State == types.RouteStateFiltered {
		return topology.Route{}, false // the route server knows it; it is not in force
	}
	out := topology.Route{DestinationPrefixListID: same(r.DestinationPrefixListId)}
	out.DestinationCIDRBlock, _ = prefix(r.DestinationCidrBlock)
	out.DestinationIPv6CIDRBlock, _ = prefix(r.DestinationIpv6CidrBlock)
	if !out.DestinationCIDRBlock.IsValid() && !out.DestinationIPv6CIDRBlock.IsValid() && out.DestinationPrefixListID == "" {
		return out, false
	}
	if r.State == types.RouteStateBlackhole {
		out.State = topology.RouteBlackhole
	}
	// A route to an instance names its interface too; of a blackhole the target may be gone.
	out.Target = cmp.Or(same(r.GatewayId), same(r.NatGatewayId), same(r.TransitGatewayId), same(r.VpcPeeringConnectionId), same(r.EgressOnlyInternetGatewayId),
		same(r.LocalGatewayId), same(r.CarrierGatewayId), same(r.CoreNetworkArn), same(r.OdbNetworkArn), same(r.NetworkInterfaceId), same(r.InstanceId))
	return out, true
}

// attachedVPC gives the VPC of a gateway. EC2 says available of an internet gateway's
// attachment, and attached of others'.
func attachedVPC(list []types.InternetGatewayAttachment) string {
	for _, a := range list {
		if a.State == types.AttachmentStatusAttached || a.State == "available" {
			return same(a.VpcId)
		}
	}
	return ""
}

func vpnGateway(g *types.VpnGateway) (topology.VPNGateway, bool) {
	out := topology.VPNGateway{VPNGatewayID: aws.ToString(g.VpnGatewayId)}
	for _, a := range g.VpcAttachments {
		if a.State == types.AttachmentStatusAttached {
			out.VPCID = same(a.VpcId)
		}
	}
	return out, out.VPNGatewayID != "" && g.State != types.VpnStateDeleted
}

func vpnConnection(v *types.VpnConnection) (topology.VPNConnection, bool) {
	return topology.VPNConnection{
		VPNConnectionID: aws.ToString(v.VpnConnectionId), VPNGatewayID: aws.ToString(v.VpnGatewayId), TransitGatewayID: aws.ToString(v.TransitGatewayId),
		CustomerGatewayID: aws.ToString(v.CustomerGatewayId), State: string(v.State),
	}, v.VpnConnectionId != nil && v.State != types.VpnStateDeleted
}

func natGateway(g *types.NatGateway) (topology.NATGateway, bool) {
	out := topology.NATGateway{NATGatewayID: aws.ToString(g.NatGatewayId), SubnetID: same(g.SubnetId), VPCID: same(g.VpcId)}
	if g.ConnectivityType == types.ConnectivityTypePrivate {
		out.ConnectivityType = topology.ConnectivityPrivate
	}
	for _, a := range g.NatGatewayAddresses {
		n := topology.NATGatewayAddress{NetworkInterfaceID: aws.ToString(a.NetworkInterfaceId)}
		n.PrivateIP, _ = address(a.PrivateIp)
		n.PublicIP, _ = address(a.PublicIp)
		out.NATGatewayAddresses = append(out.NATGatewayAddresses, n)
	}
	// For an hour the API tells of gateways that are gone.
	return out, out.NATGatewayID != "" && g.State != types.NatGatewayStateDeleted && g.State != types.NatGatewayStateFailed
}

func endpoint(e *types.VpcEndpoint) (topology.VPCEndpoint, bool) {
	switch state(e.State) {
	case types.StateDeleted, types.StateDeleting, types.StateRejected, types.StateFailed, types.StateExpired:
		return topology.VPCEndpoint{}, false
	}
	out := topology.VPCEndpoint{
		VPCEndpointID: aws.ToString(e.VpcEndpointId), VPCID: same(e.VpcId), ServiceName: aws.ToString(e.ServiceName), OwnerID: same(e.OwnerId),
		NetworkInterfaceIDs: sorted(e.NetworkInterfaceIds), SubnetIDs: sorted(e.SubnetIds), RouteTableIDs: sorted(e.RouteTableIds),
	}
	switch e.VpcEndpointType {
	case types.VpcEndpointTypeGateway:
		out.VPCEndpointType = topology.EndpointGateway
	case types.VpcEndpointTypeGatewayLoadBalancer:
		out.VPCEndpointType = topology.EndpointGatewayLoadBalancer
	default: // Resource and ServiceNetwork have interfaces too
		out.VPCEndpointType = topology.EndpointInterface
	}
	return out, out.VPCEndpointID != ""
}

// state gives the constant for a word that the API also writes with a small letter.
func state(s types.State) types.State {
	if s != "" && s[0] >= 'a' && s[0] <= 'z' {
		return types.State(string(s[0]-'a'+'A') + string(s[1:]))
	}
	return s
}

func sorted(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

func peering(p *types.VpcPeeringConnection) (topology.VPCPeeringConnection, bool) {
	out := topology.VPCPeeringConnection{VPCPeeringConnectionID: aws.ToString(p.VpcPeeringConnectionId),
		RequesterVPCInfo: peerVPC(p.RequesterVpcInfo), AccepterVPCInfo: peerVPC(p.AccepterVpcInfo)}
	var code types.VpcPeeringConnectionStateReasonCode
	if p.Status != nil {
		code = p.Status.Code
	}
	out.Status = string(code)
	switch code {
	case types.VpcPeeringConnectionStateReasonCodeDeleted, types.VpcPeeringConnectionStateReasonCodeRejected,
		types.VpcPeeringConnectionStateReasonCodeFailed, types.VpcPeeringConnectionStateReasonCodeExpired:
		return out, false // the API tells of them for a while
	}
	return out, out.VPCPeeringConnectionID != "" && out.RequesterVPCInfo.VPCID != "" && out.AccepterVPCInfo.VPCID != ""
}

func peerVPC(v *types.VpcPeeringConnectionVpcInfo) topology.PeeringVPCInfo {
	if v == nil {
		return topology.PeeringVPCInfo{}
	}
	out := topology.PeeringVPCInfo{VPCID: same(v.VpcId), Region: same(v.Region), OwnerID: same(v.OwnerId)}
	add := func(s *string) {
		if p, ok := prefix(s); ok && !contains(out.CIDRBlocks, p) {
			out.CIDRBlocks = append(out.CIDRBlocks, p)
		}
	}
	add(v.CidrBlock)
	for _, b := range v.CidrBlockSet {
		add(b.CidrBlock)
	}
	for _, b := range v.Ipv6CidrBlockSet {
		add(b.Ipv6CidrBlock)
	}
	return out
}
