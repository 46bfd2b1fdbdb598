// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package path

import (
	"net/netip"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// withoutRoutes stands in for a route table that is not described: the local VPC first,
// then the only VPC that has the address among those connected by an active peering or a
// transit gateway, then what a public address is. A private address that only
// unconnected VPCs have is ambiguous: which of them would be a guess.
func (w *walk) withoutRoutes() outcome {
	if w.vpc.Contains(w.dst) {
		return w.inside()
	}
	var c candidates
	for _, p := range w.vpc.Peerings {
		c.vpc(w.r, p.Other(w.vpc), w.dst, p)
	}
	for _, own := range w.vpc.TransitGateways {
		c.attached(w.r, own.TransitGateway, own, w.dst)
	}
	found, n := c.only()
	switch {
	case n > 1:
		return outcome{why: flowattr.UnresolvedAmbiguous}
	case n == 1:
		switch way := found.way.(type) {
		case *topology.PeeringNode:
			w.cross(flowattr.ComponentVPCPeering, way.ID)
		case *topology.AttachmentNode:
			w.transit = true
			w.cross(flowattr.ComponentTransitGateway, way.TransitGateway.ID)
			w.takeAttachment(way.TransitGateway, way)
		}
		return found.outcome()
	}
	return w.r.unrouted(w.dst)
}

// unrouted finds what an address is when it is not known which way it is reached: only
// one that means the same everywhere can be told. VPCs may use public IPv4 blocks for
// themselves, and then such an address means two things.
func (r *Resolver) unrouted(dst netip.Addr) outcome {
	if p, n := r.ix.Public(dst); n == 1 {
		return outcome{kind: located, place: p}
	}
	if _, n := r.holder(dst, func(topology.Place) bool { return true }); n > 0 {
		return outcome{why: flowattr.UnresolvedAmbiguous}
	}
	return r.public(dst)
}

// candidates collects the VPCs that may have an address.
type candidates struct {
	list  []candidate
	maybe bool // one more, of which no address is known, may have it
}

type candidate struct {
	place topology.Place
	peer  *topology.VPCNode // a peer that is not described, instead of a place
	way   any               // *topology.PeeringNode or *topology.AttachmentNode; nil when there are two
}

// vpc adds v if it has the address. A VPC that can be reached in two ways is one
// candidate, of which the way is not known.
func (c *candidates) vpc(r *Resolver, v *topology.VPCNode, a netip.Addr, way any) {
	if v == nil {
		return
	}
	found := candidate{way: way}
	if v.Described {
		p, ok := r.ix.In(v, a)
		if !ok {
			return
		}
		found.place = p
	} else {
		if !v.Contains(a) {
			c.maybe = c.maybe || len(v.CIDRs) == 0
			return
		}
		found.peer = v
	}
	for i := range c.list {
		if c.list[i].place == found.place && c.list[i].peer == found.peer {
			c.list[i].way = nil
			return
		}
	}
	c.list = append(c.list, found)
}

// attached adds the VPCs attached to a transit gateway and to its peers, but for the
// one that the flow comes from. Where a gateway's route tables are described, they say
// which one it is.
func (c *candidates) attached(r *Resolver, g *topology.TransitGatewayNode, in *topology.AttachmentNode, a netip.Addr) {
	for _, out := range c.ways(g, in, a) {
		switch out.Type {
		case topology.AttachmentVPC:
			c.vpc(r, out.VPC, a, out)
		case topology.AttachmentPeering:
			if out.Peer == nil || !out.Peer.Described {
				c.maybe = true
				continue
			}
			for _, far := range c.ways(out.Peer, peeringEntry(out.Peer, g, out), a) {
				if far.Type == topology.AttachmentVPC {
					c.vpc(r, far.VPC, a, out)
				}
			}
		}
	}
}

// ways gives the attachments by which what came in by one may go out.
func (c *candidates) ways(g *topology.TransitGatewayNode, in *topology.AttachmentNode, a netip.Addr) []*topology.AttachmentNode {
	if !g.HasTables {
		others := make([]*topology.AttachmentNode, 0, len(g.Attachments))
		for _, out := range g.Attachments {
			if out != in {
				others = append(others, out)
			}
		}
		return others
	}
	if in == nil || in.Table == nil {
		return nil // what comes in is dropped
	}
	route := in.Table.Lookup(a)
	switch {
	case route == nil || route.Blackhole:
		return nil
	case route.Uncertain:
		c.maybe = true
		return nil
	}
	return []*topology.AttachmentNode{route.Attachment}
}

// only gives the candidate if there is one; n counts them, with the one that nothing is
// known of. A subnet of a VPC whose
// interfaces are listed gives way to an interface, as in [Resolver.holder].
func (c *candidates) only() (found candidate, n int) {
	exact := false
	for _, x := range c.list {
		exact = exact || x.place.Interface.Exists()
	}
	for _, x := range c.list {
		if exact && x.peer == nil && !x.place.Interface.Exists() && x.place.VPC().ListsInterfaces() {
			continue
		}
		found, n = x, n+1
	}
	if n > 0 && c.maybe {
		n++
	}
	return found, n
}

func (x candidate) outcome() outcome {
	if x.peer != nil {
		return outcome{kind: peerVPC, vpc: x.peer}
	}
	return outcome{kind: located, place: x.place}
}
