// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"net/netip"

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
	return newEnrichment(&r, e.monitors.Match(&r), e.write)
}

// flowKey is all of a flow that an answer depends on, beside where it was seen.
type flowKey struct {
	local, peer netip.Addr
	listener    bool
}
