// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package path

import (
	"net/netip"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// start is the local end as the place where a walk begins.
type start struct {
	place topology.Place // Subnet is nil when the end is known by its host only, or not at all
	host  topology.InstanceNode
	vpc   *topology.VPCNode // nil: no walk is possible
	table *topology.RouteTableNode
	zone  *topology.SubnetNode // a subnet in the end's zone; nil when the zone is not known
	why   string               // the reason when nothing was found, as in flowattr
}

func (s *start) found() bool { return s.why == "" }

func at(p topology.Place) start {
	return start{place: p, vpc: p.Subnet.VPC, table: p.Subnet.Table, zone: p.Subnet}
}

// local finds the local end. The host that the resource names, when the topology knows
// it, decides; otherwise whatever holds the address and does not contradict the
// resource, if there is exactly one such thing.
func (r *Resolver) local(o *Origin, a netip.Addr) start {
	host := r.ix.Instance(o.Host)
	if host.Exists() && host.First().Exists() {
		return r.onHost(o, host, a)
	}
	p, n := r.holder(a, func(p topology.Place) bool { return r.consistent(o, p, isInstanceID(o.Host)) })
	if n == 0 {
		if q, m := r.ix.Public(a); m == 1 && r.consistent(o, q, isInstanceID(o.Host)) {
			p, n = q, 1
		}
	}
	switch n {
	case 0:
		return start{why: flowattr.UnresolvedUnknown}
	case 1:
		return at(p)
	}
	return start{why: flowattr.UnresolvedAmbiguous}
}

// onHost finds the interface of a known host that has the address. An address that none
// of them has (a container behind the host's own translation, a wildcard listener) is
// still on that host: it is located as far as all interfaces of the host agree.
func (r *Resolver) onHost(o *Origin, host topology.InstanceNode, a netip.Addr) start {
	var found topology.Place
	n := 0
	for i := range host.Interfaces() {
		if p, ok := r.ix.In(i.Subnet().VPC, a); ok && p.Interface == i {
			found, n = p, n+1
		}
	}
	if n == 0 {
		// An interface of which nobody said whose it is, in a VPC of the host.
		found, n = r.holder(a, func(p topology.Place) bool {
			return p.Interface.Exists() && !p.Interface.Instance().Exists() && p.Interface.Plain() &&
				r.consistent(o, p, true) && inVPCOf(host, p.VPC())
		})
	}
	switch {
	case n == 1:
		return at(found)
	case n > 1:
		return start{why: flowattr.UnresolvedAmbiguous}
	}
	return hostOnly(host)
}

func inVPCOf(host topology.InstanceNode, v *topology.VPCNode) bool {
	for i := range host.Interfaces() {
		if i.Subnet().VPC == v {
			return true
		}
	}
	return false
}

func hostOnly(host topology.InstanceNode) start {
	first := host.First().Subnet()
	s := start{host: host, vpc: first.VPC, table: first.Table, zone: first}
	oneSubnet := true
	for i := range host.Interfaces() {
		other := i.Subnet()
		oneSubnet = oneSubnet && other == first
		if other.VPC != first.VPC {
			s.vpc = nil
		}
		if other.Table != first.Table {
			s.vpc = nil // which way its traffic goes is not known
		}
		if same, known := topology.SameZone(first, other); !known || !same {
			s.zone = nil
		}
	}
	if oneSubnet {
		s.place.Subnet = first
	}
	return s
}

// consistent tells whether the resource leaves it possible that its host holds p.
// strictHost: the resource names an EC2 instance, so that another's interface is out.
func (r *Resolver) consistent(o *Origin, p topology.Place, strictHost bool) bool {
	s := p.Subnet
	if o.Region != "" && s.VPC.Region != "" && o.Region != s.VPC.Region {
		return false
	}
	if o.Account != "" && !mayOwn(o.Account, p) {
		return false
	}
	if o.Zone != "" && o.Account != "" {
		if name := r.ix.ZoneName(s, o.Account); name != "" && name != o.Zone {
			return false
		}
	}
	if !strictHost || !p.Interface.Exists() {
		return true
	}
	h := p.Interface.Instance()
	return !h.Exists() || h.ID() == o.Host
}

// mayOwn tells whether an account can have an interface at p: its owner does; where the
// owner is not said, the subnet's owner and those it is shared with.
func mayOwn(account string, p topology.Place) bool {
	if p.Interface.Exists() {
		if owner := p.Interface.Owner(); owner != "" {
			return owner == account
		}
	}
	if p.Subnet.Account == "" || p.Subnet.Account == account {
		return true
	}
	for _, shared := range p.Subnet.Shared {
		if shared == account {
			return true
		}
	}
	return false
}

// holder looks over all VPCs for what has an address, and counts what is allowed. An
// interface that has it wins over a mere subnet that contains it, because a topology
// that names interfaces of a VPC is taken to name them all; a VPC of which no interface
// is named may hold any address of its subnets, and competes.
func (r *Resolver) holder(a netip.Addr, allowed func(topology.Place) bool) (found topology.Place, n int) {
	take := func(p topology.Place) {
		if allowed(p) {
			found, n = p, n+1
		}
	}
	for i := range r.ix.Interfaces(a) {
		take(topology.Place{Subnet: i.Subnet(), Interface: i})
	}
	for s := range r.ix.Subnets(a) {
		if !s.VPC.ListsInterfaces() {
			take(topology.Place{Subnet: s})
		}
	}
	if n > 0 {
		return found, n
	}
	for s := range r.ix.Subnets(a) {
		if p, _ := r.ix.In(s.VPC, a); !p.Interface.Exists() { // else another has it there
			take(topology.Place{Subnet: s})
		}
	}
	return found, n
}

// describeStart says what is known of the local end.
func (r *Resolver) describeStart(s *start, o *Origin) End {
	var e End
	switch {
	case s.host.Exists():
		e = r.describeHost(s)
	case s.place.Subnet != nil:
		e = r.describe(s.place)
	}
	e.add(o)
	if e.Zone == "" && s.place.Subnet != nil && e.Account != "" {
		e.nameZone(r.ix, s.place.Subnet) // the resource told the account
	}
	return e
}

// describeHost says what all interfaces of a host have in common.
func (r *Resolver) describeHost(s *start) End {
	first := s.host.First()
	e := r.describe(topology.Place{Subnet: first.Subnet(), Interface: first})
	for i := range s.host.Interfaces() {
		o := r.describe(topology.Place{Subnet: i.Subnet(), Interface: i})
		same(&e.Account, o.Account)
		same(&e.Region, o.Region)
		same(&e.Zone, o.Zone)
		same(&e.ZoneID, o.ZoneID)
		same(&e.ZoneAlias, o.ZoneAlias)
		same(&e.VPC, o.VPC)
		same(&e.Subnet, o.Subnet)
	}
	e.Interface, e.Service = "", ""
	e.K8S = merge(nil, s.host.K8S())
	return e
}

func same(field *string, other string) {
	if *field != other {
		*field = ""
	}
}
