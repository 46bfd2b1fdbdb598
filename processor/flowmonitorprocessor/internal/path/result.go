// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package path

import (
	"cmp"
	"strings"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ipranges"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// Origin is what a stream's resource says of the host at the local end. It is
// comparable; empty fields are unknown.
type Origin struct {
	Host, Account, Region, Zone, Cluster, Node string
}

// End is what is known of one end of a flow; empty fields are unknown.
type End struct {
	Account, Region string
	Zone, ZoneID    string // the name is the one that Account gives the zone
	ZoneAlias       string // where that is not known: what all whose names are known call it; monitors are matched by it, flows do not carry it
	VPC, Subnet     string
	Interface       string
	Host            string // the instance
	Service         string // as the AWS ranges name it
	K8S             topology.K8S
}

// Result is all that is said of a flow.
type Result struct {
	Local, Remote End
	Category      string   // one of flowattr's categories
	Path          []string // "type/id", both ends included; nil for what never leaves the host
	Unresolved    string   // "", or one of flowattr's reasons
	// OffHost is false for what never leaves the host: loopback.
	OffHost bool
}

// Resolver answers for one version of the topology and of the ranges. It is
// immutable and safe for concurrent use.
type Resolver struct {
	ix     *topology.Index
	ranges *ipranges.Table
}

// New makes a Resolver. ix may know nothing; ranges may be nil.
func New(ix *topology.Index, ranges *ipranges.Table) *Resolver {
	return &Resolver{ix: ix, ranges: ranges}
}

// describe says what is known of what holds an address.
func (r *Resolver) describe(p topology.Place) End {
	s := p.Subnet
	e := End{Region: s.VPC.Region, ZoneID: s.Zone.ID, VPC: s.VPC.ID, Subnet: s.ID}
	if len(s.Shared) == 0 {
		e.Account = s.Account // of a shared subnet, only the interface's own owner tells
	}
	if n := p.Interface; n.Exists() {
		x := n.Extra()
		e.Account = cmp.Or(n.Owner(), e.Account)
		e.Interface = n.ID()
		e.Service = x.Service
		if x.Endpoint != nil {
			e.Service = x.Endpoint.Service
		}
		if h := n.Instance(); h.Exists() {
			e.Host = h.ID()
			e.K8S = merge(x.K8S, h.K8S())
		} else {
			e.K8S = merge(x.K8S, nil)
		}
	}
	e.nameZone(r.ix, s)
	return e
}

// nameZone names the zone of a subnet as the end's account does, as far as that is known.
func (e *End) nameZone(ix *topology.Index, s *topology.SubnetNode) {
	if e.Zone = ix.ZoneName(s, e.Account); e.Zone == "" {
		e.ZoneAlias = ix.OnlyZoneName(s)
	} else {
		e.ZoneAlias = ""
	}
}

// merge prefers what an interface says over what its instance says.
func merge(own, instance *topology.K8S) topology.K8S {
	var k topology.K8S
	if own != nil {
		k = *own
	}
	if instance != nil {
		k.ClusterName = cmp.Or(k.ClusterName, instance.ClusterName)
		k.NodeName = cmp.Or(k.NodeName, instance.NodeName)
	}
	return k
}

// add fills what the topology did not say with what the resource says: facts of the
// host, whether or not its address was found. A host.id that is no EC2 instance id
// names no instance.
func (e *End) add(o *Origin) {
	e.Account = cmp.Or(e.Account, o.Account)
	e.Region = cmp.Or(e.Region, o.Region)
	if e.Zone == "" && (e.ZoneID == "" || e.Account == o.Account) {
		e.Zone = o.Zone
	}
	if e.Host == "" && isInstanceID(o.Host) {
		e.Host = o.Host
	}
	e.K8S.ClusterName = cmp.Or(e.K8S.ClusterName, o.Cluster)
	e.K8S.NodeName = cmp.Or(e.K8S.NodeName, o.Node)
}

func isInstanceID(id string) bool { return strings.HasPrefix(id, "i-") }
