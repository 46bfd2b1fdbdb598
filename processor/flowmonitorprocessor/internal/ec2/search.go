// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"cmp"
	"context"
	"net/netip"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// maxSearches bounds the requests for the routes of one table. A table has 10,000 routes
// at most; halves of a thousand are found in some dozens of searches.
const maxSearches = 200

// searchRoutes reads the routes of a transit gateway's table. An answer has a thousand of
// them at most and need not have a token for the others: then the address space is halved
// until each half is answered whole.
func (f *fetch) searchRoutes(ctx context.Context, r *topology.TransitGatewayRouteTable) error {
	s := search{f: f, table: r.TransitGatewayRouteTableID, seen: map[topology.TransitGatewayRoute]bool{}, left: maxSearches}
	whole, err := s.some(ctx)
	if err == nil && !whole {
		if err = s.within(ctx, netip.MustParsePrefix("0.0.0.0/0")); err == nil {
			err = s.within(ctx, netip.MustParsePrefix("::/0"))
		}
	}
	if err != nil {
		return err
	}
	for route := range s.seen {
		r.Routes = append(r.Routes, route)
	}
	slices.SortFunc(r.Routes, func(a, b topology.TransitGatewayRoute) int {
		return cmp.Or(comparePrefix(a.DestinationCIDRBlock, b.DestinationCIDRBlock), cmp.Compare(a.PrefixListID, b.PrefixListID), cmp.Compare(a.Type, b.Type),
			cmp.Compare(a.TransitGatewayAttachmentID, b.TransitGatewayAttachmentID), cmp.Compare(a.State, b.State))
	})
	r.RoutesIncomplete = s.incomplete
	return nil
}

type search struct {
	f          *fetch
	table      string
	seen       map[topology.TransitGatewayRoute]bool
	left       int
	incomplete bool
}

// within searches a block, and where there is too much in it the block itself and its halves.
func (s *search) within(ctx context.Context, p netip.Prefix) error {
	whole, err := s.some(ctx, types.Filter{Name: aws.String("route-search.subnet-of-match"), Values: []string{p.String()}})
	if err != nil || whole {
		return err
	}
	if p.IsSingleIP() || s.left == 0 {
		s.incomplete = true // more routes to one address than an answer has, or an end of patience
		return nil
	}
	if whole, err = s.some(ctx, types.Filter{Name: aws.String("route-search.exact-match"), Values: []string{p.String()}}); err != nil {
		return err
	}
	s.incomplete = s.incomplete || !whole
	low, high := halves(p)
	if err := s.within(ctx, low); err != nil {
		return err
	}
	return s.within(ctx, high)
}

func halves(p netip.Prefix) (low, high netip.Prefix) {
	bits := p.Bits() + 1
	raw := p.Addr().AsSlice()
	raw[(bits-1)/8] |= 0x80 >> ((bits - 1) % 8)
	a, _ := netip.AddrFromSlice(raw)
	return netip.PrefixFrom(p.Addr(), bits), netip.PrefixFrom(a, bits)
}

// some searches by the filters, and tells whether the answer has all that they leave.
func (s *search) some(ctx context.Context, filters ...types.Filter) (whole bool, err error) {
	if s.left == 0 {
		return false, nil
	}
	s.left--
	filters = append(filters, types.Filter{Name: aws.String("state"), Values: []string{"active", "blackhole"}})
	more := false
	err = pages(func(token *string) (*string, error) {
		out, err := s.f.client.SearchTransitGatewayRoutes(ctx, &ec2.SearchTransitGatewayRoutesInput{
			TransitGatewayRouteTableId: aws.String(s.table), Filters: filters, MaxResults: aws.Int32(pageOfMost), NextToken: token,
		})
		if err != nil {
			return nil, err
		}
		for i := range out.Routes {
			s.add(&out.Routes[i])
		}
		more = aws.ToBool(out.AdditionalRoutesAvailable) && aws.ToString(out.NextToken) == ""
		return out.NextToken, nil
	})
	return !more, err
}

// add notes a route, once for each attachment that it leads to.
func (s *search) add(r *types.TransitGatewayRoute) {
	out := topology.TransitGatewayRoute{PrefixListID: same(r.PrefixListId)}
	out.DestinationCIDRBlock, _ = prefix(r.DestinationCidrBlock)
	if !out.DestinationCIDRBlock.IsValid() && out.PrefixListID == "" {
		return
	}
	switch r.State {
	case types.TransitGatewayRouteStateActive:
	case types.TransitGatewayRouteStateBlackhole:
		out.State = topology.RouteBlackhole
	default:
		return // not yet, or no longer
	}
	if r.Type == types.TransitGatewayRouteTypePropagated {
		out.Type = topology.RoutePropagated
	}
	if len(r.TransitGatewayAttachments) == 0 {
		s.seen[out] = true
		return
	}
	for _, a := range r.TransitGatewayAttachments {
		out.TransitGatewayAttachmentID = aws.ToString(a.TransitGatewayAttachmentId)
		s.seen[out] = true
	}
}
