// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package path

import (
	"net/netip"
	"slices"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// maxHops bounds a walk. A flow through two inspection VPCs and an egress VPC has nine
// hops; what comes past the bound is a loop.
const maxHops = 32

// outcome is what a walk arrived at.
type outcome struct {
	kind    kind
	place   topology.Place      // located
	vpc     *topology.VPCNode   // peerVPC; or, of nothing, the VPC that the flow was last known to enter
	service topology.ServiceRef // service
	zone    bool                // service: announced in a local zone
	region  string              // of nothing: the Region whose edge the flow was last known to reach
	why     string              // nothing: the reason
}

type kind uint8

const (
	nothing  kind = iota // not found
	located              // an interface or a subnet
	peerVPC              // a peered VPC, of which no more is known than that
	service              // an AWS service
	internet             // an address of the Internet
)

func unknown() outcome { return outcome{why: flowattr.UnresolvedUnknown} }

// walk follows the routes from the local end to an address, and writes down what it crosses.
type walk struct {
	r   *Resolver
	dst netip.Addr

	vpc     *topology.VPCNode // where the walk is
	table   *topology.RouteTableNode
	visited []*topology.RouteTableNode
	zone    *topology.SubnetNode // in the zone where the walk is last known to be
	region  string
	transit bool // a transit gateway was crossed
	forked  bool // this walk is one of several ways

	path []string
	kept int // of path: what stands even if the destination is not found beyond
}

// remote walks from a start with a VPC to dst.
func (r *Resolver) remote(s *start, local, dst netip.Addr) (outcome, *walk) {
	w := &walk{r: r, dst: dst, vpc: s.vpc, table: s.table, zone: s.zone, region: s.vpc.Region}
	w.beginAt(s, local)
	o := w.run()
	if o.kind == nothing {
		w.path, o.region = w.path[:w.kept], w.region
	}
	return o, w
}

func (w *walk) run() outcome {
	for hop := range maxHops {
		if w.table == nil {
			return w.withoutRoutes()
		}
		if slices.Contains(w.visited, w.table) && hop > 0 {
			return unknown() // a loop, or an appliance in a subnet that routes back to it
		}
		w.visited = append(w.visited, w.table)
		route := w.table.Lookup(w.dst)
		if route == nil || route.Blackhole || route.Uncertain {
			return unknown()
		}
		if o, done := w.follow(route); done {
			return o
		}
	}
	return unknown()
}

// follow takes one hop. done is false when the walk goes on at another route table.
func (w *walk) follow(route *topology.RouteNode) (o outcome, done bool) {
	switch route.Kind {
	case topology.TargetLocal:
		return w.inside(), true
	case topology.TargetTransitGateway:
		return w.throughTransitGateway(route.TransitGateway)
	case topology.TargetPeering:
		return w.throughPeering(route.Peering), true
	case topology.TargetNATGateway:
		return w.throughNAT(route.NATGateway)
	case topology.TargetInternetGateway:
		return w.toInternet(flowattr.ComponentInternetGateway, route.ID), true
	case topology.TargetEgressOnlyInternetGateway:
		return w.toInternet(flowattr.ComponentEgressOnlyInternetGateway, route.ID), true
	case topology.TargetEndpoint:
		return w.throughEndpoint(route.Endpoint)
	case topology.TargetVPNGateway:
		w.cross(flowattr.ComponentVPNGateway, route.ID)
		w.keep()
	case topology.TargetLocalGateway:
		w.cross(flowattr.ComponentLocalGateway, route.ID)
		w.keep()
	case topology.TargetInterface:
		return w.throughInterface(route.Interface)
	}
	return unknown(), true
}

// inside looks in the VPC where the walk is.
func (w *walk) inside() outcome {
	if p, ok := w.r.ix.In(w.vpc, w.dst); ok && (p.Interface.Exists() || !w.vpc.IsResolver(w.dst)) {
		return outcome{kind: located, place: p}
	}
	if w.vpc.IsResolver(w.dst) {
		return outcome{kind: service, service: topology.ServiceRef{Service: topology.ServiceResolver, Region: w.vpc.Region}}
	}
	o := unknown()
	o.vpc = w.vpc
	return o
}

func (w *walk) throughPeering(p *topology.PeeringNode) outcome {
	if p == nil {
		return unknown()
	}
	w.cross(flowattr.ComponentVPCPeering, p.ID)
	w.keep()
	peer := p.Other(w.vpc)
	if !peer.Described && len(peer.CIDRs) == 0 { // as far as anybody knows, it may have any address
		return outcome{kind: peerVPC, vpc: peer}
	}
	if q, ok := w.r.ix.In(peer, w.dst); ok {
		return outcome{kind: located, place: q}
	}
	if peer.Contains(w.dst) {
		return outcome{kind: peerVPC, vpc: peer}
	}
	return unknown() // a peering leads to the peer's own addresses and no further
}

// nat64 is the prefix behind which a NAT gateway translates IPv6 to IPv4 (RFC 6052).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

func (w *walk) throughNAT(g *topology.NATGatewayNode) (outcome, bool) {
	if g == nil {
		return unknown(), true
	}
	w.enterZone(g.Subnet)
	w.cross(flowattr.ComponentNATGateway, g.ID)
	if nat64.Contains(w.dst) {
		b := w.dst.As16()
		w.dst = netip.AddrFrom4([4]byte(b[12:]))
	}
	if g.Subnet != nil && g.Subnet.Table != nil {
		next := g.Subnet.Table.Lookup(w.dst)
		if g.Private || next == nil || next.NATGateway != g {
			w.table = g.Subnet.Table
			return outcome{}, false
		}
	}
	if g.Private {
		return unknown(), true
	}
	// The table of its subnet is not described, or as if it were its clients': a public
	// gateway leads to the Internet, or it would not work.
	return w.toInternet(flowattr.ComponentInternetGateway, g.VPC.InternetGateway), true
}

// toInternet leaves the VPC. A private address cannot be out there: the packet is
// dropped, or never came here (a container's neighbour); then the gateways are not
// said to be crossed.
func (w *walk) toInternet(component, id string) outcome {
	if !isPublic(w.dst) || nat64.Contains(w.dst) { // only a NAT gateway translates those
		return unknown()
	}
	w.cross(component, id)
	return w.public()
}

// public finds what a public address is.
func (w *walk) public() outcome {
	return w.r.public(w.dst)
}

func (r *Resolver) public(dst netip.Addr) outcome {
	switch p, n := r.ix.Public(dst); n {
	case 0:
	case 1:
		return outcome{kind: located, place: p}
	default:
		return outcome{why: flowattr.UnresolvedAmbiguous}
	}
	switch v, n := r.ix.PublicVPC(dst); n {
	case 0:
	case 1:
		return outcome{kind: peerVPC, vpc: v} // as behind a peering: the VPC's, and no more is known
	default:
		return outcome{why: flowattr.UnresolvedAmbiguous}
	}
	if ref, ok := r.ix.Service(dst); ok {
		return outcome{kind: service, service: ref}
	}
	if r.ranges != nil {
		if rg, ok := r.ranges.Lookup(dst); ok {
			return outcome{kind: service, service: topology.ServiceRef{Service: rg.Service, Region: rg.Region}, zone: rg.LocalZone()}
		}
	}
	if isPublic(dst) {
		return outcome{kind: internet}
	}
	return unknown()
}

func (w *walk) throughEndpoint(e *topology.EndpointNode) (outcome, bool) {
	if e == nil {
		return unknown(), true
	}
	if e.Type == topology.EndpointGateway {
		w.cross(flowattr.ComponentVPCEndpoint, e.ID)
		return outcome{kind: service, service: topology.ServiceRef{Service: e.Service, Region: e.Region}}, true
	}
	// A gateway load balancer's endpoint: the packet comes back there after inspection.
	sub, table := w.entry(e.Subnets)
	w.enterZone(sub)
	w.cross(flowattr.ComponentVPCEndpoint, e.ID)
	if table == nil {
		return w.fork(e.Subnets), true
	}
	w.table = table
	return outcome{}, false
}

// throughInterface passes an appliance: a firewall, a NAT instance.
func (w *walk) throughInterface(n topology.InterfaceNode) (outcome, bool) {
	if !n.Exists() {
		return unknown(), true
	}
	s := n.Subnet()
	if p, ok := w.r.ix.In(s.VPC, w.dst); ok && p.Interface == n {
		return outcome{kind: located, place: p}, true
	}
	w.enterZone(s)
	w.cross(flowattr.ComponentENI, n.ID())
	if s.Table == nil {
		return unknown(), true
	}
	w.vpc, w.table = s.VPC, s.Table
	return outcome{}, false
}
