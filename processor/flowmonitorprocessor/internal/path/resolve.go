// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package path

import (
	"net/netip"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// Flow is what of a flow tells where its ends are. Addresses are unmapped; the zero Addr is
// an end that cannot be resolved.
type Flow struct {
	Local, Remote netip.Addr
	// What the socket itself held, where network address translation changed it.
	NATLocal, NATRemote netip.Addr
}

// Resolve says what is known of a flow between two addresses, seen at the host that o
// describes.
func (r *Resolver) Resolve(o *Origin, local, remote netip.Addr) Result {
	return r.ResolveFlow(o, Flow{Local: local, Remote: remote})
}

// ResolveFlow says what is known of a flow, seen at the host that o describes. Its real
// addresses decide; where one does not resolve, the one that the socket held may.
func (r *Resolver) ResolveFlow(o *Origin, f Flow) Result {
	if f.Local.IsLoopback() || f.Remote.IsLoopback() {
		return Result{Category: flowattr.CategoryUnclassified}
	}
	if !f.Local.IsValid() {
		if f.Local = f.NATLocal; !usable(f.Local) {
			return Result{Category: flowattr.CategoryUnclassified, Unresolved: flowattr.UnresolvedUnknown, OffHost: true}
		}
	}
	if nearHost(f.Local) {
		return Result{Category: flowattr.CategoryUnclassified, OffHost: true}
	}
	s, local := r.start(o, f.Local, f.NATLocal)
	res := Result{Local: r.describeStart(&s, o), OffHost: true}
	if !f.Remote.IsValid() && usable(f.NATRemote) {
		f.Remote = f.NATRemote
	}
	switch {
	case !f.Remote.IsValid():
		w := &walk{}
		w.beginAt(&s, local)
		res.Path, res.Category, res.Unresolved = w.path, flowattr.CategoryUnclassified, flowattr.UnresolvedUnknown
	case f.Local == f.Remote:
		r.toItself(&res, &s, local)
	case nearHost(f.Remote):
		r.toLink(&res, &s, local, f.Remote)
	default:
		r.toRemote(&res, &s, local, f.Remote, f.NATRemote)
	}
	return res
}

// start finds the local end by its real address, or else by the one that the socket held: a
// host knows its own interfaces by the latter when the address is translated outside of it.
func (r *Resolver) start(o *Origin, local, held netip.Addr) (start, netip.Addr) {
	s := r.local(o, local)
	if s.found() && !s.host.Exists() || !usable(held) {
		return s, local
	}
	if other := r.local(o, held); other.found() && (!s.found() || !other.host.Exists()) {
		return other, held
	}
	return s, local
}

// usable tells an address that may be found in a topology.
func usable(a netip.Addr) bool { return a.IsValid() && !a.IsLoopback() && !nearHost(a) }

// ResolveLocal says what is known of an end that has no other, such as a listener.
func (r *Resolver) ResolveLocal(o *Origin, local netip.Addr) Result {
	if !local.IsValid() || local.IsLoopback() || nearHost(local) && !local.IsUnspecified() {
		return Result{}
	}
	s := r.local(o, local)
	res := Result{Local: r.describeStart(&s, o), OffHost: true, Unresolved: s.why}
	if local.IsUnspecified() {
		res.Unresolved = "" // a listener on every address is on the host, wherever that is
	}
	return res
}

// toItself is a flow between two sockets with the same address.
func (r *Resolver) toItself(res *Result, s *start, a netip.Addr) {
	if !s.found() {
		res.Category, res.Unresolved = flowattr.CategoryUnclassified, s.why
		res.Path = []string{component(flowattr.ComponentAddress, a.String())}
		return
	}
	res.Remote = res.Local
	w := &walk{}
	w.beginAt(s, a)
	res.Path = w.path[:1]
	res.Category = category(&res.Local, s, outcome{kind: located, place: s.place}, false)
	if s.place.Subnet == nil { // known by its host only: both ends are there
		res.Category = flowattr.CategoryIntraAZ
		if s.zone != nil && s.zone.Zone.Type == topology.ZoneLocal {
			res.Category = flowattr.CategoryLocalZone
		}
	}
}

// toLink is a flow to an address that means something on this link only: the instance
// metadata service, the time service, DNS. It never reaches the VPC, and is nothing that
// could not be resolved.
func (r *Resolver) toLink(res *Result, s *start, local, remote netip.Addr) {
	res.Unresolved = s.why
	res.Category = flowattr.CategoryUnclassified
	w := &walk{dst: remote, region: res.Local.Region}
	w.beginAt(s, local)
	w.path = w.path[:1]
	if ref, ok := r.ix.Service(remote); ok { // VPC Lattice has link-local addresses
		o := outcome{kind: service, service: ref}
		res.Remote = r.describeOutcome(o, remote)
		res.Category = category(&res.Local, s, o, false)
		w.finish(s, o)
	} else {
		w.crossAddress(remote)
	}
	res.Path = w.path
}

func (r *Resolver) toRemote(res *Result, s *start, local, remote, held netip.Addr) {
	o, w := r.walkTo(res, s, local, remote)
	if o.kind == nothing && usable(held) {
		// What the flow really goes to is not known, but what its socket was told.
		if other, way := r.walkTo(res, s, local, held); other.kind != nothing {
			o, w = other, way
		}
	}
	res.Remote = r.describeOutcome(o, w.dst)
	res.Category = category(&res.Local, s, o, w.transit)
	if o.kind == nothing && res.Category == flowattr.CategoryInterRegion {
		res.Remote.Region = o.region // to its edge, at least
	}
	w.finish(s, o)
	res.Path = w.path
	res.Unresolved = reason(s.why, o, res.Category)
	if res.Unresolved == "" && !regionsKnown(&res.Local, o) {
		res.Unresolved = flowattr.UnresolvedUnknown
	}
}

// walkTo finds the remote end.
func (r *Resolver) walkTo(res *Result, s *start, local, remote netip.Addr) (o outcome, w *walk) {
	if s.vpc != nil {
		o, w = r.remote(s, local, remote)
	} else {
		// A private address means something only within a VPC: while the local end's is not
		// known, only a public one can be resolved.
		if o = r.unrouted(remote); o.kind == nothing && !isPublic(remote) {
			o.why = s.why
		}
		w = &walk{r: r, dst: remote, region: res.Local.Region}
		w.beginAt(s, local)
	}
	if overlay(s, o, remote) {
		o, w.path, w.transit = unknown(), w.path[:1], false
	}
	return o, w
}

// overlay tells a flow that may never have met the host's routes: from an address that
// none of its interfaces has (a container's) to a private one that no interface has
// either. Both may belong to a network that only the hosts know.
func overlay(s *start, o outcome, remote netip.Addr) bool {
	if !s.host.Exists() || isPublic(remote) {
		return false
	}
	return o.kind != service && (o.kind != located || !o.place.Interface.Exists())
}

// reason says why an end is unresolved. Ambiguous is the stronger word of the two: the
// address is known, and to more than one.
func reason(local string, o outcome, category string) string {
	remote := ""
	if o.kind == nothing && category != flowattr.CategoryInterRegion {
		remote = o.why
	}
	if local == flowattr.UnresolvedAmbiguous || remote == flowattr.UnresolvedAmbiguous {
		return flowattr.UnresolvedAmbiguous
	}
	if local != "" {
		return local
	}
	return remote
}

func (r *Resolver) describeOutcome(o outcome, dst netip.Addr) End {
	switch o.kind {
	case located:
		return r.describe(o.place)
	case peerVPC:
		return End{Account: o.vpc.Account, Region: o.vpc.Region, VPC: o.vpc.ID}
	case service:
		return End{Service: o.service.Service, Region: o.service.Region}
	case nothing:
		// The flow was routed into it. It ends there if the address is the VPC's; else the
		// VPC is only on the way.
		if o.vpc != nil && o.vpc.Contains(dst) {
			return End{Account: o.vpc.Account, Region: o.vpc.Region, VPC: o.vpc.ID}
		}
	}
	return End{}
}
