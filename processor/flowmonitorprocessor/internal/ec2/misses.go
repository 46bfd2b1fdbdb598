// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"net/netip"
	"sync"
	"time"
)

// Miss is what a flow needed and the topology does not have: an address in a VPC that it
// knows, or an instance.
type Miss struct {
	VPC     string
	Address netip.Addr

	Instance        string // instead of the two above
	Account, Region string // of the instance
}

const (
	// maxPending bounds what waits to be looked up: 50 full requests.
	maxPending = 10_000

	// MaxNegative bounds what is known not to be there; 100 bytes each or so.
	MaxNegative = 65_536

	// maxTries of one look-up: the requests themselves are tried again, too.
	maxTries = 2
)

// misses gathers what is to be looked up, each thing once, and remembers what was not
// found. It is safe for concurrent use.
type misses struct {
	mu       sync.Mutex
	pending  map[Miss]int       // → how often it failed
	negative map[Miss]time.Time // → until when
	ready    chan struct{}      // has a value when there is something pending
	now      func() time.Time
}

func newMisses() *misses {
	return &misses{pending: map[Miss]int{}, negative: map[Miss]time.Time{}, ready: make(chan struct{}, 1), now: time.Now}
}

// note takes a miss; false when it was refused because too many wait.
func (m *misses) note(x Miss) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if until, known := m.negative[x]; known {
		if m.now().Before(until) {
			return true
		}
		delete(m.negative, x)
	}
	return m.add(x, 0)
}

func (m *misses) add(x Miss, failures int) bool {
	if _, waits := m.pending[x]; waits {
		return true
	}
	if len(m.pending) >= maxPending {
		return false
	}
	m.pending[x] = failures
	select {
	case m.ready <- struct{}{}:
	default:
	}
	return true
}

// take gives all that is pending.
func (m *misses) take() map[Miss]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.pending
	m.pending = map[Miss]int{}
	return all
}

// again puts back what could not be asked for; false when it was tried often enough.
func (m *misses) again(x Miss, failures int) bool {
	if failures+1 >= maxTries {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.add(x, failures+1)
}

// absent remembers for a while that something is not there.
func (m *misses) absent(x Miss, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.negative) >= MaxNegative {
		now := m.now()
		for k, t := range m.negative {
			if !now.Before(t) {
				delete(m.negative, k)
			}
		}
	}
	if len(m.negative) < MaxNegative {
		m.negative[x] = until // else it is looked up again when it is met again: slower, and right
	}
}

func (m *misses) len() (pending, negative int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.pending), len(m.negative)
}
