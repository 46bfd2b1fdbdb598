// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"slices"
	"time"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ipranges"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/path"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// limits bound the past that is remembered.
type limits struct {
	age      time.Duration // since a version was replaced
	versions int
	// addresses bounds the memory. One version of a network of any size is kept
	// nevertheless, until it is too old.
	addresses int
}

// Points are late by seconds where agents and gateways send in batches, by minutes where
// they queue while a gateway is down. A million addresses take some 115 MiB.
var pastLimits = limits{age: 15 * time.Minute, versions: 8, addresses: 1_000_000}

// pastCache is the part of the cache that each version of the past has: late points are few.
const pastCache = 16

// past is a topology that was in use before, with what it answers.
type past struct {
	index       *topology.Index
	from, until int64 // nanoseconds since 1970
	resolver    *path.Resolver
	cache       *cache
}

// remember gives the past of an engine that replaces another now.
func (l limits) remember(old *engine, ranges *ipranges.Table, same bool, now time.Time) []*past {
	list := slices.Clone(old.past)
	if !same {
		list = slices.Insert(list, 0, &past{index: old.index, from: old.from, until: now.UnixNano()})
	}
	oldest := now.Add(-l.age).UnixNano()
	list = slices.DeleteFunc(list, func(p *past) bool { return p.until <= oldest })
	held := 0
	for i, p := range list {
		held += p.index.Addresses()
		if i > 0 && held > l.addresses {
			list = list[:i]
			break
		}
	}
	for len(list) > l.versions {
		list = thin(list)
	}
	for i, p := range list {
		// The ranges and monitors of now: those are what the user wants, not what was.
		list[i] = &past{index: p.index, from: p.from, until: p.until, resolver: path.New(p.index, ranges),
			cache: newCache(max(old.pool.max/pastCache, minMaxCachedFlows))}
	}
	return list
}

// thin forgets the version that was in use for the shortest time; the one that followed it
// stands in for it.
func thin(list []*past) []*past {
	shortest := 1
	for i, p := range list[1:] { // not the newest: points are late by seconds most often
		if p.until-p.from < list[shortest].until-list[shortest].from {
			shortest = i + 1
		}
	}
	next := *list[shortest-1]
	next.from = list[shortest].from
	list[shortest-1] = &next
	return slices.Delete(list, shortest, shortest+1)
}

// at gives the topology that was in use at a time; nil when that is the engine's own. Before
// the oldest that is remembered, it is that one.
func (e *engine) at(t int64) *past {
	if t >= e.from || t == 0 {
		return nil
	}
	var found *past
	for _, p := range e.past {
		found = p
		if t >= p.from {
			break
		}
	}
	return found
}

// answerAt resolves by a topology of the past. What that does not know, the present one may
// tell: not where the old one had all interfaces of a VPC listed, because then nobody had the
// address that one of them has now.
func (e *engine) answerAt(p *past, o *path.Origin, k flowKey) *enrichment {
	r := resolve(p.resolver, o, k)
	if r.Unresolved != "" {
		now := resolve(e.resolver, o, k)
		if now.Unresolved == "" && p.mayBe(&r.Local, &now.Local) && p.mayBe(&r.Remote, &now.Remote) {
			r = now
		}
	}
	return e.enrichment(k, &r)
}

// mayBe tells whether an end that the old topology knew as then may have been what it is now.
func (p *past) mayBe(then, now *path.End) bool {
	if *then == *now || now.VPC == "" {
		return true
	}
	v := p.index.VPC(now.VPC)
	return v == nil || !v.ListsInterfaces()
}
