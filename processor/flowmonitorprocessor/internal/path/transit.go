// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package path

import (
	"slices"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// throughTransitGateway follows the route tables of transit gateways: in by the
// attachment of the walk's VPC, out by the one that the route names, over peerings to
// other transit gateways. done is false when the flow passes on through a VPC.
func (w *walk) throughTransitGateway(g *topology.TransitGatewayNode) (o outcome, done bool) {
	w.transit = true
	w.cross(flowattr.ComponentTransitGateway, g.ID)
	w.keep()
	var in *topology.AttachmentNode
	for _, a := range g.Attachments {
		if a.VPC == w.vpc {
			in = a
		}
	}
	var passed []*topology.TransitGatewayTableNode
	for {
		if !g.Described || in == nil {
			return unknown(), true
		}
		if !g.HasTables {
			return w.attached(g, in), true
		}
		if in.Table == nil || slices.Contains(passed, in.Table) {
			return unknown(), true // gateways that send it to each other
		}
		passed = append(passed, in.Table)
		route := in.Table.Lookup(w.dst)
		if route == nil || route.Blackhole || route.Uncertain {
			return unknown(), true
		}
		switch out := route.Attachment; out.Type {
		case topology.AttachmentVPC:
			return w.arrive(out)
		case topology.AttachmentPeering:
			g, in = w.overPeering(g, out)
			if g == nil {
				return unknown(), true
			}
		default:
			// What lies behind is not known; the attachment is the only name of it.
			w.cross(flowattr.ComponentTransitGatewayAttachment, out.ID)
			w.keep()
			return unknown(), true
		}
	}
}

// overPeering crosses to the peer transit gateway, and gives the attachment by which
// the flow comes in there.
func (w *walk) overPeering(from *topology.TransitGatewayNode, out *topology.AttachmentNode) (*topology.TransitGatewayNode, *topology.AttachmentNode) {
	w.cross(flowattr.ComponentTransitGatewayPeering, out.ID)
	peer := out.Peer
	if peer == nil {
		w.enterRegion(out.PeerRegion)
		w.keep()
		return nil, nil
	}
	region := peer.Region
	if region == "" {
		region = out.PeerRegion
	}
	w.enterRegion(region)
	w.cross(flowattr.ComponentTransitGateway, peer.ID)
	w.keep()
	return peer, peeringEntry(peer, from, out)
}

// peeringEntry gives the peer's side of a peering. It has one id at both sides; a
// description may give each side its own.
func peeringEntry(peer, from *topology.TransitGatewayNode, out *topology.AttachmentNode) (in *topology.AttachmentNode) {
	for _, a := range peer.Attachments {
		if a.ID == out.ID || in == nil && a.Type == topology.AttachmentPeering && a.Peer == from {
			in = a
		}
	}
	return in
}

// arrive enters a VPC by its attachment.
func (w *walk) arrive(a *topology.AttachmentNode) (outcome, bool) {
	v := a.VPC
	if v == nil {
		return w.beyond(), true
	}
	if v.Described && v.Contains(w.dst) {
		return w.arriveInside(a)
	}
	// A VPC on the way: inspection, or the way out to the Internet.
	w.enterRegion(v.Region)
	if !v.Described {
		w.cross(flowattr.ComponentVPC, v.ID)
		w.keep()
		if v.Contains(w.dst) {
			return outcome{why: flowattr.UnresolvedUnknown, vpc: v}, true
		}
		return w.beyond(), true
	}
	w.vpc = v
	sub, table := w.entry(a.Subnets)
	w.enterZone(sub)
	w.cross(flowattr.ComponentVPC, v.ID)
	w.keep()
	switch {
	case table != nil:
		w.table = table
		return outcome{}, false
	case !routed(a.Subnets):
		return w.beyond(), true
	}
	return w.fork(a.Subnets), true
}

// arriveInside ends in the VPC that has the address, unless a table of the subnets where
// it is entered says that an appliance comes first.
func (w *walk) arriveInside(a *topology.AttachmentNode) (outcome, bool) {
	w.vpc = a.VPC
	sub, table := w.entry(a.Subnets)
	if table == nil {
		if sub == nil && routed(a.Subnets) {
			return w.fork(a.Subnets), true
		}
		return w.inside(), true
	}
	if route := table.Lookup(w.dst); route == nil || route.Kind == topology.TargetLocal {
		return w.inside(), true
	}
	w.enterRegion(a.VPC.Region)
	w.enterZone(sub)
	w.table = table
	return outcome{}, false
}

// routed tells whether the route tables of all subnets are described.
func routed(subnets []*topology.SubnetNode) bool {
	for _, s := range subnets {
		if s.Table == nil {
			return false
		}
	}
	return len(subnets) > 0
}

// beyond is what lies behind a VPC of whose routes nothing is known: a public address is
// what it is wherever the flow leaves, a private one may be anywhere.
func (w *walk) beyond() outcome {
	if isPublic(w.dst) {
		return w.r.unrouted(w.dst)
	}
	return unknown()
}

// attached stands in for the route tables where a transit gateway has none described:
// the only VPC attached to it, or to a peer of it, that has the address.
func (w *walk) attached(g *topology.TransitGatewayNode, in *topology.AttachmentNode) outcome {
	var c candidates
	c.attached(w.r, g, in, w.dst)
	found, n := c.only()
	switch {
	case n == 0:
		return unknown()
	case n > 1:
		return outcome{why: flowattr.UnresolvedAmbiguous}
	}
	w.takeAttachment(g, found.way)
	return found.outcome()
}

// takeAttachment crosses what lies behind the transit gateway on the way to a candidate.
func (w *walk) takeAttachment(g *topology.TransitGatewayNode, way any) {
	if a, ok := way.(*topology.AttachmentNode); ok && a.Type == topology.AttachmentPeering {
		w.overPeering(g, a)
	}
}
