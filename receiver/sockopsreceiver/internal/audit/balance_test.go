// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// host is a kernel with one counter, and flows that cover it.
type host struct {
	r       *rand.Rand
	kernel  uint64
	pending int64   // covered, but not harvested yet
	missed  float64 // the share of what nobody covers
	lost    int64
	spared  float64 // the share of what is covered in an overflow flow
	spare   spare
}

// traffic goes on for a moment.
func (h *host) traffic() {
	for range h.r.IntN(20) {
		h.kernel++
		switch p := h.r.Float64(); {
		case p < h.missed:
			h.lost++
		case p < h.missed+h.spared:
			h.spare.add(1)
		default:
			h.pending++
		}
	}
}

// round plays a round. The harvest goes over all sockets while traffic goes on.
func (h *host) round(b *balance) (before, after uint64) {
	for range 20 {
		h.traffic()
	}
	before = h.kernel
	h.traffic()
	b.covered += h.pending
	h.pending = 0
	h.traffic()
	return before, h.kernel
}

func (h *host) begin() *balance {
	var b balance
	first, base := h.round(&b)
	return &balance{first: first, base: base}
}

func TestABalanceNeverTakesWhatIsLateForALoss(t *testing.T) {
	for seed := range uint64(200) {
		h := &host{r: rand.New(rand.NewPCG(seed, 1))}
		b := h.begin()
		for range 100 {
			before, after := h.round(b)
			b.settle(before, after, &h.spare)
			require.Zero(t, b.lost, "seed %d", seed)
			require.Zero(t, b.excess, "seed %d", seed)
		}
		assert.Equal(t, b.covered, b.seen())
	}
}

// The loss that is reported is the true one but for what happened within two harvests:
// the first, and the last.
func TestABalanceFindsWhatIsLost(t *testing.T) {
	for seed := range uint64(200) {
		h := &host{r: rand.New(rand.NewPCG(seed, 2)), missed: 0.1}
		b := h.begin()
		begun := h.lost
		last := int64(0)
		for range 100 {
			before, after := h.round(b)
			b.settle(before, after, &h.spare)
			require.GreaterOrEqual(t, b.lost, last)
			require.LessOrEqual(t, b.lost, h.lost-begun, "never more than was")
			last = b.lost
		}
		h.missed = 0
		for range 3 {
			before, after := h.round(b)
			b.settle(before, after, &h.spare)
		}
		assert.InDelta(t, h.lost-begun, b.lost, 80, "seed %d", seed)
		assert.Equal(t, b.covered+b.lost, b.seen())
		assert.InDelta(t, 0.9, float64(b.covered)/float64(b.seen()), 0.02)
	}
}

func TestOverflowFlowsAreNoLoss(t *testing.T) {
	for seed := range uint64(200) {
		h := &host{r: rand.New(rand.NewPCG(seed, 3)), spared: 0.5}
		b := h.begin()
		for range 100 {
			before, after := h.round(b)
			b.settle(before, after, &h.spare)
			h.spare.age(b.window(before, after))
			require.Zero(t, b.lost, "seed %d", seed)
		}
		h.spared = 0
		for range 5 {
			before, after := h.round(b)
			b.settle(before, after, &h.spare)
			h.spare.age(b.window(before, after))
			require.Zero(t, b.lost, "seed %d", seed)
		}
	}
}

func TestWhatIsCoveredTwiceIsExcess(t *testing.T) {
	h := &host{r: rand.New(rand.NewPCG(1, 4))}
	b := h.begin()
	for range 100 {
		h.pending += 10 // nobody sent those
		before, after := h.round(b)
		b.settle(before, after, &h.spare)
	}
	assert.InDelta(t, 1000, b.excess, 100)
	assert.Zero(t, b.lost)
	assert.Greater(t, float64(b.covered)/float64(b.seen()), 1.02)
}

func TestAnAllowanceExplainsWhatItCanAndNoMore(t *testing.T) {
	var none spare
	settle := func(b *balance, kernel uint64) {
		b.settle(kernel, kernel, &none)
	}
	t.Run("what is missing and allowed is not seen", func(t *testing.T) {
		b := &balance{covered: 90, allowance: 10}
		for range 3 {
			settle(b, 100)
		}
		assert.EqualValues(t, 90, b.seen())
		assert.Zero(t, b.lost)
	})
	t.Run("what is missing beyond it is lost, a round later", func(t *testing.T) {
		b := &balance{covered: 90, allowance: 4}
		settle(b, 100)
		assert.Zero(t, b.lost)
		settle(b, 100)
		assert.EqualValues(t, 6, b.lost)
		assert.EqualValues(t, 96, b.seen())
	})
	t.Run("what is left of it is soon forgotten", func(t *testing.T) {
		b := &balance{covered: 100, allowance: 1000}
		for range 10 {
			settle(b, 100)
		}
		settle(b, 150)
		settle(b, 150)
		assert.EqualValues(t, 50, b.lost)
	})
	t.Run("what comes late after all needs no explanation", func(t *testing.T) {
		b := &balance{covered: 90, allowance: 10}
		settle(b, 100)
		b.covered = 100
		settle(b, 100)
		settle(b, 100)
		assert.EqualValues(t, 100, b.seen())
		assert.Zero(t, b.excess)
		assert.Zero(t, b.explained)
	})
}
