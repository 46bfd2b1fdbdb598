// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// transit collects the transit gateways of an account in a Region.
type transit struct {
	gateways    map[string]*topology.TransitGateway
	attachments []attachmentAt                     // a peering of two gateways here is there twice, with one id
	subnets     map[string][]string                // of VPC attachments
	peers       map[string][]*types.PeeringTgwInfo // of peering attachments: both sides
}

type attachmentAt struct {
	gateway, table string // the route table that it is associated with
	attachment     topology.TransitGatewayAttachment
}

// peer gives the other side of a peering attachment.
func (t *transit) peer(a *attachmentAt) *types.PeeringTgwInfo {
	for _, side := range t.peers[a.attachment.TransitGatewayAttachmentID] {
		if side != nil && aws.ToString(side.TransitGatewayId) != a.gateway {
			return side
		}
	}
	return nil
}

// transitGateways reads transit gateways with all that belongs to them. One of which no
// route table is to be seen is left out: it is shared by another account, which shows its
// guests their own attachments only, or it routes nothing. Where a flow goes behind it is
// not known then, and is not guessed from the attachments.
func (f *fetch) transitGateways(ctx context.Context) error {
	t := &transit{gateways: map[string]*topology.TransitGateway{}, subnets: map[string][]string{}, peers: map[string][]*types.PeeringTgwInfo{}}
	if err := f.describeTransitGateways(ctx, t); err != nil || len(t.gateways) == 0 {
		return err
	}
	for _, read := range []func(context.Context, *transit) error{f.describeAttachments, f.describeVPCAttachments, f.describePeeringAttachments, f.describeTransitTables} {
		if err := read(ctx, t); err != nil {
			return err
		}
	}
	for i := range t.attachments {
		at := &t.attachments[i]
		g := t.gateways[at.gateway]
		if g == nil {
			continue
		}
		a := at.attachment
		a.SubnetIDs = sorted(t.subnets[a.TransitGatewayAttachmentID])
		if peer := t.peer(at); peer != nil {
			a.ResourceID, a.ResourceOwnerID, a.PeerRegion = aws.ToString(peer.TransitGatewayId), same(peer.OwnerId), same(peer.Region)
		}
		g.Attachments = append(g.Attachments, a)
		for j := range g.RouteTables {
			if r := &g.RouteTables[j]; r.TransitGatewayRouteTableID == at.table {
				r.Associations = append(r.Associations, a.TransitGatewayAttachmentID)
			}
		}
	}
	for _, g := range t.gateways {
		tables := g.RouteTables[:0]
		for _, r := range g.RouteTables {
			r.Associations = sorted(r.Associations)
			switch err := f.routesOf(ctx, &r); {
			case err == nil:
				tables = append(tables, r)
			case !isGone(err):
				return err
			}
		}
		if g.RouteTables = tables; len(tables) == 0 {
			continue
		}
		side := f.side(g.OwnerID)
		side.TransitGateways = append(side.TransitGateways, *g)
	}
	return nil
}

// routesOf reads the routes of a table; where not all can be had, the propagations stand in
// for some of them.
func (f *fetch) routesOf(ctx context.Context, r *topology.TransitGatewayRouteTable) error {
	if err := f.searchRoutes(ctx, r); err != nil || !r.RoutesIncomplete {
		return err
	}
	return f.propagations(ctx, r)
}

func (f *fetch) describeTransitGateways(ctx context.Context, t *transit) error {
	return pages(func(token *string) (*string, error) {
		out, err := f.client.DescribeTransitGateways(ctx, &ec2.DescribeTransitGatewaysInput{MaxResults: aws.Int32(pageOfMost), NextToken: token})
		if err != nil {
			return nil, err
		}
		for i := range out.TransitGateways {
			g := &out.TransitGateways[i]
			if g.TransitGatewayId != nil && g.State != types.TransitGatewayStateDeleted && g.State != types.TransitGatewayStateDeleting {
				t.gateways[*g.TransitGatewayId] = &topology.TransitGateway{TransitGatewayID: *g.TransitGatewayId, Region: f.region, OwnerID: same(g.OwnerId)}
			}
		}
		return out.NextToken, nil
	})
}

// describeAttachments gives all attachments, with the table that each is associated with.
func (f *fetch) describeAttachments(ctx context.Context, t *transit) error {
	return pages(func(token *string) (*string, error) {
		out, err := f.client.DescribeTransitGatewayAttachments(ctx, &ec2.DescribeTransitGatewayAttachmentsInput{MaxResults: aws.Int32(pageOfMost), NextToken: token})
		if err != nil {
			return nil, err
		}
		for i := range out.TransitGatewayAttachments {
			a := &out.TransitGatewayAttachments[i]
			if a.TransitGatewayAttachmentId == nil || !inForce(a.State) {
				continue
			}
			at := attachmentAt{gateway: aws.ToString(a.TransitGatewayId), attachment: topology.TransitGatewayAttachment{
				TransitGatewayAttachmentID: *a.TransitGatewayAttachmentId, ResourceType: attachmentType(a.ResourceType),
				ResourceID: aws.ToString(a.ResourceId), ResourceOwnerID: same(a.ResourceOwnerId),
			}}
			if s := a.Association; s != nil && s.State == types.TransitGatewayAssociationStateAssociated {
				at.table = aws.ToString(s.TransitGatewayRouteTableId)
			}
			t.attachments = append(t.attachments, at)
		}
		return out.NextToken, nil
	})
}

// inForce tells the attachments that traffic goes through.
func inForce(s types.TransitGatewayAttachmentState) bool {
	switch s {
	case types.TransitGatewayAttachmentStateAvailable, types.TransitGatewayAttachmentStateModifying, types.TransitGatewayAttachmentStateRollingBack:
		return true
	}
	return false
}

func attachmentType(t types.TransitGatewayAttachmentResourceType) topology.AttachmentType {
	switch t {
	case types.TransitGatewayAttachmentResourceTypeVpc:
		return topology.AttachmentVPC
	case types.TransitGatewayAttachmentResourceTypePeering, types.TransitGatewayAttachmentResourceTypeTgwPeering:
		return topology.AttachmentPeering
	case types.TransitGatewayAttachmentResourceTypeVpn, types.TransitGatewayAttachmentResourceTypeVpnConcentrator:
		return topology.AttachmentVPN
	case types.TransitGatewayAttachmentResourceTypeDirectConnectGateway:
		return topology.AttachmentDirectConnect
	case types.TransitGatewayAttachmentResourceTypeConnect:
		return topology.AttachmentConnect
	}
	return topology.AttachmentOther
}

// describeVPCAttachments gives the subnets in which attachments enter their VPCs.
func (f *fetch) describeVPCAttachments(ctx context.Context, t *transit) error {
	return pages(func(token *string) (*string, error) {
		out, err := f.client.DescribeTransitGatewayVpcAttachments(ctx, &ec2.DescribeTransitGatewayVpcAttachmentsInput{MaxResults: aws.Int32(pageOfMost), NextToken: token})
		if err != nil {
			return nil, err
		}
		for i := range out.TransitGatewayVpcAttachments {
			a := &out.TransitGatewayVpcAttachments[i]
			t.subnets[aws.ToString(a.TransitGatewayAttachmentId)] = a.SubnetIds
		}
		return out.NextToken, nil
	})
}

// describePeeringAttachments gives the transit gateways, and their Regions, at both sides.
func (f *fetch) describePeeringAttachments(ctx context.Context, t *transit) error {
	return pages(func(token *string) (*string, error) {
		out, err := f.client.DescribeTransitGatewayPeeringAttachments(ctx, &ec2.DescribeTransitGatewayPeeringAttachmentsInput{MaxResults: aws.Int32(pageOfMost), NextToken: token})
		if err != nil {
			return nil, err
		}
		for i := range out.TransitGatewayPeeringAttachments {
			a := &out.TransitGatewayPeeringAttachments[i]
			t.peers[aws.ToString(a.TransitGatewayAttachmentId)] = []*types.PeeringTgwInfo{a.RequesterTgwInfo, a.AccepterTgwInfo}
		}
		return out.NextToken, nil
	})
}

func (f *fetch) describeTransitTables(ctx context.Context, t *transit) error {
	return pages(func(token *string) (*string, error) {
		out, err := f.client.DescribeTransitGatewayRouteTables(ctx, &ec2.DescribeTransitGatewayRouteTablesInput{MaxResults: aws.Int32(pageOfMost), NextToken: token})
		if err != nil {
			return nil, err
		}
		for i := range out.TransitGatewayRouteTables {
			r := &out.TransitGatewayRouteTables[i]
			g := t.gateways[aws.ToString(r.TransitGatewayId)]
			if g != nil && r.TransitGatewayRouteTableId != nil && r.State != types.TransitGatewayRouteTableStateDeleted && r.State != types.TransitGatewayRouteTableStateDeleting {
				g.RouteTables = append(g.RouteTables, topology.TransitGatewayRouteTable{TransitGatewayRouteTableID: *r.TransitGatewayRouteTableId})
			}
		}
		return out.NextToken, nil
	})
}

func (f *fetch) propagations(ctx context.Context, r *topology.TransitGatewayRouteTable) error {
	return pages(func(token *string) (*string, error) {
		out, err := f.client.GetTransitGatewayRouteTablePropagations(ctx, &ec2.GetTransitGatewayRouteTablePropagationsInput{
			TransitGatewayRouteTableId: aws.String(r.TransitGatewayRouteTableID), MaxResults: aws.Int32(pageOfMost), NextToken: token,
		})
		if err != nil {
			return nil, err
		}
		for _, p := range out.TransitGatewayRouteTablePropagations {
			if p.State == types.TransitGatewayPropagationStateEnabled {
				r.Propagations = append(r.Propagations, aws.ToString(p.TransitGatewayAttachmentId))
			}
		}
		return out.NextToken, nil
	})
}
