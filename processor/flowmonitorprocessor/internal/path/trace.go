// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package path

import (
	"net/netip"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// The rules of a path, so that equal flows always have equal paths:
//
//   - It begins with the local end and finishes with the remote one: the interface, else
//     the host when only that is known, else the address; a service for itself. Hosts
//     are attributes of the ends (host.id) and no components of the path.
//   - Each end's subnet is next to it, once when both are in the same.
//   - Gateways, peerings, endpoints and appliances stand in the order crossed. A VPC stands
//     where a flow passes through it. An attachment of a transit gateway stands only
//     where nothing behind it is known (VPN, Direct Connect, Connect): a VPC's attachment is
//     already told by the VPC's subnet next to the gateway, since a VPC has only one.
//   - Where a component lies in another zone of the Region than the one before it, the pair
//     of zones stands before it; in another Region, the edge of that Region.

func component(kind, id string) string { return kind + "/" + id }

func (w *walk) cross(kind, id string) {
	if id != "" {
		w.path = append(w.path, component(kind, id))
	}
}

// keep marks what was crossed so far as certain, wherever the flow ends.
func (w *walk) keep() { w.kept = len(w.path) }

// beginAt writes the local end down.
func (w *walk) beginAt(s *start, local netip.Addr) {
	switch {
	case s.host.Exists():
		w.cross(flowattr.ComponentInstance, s.host.ID())
	case s.place.Interface.Exists():
		w.crossHolder(s.place.Interface)
	}
	if len(w.path) == 0 {
		w.crossAddress(local)
	}
	if s.place.Subnet != nil {
		w.cross(flowattr.ComponentSubnet, s.place.Subnet.ID)
	}
	w.keep()
}

// crossHolder writes an interface down; one that only a NAT gateway's address told of
// is the gateway.
func (w *walk) crossHolder(n topology.InterfaceNode) {
	if n.ID() == "" {
		w.cross(flowattr.ComponentNATGateway, n.Extra().NATGateway)
		return
	}
	w.cross(flowattr.ComponentENI, n.ID())
}

// enterZone notes that the flow goes on in the zone of s.
func (w *walk) enterZone(s *topology.SubnetNode) {
	if s == nil {
		return
	}
	if w.zone != nil && w.zone.Zone.Region == s.Zone.Region {
		if same, known := topology.SameZone(w.zone, s); known && !same {
			w.cross(flowattr.ComponentAZPair, zonePair(w.zone, s))
		}
	}
	w.zone = s
}

// zonePair names two zones in an order that does not depend on the direction.
func zonePair(a, b *topology.SubnetNode) string {
	x, y := a.Zone.ID, b.Zone.ID
	if x == "" || y == "" {
		x, y = a.ZoneName, b.ZoneName
	}
	if x > y {
		x, y = y, x
	}
	return x + ":" + y
}

func (w *walk) enterRegion(region string) {
	if region == "" || region == w.region {
		return
	}
	if w.region != "" {
		w.cross(flowattr.ComponentRegionEdge, region)
	}
	w.region, w.zone = region, nil
}

// finish writes the remote end down.
func (w *walk) finish(s *start, o outcome) {
	switch o.kind {
	case located:
		w.finishAt(s, o.place)
	case peerVPC:
		w.enterRegion(o.vpc.Region)
		w.cross(flowattr.ComponentVPC, o.vpc.ID)
		w.crossAddress(w.dst)
	case service:
		w.enterRegion(o.service.Region)
		w.cross(flowattr.ComponentService, o.service.Service)
	default:
		if o.vpc != nil && (len(w.path) == 0 || w.path[len(w.path)-1] != component(flowattr.ComponentVPC, o.vpc.ID)) {
			w.cross(flowattr.ComponentVPC, o.vpc.ID)
		}
		w.crossAddress(w.dst)
	}
}

func (w *walk) crossAddress(a netip.Addr) { w.cross(flowattr.ComponentAddress, a.String()) }

func (w *walk) finishAt(s *start, p topology.Place) {
	n := p.Interface
	if own := s.place.Interface; own.Exists() && n.Exists() {
		if n == own {
			w.path = w.path[:1] // it never left the interface
			return
		}
		if h := n.Instance(); h.Exists() && h == own.Instance() {
			w.path = append(w.path[:1], component(flowattr.ComponentENI, n.ID())) // nor the host
			return
		}
	}
	v := p.VPC()
	w.enterRegion(v.Region)
	if w.leftByInternet() && v.InternetGateway != "" {
		if gateway := component(flowattr.ComponentInternetGateway, v.InternetGateway); w.path[len(w.path)-1] != gateway {
			w.path = append(w.path, gateway)
		}
	}
	w.enterZone(p.Subnet)
	if sub := component(flowattr.ComponentSubnet, p.Subnet.ID); len(w.path) == 0 || w.path[len(w.path)-1] != sub {
		w.path = append(w.path, sub)
	}
	switch {
	case !n.Exists():
		w.crossAddress(w.dst)
	default:
		w.crossHolder(n)
		if e := n.Extra().Endpoint; e != nil {
			w.cross(flowattr.ComponentVPCEndpoint, e.ID)
			w.cross(flowattr.ComponentService, e.Service)
		}
	}
}

// leftByInternet tells whether the walk went out by a gateway to the Internet, so that
// it comes in by one too.
func (w *walk) leftByInternet() bool {
	for _, c := range w.path {
		for _, kind := range []string{flowattr.ComponentInternetGateway, flowattr.ComponentEgressOnlyInternetGateway} {
			if len(c) > len(kind) && c[:len(kind)] == kind && c[len(kind)] == '/' {
				return true
			}
		}
	}
	return false
}
