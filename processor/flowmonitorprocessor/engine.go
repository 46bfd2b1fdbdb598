// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"net/netip"
	"strings"
	"unique"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ec2"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ipranges"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/monitors"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/path"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// engine answers for one version of topology, ranges and monitors. Its parts never
// change, but for the cache, which holds answers of this version only: whoever has taken
// an engine for a batch labels the whole batch with it.
type engine struct {
	index    *topology.Index
	ranges   *ipranges.Table
	resolver *path.Resolver
	monitors *monitors.Set
	missing  []monitors.Missing
	write    AttributesConfig
	cache    *cache
	note     func(ec2.Miss) // asks for what the topology does not have; nil when nobody can be asked
	pool     *pool

	// What was true before; set by [engines.Store].
	from int64   // when this version came into use, in nanoseconds since 1970; 0: with the processor
	past []*past // the newest first
}

func newEngine(ix *topology.Index, ranges *ipranges.Table, set *monitors.Set, write AttributesConfig, capacity int) *engine {
	return &engine{
		index:    ix,
		ranges:   ranges,
		resolver: path.New(ix, ranges),
		monitors: set,
		missing:  set.Missing(ix, ranges),
		write:    write,
		cache:    newCache(capacity),
		pool:     newPool(capacity),
	}
}

// answer resolves what is not in the cache.
func (e *engine) answer(o *path.Origin, k flowKey) *enrichment {
	r := resolve(e.resolver, o, k)
	if e.note != nil && !k.listener {
		e.miss(o, k, &r)
	}
	return e.enrichment(k, &r)
}

func (e *engine) enrichment(k flowKey, r *path.Result) *enrichment {
	if k.listener {
		return e.pool.newEnrichment(r, nil, AttributesConfig{})
	}
	return e.pool.newEnrichment(r, e.monitors.Match(r), e.write)
}

func resolve(r *path.Resolver, o *path.Origin, k flowKey) path.Result {
	if k.listener {
		return r.ResolveLocal(o, k.local)
	}
	f := path.Flow{Local: k.local, Remote: k.peer}
	if k.nat != (unique.Handle[natPair]{}) {
		nat := k.nat.Value()
		f.NATLocal, f.NATRemote = nat.local, nat.peer
	}
	return r.ResolveFlow(o, f)
}

// miss asks for the interfaces that an answer lacks.
func (e *engine) miss(o *path.Origin, k flowKey, r *path.Result) {
	if r.Local.Interface == "" && strings.HasPrefix(o.Host, "i-") && o.Region != "" && (!e.index.Instance(o.Host).Exists() || e.within(r.Local.VPC, k.local)) {
		// A new host, or a new interface or prefix of one; not a container behind the host's own translation.
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
	nat         unique.Handle[natPair] // few flows have one, and it would double the key
	listener    bool
}

// natPair is what a socket held where addresses were translated.
type natPair struct{ local, peer netip.Addr }
