// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/path"
)

// cache remembers answers by where a flow was seen and its addresses. It has two
// generations: what is asked for moves to the young one; when that holds half of the
// capacity, the old one is dropped and the young one takes its place. So it never
// holds more than its capacity, and what was asked for lately stays.
//
// The entries of one resource are kept together under one lock, which is taken once for
// all of the resource's points.
type cache struct {
	capacity int64
	entries  atomic.Int64 // answers and origins held
	young    atomic.Int64 // came since the last turn, about: says only when to turn

	mu      sync.Mutex // of origins
	origins map[path.Origin]*origin
}

// origin holds the answers for one resource.
type origin struct {
	path.Origin
	mu         sync.Mutex
	young, old generation
	used       bool // since the last turn of the generations
	gone       bool // no longer in the cache
}

func newCache(capacity int) *cache {
	return &cache{capacity: int64(capacity), origins: map[path.Origin]*origin{}}
}

// at gives the locked origin of a resource; the caller unlocks it.
func (c *cache) at(o path.Origin) *origin {
	if c.young.Load() >= c.capacity/2 {
		c.turn()
	}
	for {
		c.mu.Lock()
		at := c.origins[o]
		if at == nil {
			at = &origin{Origin: o}
			c.origins[o] = at
			c.entries.Add(1)
			c.young.Add(1)
		}
		c.mu.Unlock()
		at.mu.Lock()
		if at.gone { // between the two locks
			at.mu.Unlock()
			continue
		}
		at.used = true
		return at
	}
}

// turn drops the old generation of every origin, and origins that were not seen since
// the last turn. An origin that somebody works on keeps what it has until the next turn:
// to wait for it would hold up all the others. That the cache may then hold more of it is
// what [cache.put] bounds.
func (c *cache) turn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.young.Load() < c.capacity/2 {
		return // another goroutine did it
	}
	for key, at := range c.origins {
		if !at.mu.TryLock() {
			continue
		}
		c.entries.Add(-int64(at.old.len()))
		at.old, at.young = at.young, generation{}
		if !at.used && at.old.len() == 0 {
			delete(c.origins, key)
			at.gone = true
			c.entries.Add(-1)
		}
		at.used = false
		at.mu.Unlock()
	}
	c.young.Store(0)
}

// get gives the answer for a flow; nil when it is not held. at is locked.
func (c *cache) get(at *origin, k flowKey) *enrichment {
	if e := at.young.get(&k); e != nil {
		return e
	}
	e := at.old.take(&k)
	if e != nil {
		c.entries.Add(-1)
		c.put(at, k, e)
	}
	return e
}

// put remembers an answer that is not held, unless the cache is full of the answers of
// others. at is locked.
func (c *cache) put(at *origin, k flowKey, e *enrichment) {
	if c.entries.Load() >= c.capacity {
		if at.old.len() == 0 {
			if at.young.len() == 0 {
				return
			}
			at.old, at.young = at.young, generation{}
			c.young.Add(-int64(at.old.len()))
		}
		c.entries.Add(-int64(at.old.len()))
		at.old = generation{}
	}
	at.young.put(&k, e)
	c.entries.Add(1)
	c.young.Add(1)
}

// answers is what the cache holds for one resource.
type answers struct {
	path.Origin
	answers []answer
}

type answer struct {
	flowKey
	*enrichment
}

// all gives what the cache holds, for each resource what was asked for lately last.
func (c *cache) all() []answers {
	c.mu.Lock()
	origins := slices.Collect(maps.Values(c.origins))
	c.mu.Unlock()
	list := make([]answers, 0, len(origins))
	for _, at := range origins {
		at.mu.Lock()
		held := answers{Origin: at.Origin, answers: make([]answer, 0, at.old.len()+at.young.len())}
		for _, g := range []*generation{&at.old, &at.young} {
			for k, e := range g.all() {
				held.answers = append(held.answers, answer{k, e})
			}
		}
		at.mu.Unlock()
		list = append(list, held)
	}
	return list
}
