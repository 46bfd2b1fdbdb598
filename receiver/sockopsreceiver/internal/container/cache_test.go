// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package container

import (
	"errors"
	"fmt"
	"testing"
	"unique"

	"github.com/stretchr/testify/assert"
)

// kernel has the names of cgroups in a map like the real one's: who asks takes them out,
// and each flow brings them again.
type kernel struct {
	full   bool // it takes no more names
	held   map[uint64]bool
	asked  map[uint64]int
	broken bool // names that are none
}

func newKernel() *kernel { return &kernel{held: map[uint64]bool{}, asked: map[uint64]int{}} }

func (k *kernel) flow(ids ...uint64) {
	for _, id := range ids {
		if !k.full {
			k.held[id] = true
		}
	}
}

func (k *kernel) names(id uint64) ([]string, error) {
	k.asked[id]++
	if !k.held[id] {
		return nil, errors.New("no such key")
	}
	delete(k.held, id)
	switch {
	case k.broken:
		return nil, nil
	case id == 1:
		return []string{""}, nil
	case id == 2:
		return []string{"sshd.service", "system.slice", ""}, nil
	}
	return []string{fmt.Sprintf("%064x", id), "docker", ""}, nil
}

func docker(id uint64) Known {
	return Known{ID: unique.Make(ID{Container: fmt.Sprintf("%064x", id)})}
}

func TestWhatIsKnownOfACgroup(t *testing.T) {
	k := newKernel()
	c := NewCache(10, k.names)
	for range 3 {
		c.NextRound()
		for id, want := range map[uint64]Known{7: docker(7), 1: {Root: true}, 2: {}} {
			k.flow(id)
			for range 3 { // flows of one round
				got, ok := c.Of(id)
				assert.True(t, ok)
				assert.Equal(t, want, got)
			}
		}
	}
	assert.Equal(t, map[uint64]int{1: 3, 2: 3, 7: 3}, k.asked, "once a round")
	assert.Equal(t, 3, c.Len())
}

func TestWhatIsKnownStaysWithoutTheNames(t *testing.T) {
	k := newKernel()
	c := NewCache(10, k.names)
	k.flow(7)
	c.Of(7)
	c.NextRound()
	got, ok := c.Of(7) // the kernel's map was full
	assert.True(t, ok)
	assert.Equal(t, docker(7), got)
}

// Containers come and go; the kernel's map holds those of one round.
func TestTheKernelsMapDoesNotFillUp(t *testing.T) {
	k := newKernel()
	c := NewCache(100, k.names)
	for id := range uint64(10_000) {
		k.flow(3, id) // one that stays
		c.NextRound()
		c.Of(3)
		_, ok := c.Of(id)
		assert.True(t, ok)
		assert.Empty(t, k.held)
	}
}

func TestTheCacheHoldsNoMoreThanItMay(t *testing.T) {
	for _, capacity := range []int{0, 1, 2, 3, 100} {
		k := newKernel()
		c := NewCache(capacity, k.names)
		for id := range uint64(1000) {
			k.flow(id)
			c.NextRound()
			c.Of(id)
			assert.LessOrEqual(t, c.Len(), max(2, capacity))
		}
	}
}

func TestWhoIsAskedForStays(t *testing.T) {
	k := newKernel()
	c := NewCache(100, k.names)
	for busy := range uint64(20) {
		k.flow(busy)
		c.Of(busy)
	}
	k.flow(1000)
	for id := uint64(1000); id < 5000; id++ {
		c.NextRound()
		k.flow(id)
		c.Of(id)
		for busy := range uint64(20) {
			_, ok := c.Of(busy)
			assert.True(t, ok, "%d", busy)
		}
	}
	_, ok := c.Of(1000)
	assert.False(t, ok, "forgotten meanwhile")
}

func TestNamesThatCannotBeHadAreAskedForAgain(t *testing.T) {
	k := newKernel()
	c := NewCache(10, k.names)
	k.full = true
	k.flow(7)
	_, ok := c.Of(7)
	assert.False(t, ok)
	k.full, k.broken = false, true
	k.flow(7)
	_, ok = c.Of(7)
	assert.False(t, ok)
	assert.Zero(t, c.Len())
	k.broken = false
	k.flow(7)
	got, ok := c.Of(7)
	assert.True(t, ok)
	assert.Equal(t, docker(7), got)
}

func BenchmarkCacheHit(b *testing.B) {
	b.ReportAllocs()
	k := newKernel()
	k.flow(7)
	c := NewCache(1000, k.names)
	for b.Loop() {
		c.Of(7)
	}
}
