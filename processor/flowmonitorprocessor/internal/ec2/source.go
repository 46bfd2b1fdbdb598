// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/parts"
)

// Source reads the accounts and Regions of its options until it is stopped.
type Source struct {
	o       Options
	clients *clients
	parts   []*part
	slots   chan struct{} // as many as may be read at the same time
	misses  *misses
}

// New makes a Source that does nothing yet.
func New(o Options) *Source {
	o = o.withDefaults()
	s := &Source{o: o, clients: newClients(o), slots: make(chan struct{}, o.MaxParallel), misses: newMisses()}
	for _, a := range o.Accounts {
		k := &credentials{account: a, clients: s.clients}
		for _, region := range a.Regions {
			s.parts = append(s.parts, &part{source: s, key: keyOf(a, region), region: region, credentials: k})
		}
	}
	return s
}

// Restore takes what a snapshot has, for the parts that are still configured. It is called
// before Run.
func (s *Source) Restore(list []parts.Part) {
	for _, p := range s.parts {
		for _, last := range list {
			if last.Key == p.key {
				p.restore(last)
			}
		}
	}
}

// Run reads until ctx ends.
func (s *Source) Run(ctx context.Context) {
	defer s.clients.close()
	var wg sync.WaitGroup
	for _, p := range s.parts {
		wg.Go(func() { s.follow(ctx, p) })
	}
	wg.Go(func() { s.lookups(ctx) })
	wg.Wait()
}

// Note asks for what the topology does not have. It neither waits nor asks twice, and is
// safe for concurrent use.
func (s *Source) Note(m Miss) {
	if !s.misses.note(m) {
		s.o.Lookups(LookupRefused, 1)
	}
}

// Pending gives how much waits to be looked up, and how much is known not to be there.
func (s *Source) Pending() (pending, negative int) { return s.misses.len() }

// follow refreshes one part again and again.
func (s *Source) follow(ctx context.Context, p *part) {
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return
		case s.slots <- struct{}{}:
		}
		err := p.refresh(ctx)
		<-s.slots
		if ctx.Err() != nil {
			return
		}
		pause := s.o.RefreshInterval
		if err != nil {
			failures++
			pause = s.afterFailure(failures)
			err = p.wrap(err)
		} else {
			failures = 0
		}
		s.o.Result(p.key, err)
		if !sleep(ctx, jitter(pause)) {
			return
		}
	}
}

// firstRetry is the pause after a refresh that failed: its requests were tried again
// already, so what is wrong lasts.
const firstRetry = 15 * time.Second

// afterFailure doubles the pause up to the refresh interval.
func (s *Source) afterFailure(failures int) time.Duration {
	pause := min(firstRetry, s.o.RefreshInterval)
	for i := 1; i < failures && pause < s.o.RefreshInterval; i++ {
		pause *= 2
	}
	return min(pause, s.o.RefreshInterval)
}

// jitter spreads pauses by a tenth either way, so that many collectors, and the parts of
// one, do not ask at once.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64()))
}

// sleep tells whether the time has passed; not when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
