// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"net/netip"
	"unique"

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

// flowKey is all of a flow that an answer depends on, beside where it was seen.
type flowKey struct {
	local, peer netip.Addr
	nat         unique.Handle[natPair] // few flows have one, and it would double the key
	listener    bool
}

// natPair is what a socket held where addresses were translated.
type natPair struct{ local, peer netip.Addr }
