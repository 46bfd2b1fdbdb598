// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"net/netip"
	"strings"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ec2"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ipranges"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/monitors"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/path"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// engine answers for one version of topology, ranges and monitors. Its parts never
// change, but for the cache, which holds answers of this version only: whoever has taken
// an engine for a batch labels the whole batch with one version.
type engine struct {
	index    *topology.Index
	resolver *path.Resolver
	monitors *monitors.Set
	missing  []monitors.Missing
	write    AttributesConfig
	cache    *cache
	note     func(ec2.Miss) // asks for what the topology does not have; nil when nobody can be asked
}

func newEngine(ix *topology.Index, ranges *ipranges.Table, set *monitors.Set, write AttributesConfig, capacity int) *engine {
	return &engine{
		index:    ix,
		resolver: path.New(ix, ranges),
		monitors: set,
		missing:  set.Missing(ix, ranges),
		write:    write,
		cache:    newCache(capacity),
	}
}

// answer resolves what is not in the cache.
func (e *engine) answer(o *path.Origin, k flowKey) *enrichment {
	if k.listener {
		r := e.resolver.ResolveLocal(o, k.local)
		return newEnrichment(&r, nil, AttributesConfig{})
	}
	r := e.resolver.Resolve(o, k.local, k.peer)
	if e.note != nil {
		e.miss(o, k, &r)
	}
	return newEnrichment(&r, e.monitors.Match(&r), e.write)
}

// miss asks for the interfaces that an answer lacks.
func (e *engine) miss(o *path.Origin, k flowKey, r *path.Result) {
	if r.Local.Interface == "" && strings.HasPrefix(o.Host, "i-") && o.Region != "" && (r.Unresolved != "" || e.within(r.Local.VPC, k.local)) {
		// A new host, or a new interface or prefix of one.
		e.note(ec2.Miss{Instance: o.Host, Account: o.Account, Region: o.Region})
	}
	for _, end := range []struct {
		*path.End
		address netip.Addr
	}{{&r.Local, k.local}, {&r.Remote, k.peer}} {
		// Not without a subnet: what is in none is nobody's.
		if end.Interface == "" && end.Subnet != "" && end.Service == "" && e.within(end.VPC, end.address) {
			e.note(ec2.Miss{VPC: end.VPC, Address: end.address})
		}
	}
}

// within tells whether an address is one of a VPC that is known.
func (e *engine) within(vpc string, a netip.Addr) bool {
	v := e.index.VPC(vpc)
	return v != nil && v.Described && v.Contains(a)
}

// flowKey is all of a flow that an answer depends on, beside where it was seen.
type flowKey struct {
	local, peer netip.Addr
	listener    bool
}
