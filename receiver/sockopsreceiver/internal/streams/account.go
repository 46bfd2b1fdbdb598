// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package streams

import (
	"math"

	"github.com/otel-flowmonitor/flowmonitor/internal/exphist"
)

// account is what a flow has counted and not yet delivered; with cumulative
// temporality what it has counted since its streams began. 430 bytes, and 730 for
// each histogram that has a sample.
type account struct {
	sums       [numSums]uint64
	histograms [numHistograms]*histogram
	begun      uint64 // bit set: the stream's start is settled for what is held here
}

// histogram holds times in microseconds, as the kernel does, but wide enough to be
// added to for as long as the pipeline takes nothing.
type histogram struct {
	count, sumUS uint64
	minUS, maxUS uint32
	buckets      [exphist.NBuckets]uint64
}

// pool keeps the memory of accounts and histograms from round to round: as much as the
// last round needed, so that a steady load allocates nothing and a peak is given back.
type pool[T any] struct {
	free []*T
	used int // taken since the last trim
}

func (p *pool[T]) get() *T {
	p.used++
	n := len(p.free)
	if n == 0 {
		return new(T)
	}
	x := p.free[n-1]
	p.free[n-1] = nil
	p.free = p.free[:n-1]
	return x
}

func (p *pool[T]) put(x *T) {
	p.free = append(p.free, x)
}

func (p *pool[T]) trim() {
	if len(p.free) > p.used {
		clear(p.free[p.used:])
		p.free = p.free[:p.used]
	}
	p.used = 0
}

// account gives the flow's account, opening one if it has none.
func (t *Table) account(s *state) *account {
	if s.account == nil {
		s.account = t.accounts.get()
		*s.account = account{}
	}
	return s.account
}

func (t *Table) histogram(a *account, which int) *histogram {
	if a.histograms[which] == nil {
		h := t.histograms.get()
		*h = histogram{minUS: math.MaxUint32}
		a.histograms[which] = h
	}
	return a.histograms[which]
}

// release closes the flow's account: it was delivered, or is lost.
func (t *Table) release(s *state) {
	for _, h := range s.account.histograms {
		if h != nil {
			t.histograms.put(h)
		}
	}
	t.accounts.put(s.account)
	s.account = nil
}
