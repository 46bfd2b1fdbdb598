// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// engines is the engine in use. Whoever loads it keeps it for a batch; a new one is put in
// its place while batches run.
type engines struct {
	current atomic.Pointer[engine]
	mu      sync.Mutex // of Store
	now     func() time.Time
}

// Load gives the engine in use; nil before the first is stored.
func (s *engines) Load() *engine { return s.current.Load() }

// Store puts an engine in use. Before that, it is told the past and made to answer what the
// present one has answered, so that the stream does not wait for either: a batch that
// finds a new engine is as fast as the one before. It returns when the engine is in use.
func (s *engines) Store(e *engine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.current.Load()
	if old != nil {
		e.pool = old.pool
	}
	if old == nil || old.blank() {
		s.current.Store(e)
		return
	}
	now := s.time()
	same := e.index == old.index
	e.from = old.from
	if !same {
		e.from = now.UnixNano()
	}
	e.past = pastLimits.remember(old, e.ranges, same, now)
	e.warm(old)
	if !same {
		// What came meanwhile was still labelled by the old one.
		e.from = s.time().UnixNano()
		e.past[0].until = e.from
	}
	s.current.Store(e)
}

// blank says that nothing has been known yet: no source had answered. That is no past to
// label anything by.
func (e *engine) blank() bool {
	for _, c := range e.index.Counts() {
		if c.N != 0 {
			return false
		}
	}
	return len(e.past) == 0
}

func (s *engines) time() time.Time {
	if s.now != nil {
		return s.now()
	}
	return time.Now()
}

// warmed is how many answers are found before others get the processor: some ten
// microseconds' work, so that a batch hardly notices on a machine with one core.
const warmed = 8

// warm answers what is in the cache of another engine. Answers that are the same stay the
// same things in memory.
func (e *engine) warm(old *engine) {
	n := 0
	for _, known := range old.cache.all() {
		for _, a := range known.answers {
			answer := e.answer(&known.Origin, a.flowKey)
			if answer.same(a.enrichment) {
				answer = a.enrichment
			}
			at := e.cache.at(known.Origin)
			e.cache.put(at, a.flowKey, answer)
			at.mu.Unlock()
			if n++; n%warmed == 0 {
				runtime.Gosched()
			}
		}
	}
}
