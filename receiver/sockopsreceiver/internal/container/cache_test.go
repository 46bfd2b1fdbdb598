// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package container

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

// kernel gives names for every id and counts how often it is asked.
type kernel struct {
	asked map[uint64]int
	fail  bool
	none  bool
}

func (k *kernel) names(id uint64) ([]string, error) {
	k.asked[id]++
	switch {
	case k.fail:
		return nil, errors.New("no such key")
	case k.none:
		return nil, nil
	case id == 1:
		return []string{""}, nil
	}
	return []string{fmt.Sprintf("%064x", id), "docker", ""}, nil
}

func TestTheCacheAsksOnce(t *testing.T) {
	k := &kernel{asked: map[uint64]int{}}
	c := NewCache(10, k.names)
	for range 3 {
		assert.Equal(t, Known{ID: ID{Container: fmt.Sprintf("%064x", 7)}}, c.Of(7))
		assert.Equal(t, Known{Root: true}, c.Of(1))
	}
	assert.Equal(t, map[uint64]int{1: 1, 7: 1}, k.asked)
	assert.Equal(t, 2, c.Len())
	assert.Zero(t, c.Unknown())
}

func TestTheCacheHoldsNoMoreThanItMay(t *testing.T) {
	for _, capacity := range []int{0, 1, 2, 3, 100} {
		k := &kernel{asked: map[uint64]int{}}
		c := NewCache(capacity, k.names)
		for id := range uint64(1000) {
			c.Of(id)
			assert.LessOrEqual(t, c.Len(), max(2, capacity))
		}
	}
}

func TestWhoIsAskedForStays(t *testing.T) {
	k := &kernel{asked: map[uint64]int{}}
	c := NewCache(100, k.names)
	for id := uint64(1000); id < 5000; id++ {
		c.Of(id)
		for busy := range uint64(20) {
			c.Of(busy)
		}
	}
	for busy := range uint64(20) {
		assert.Equal(t, 1, k.asked[busy])
	}
	assert.Equal(t, 1, k.asked[1000])
	c.Of(1000)
	assert.Equal(t, 2, k.asked[1000], "forgotten meanwhile")
}

func TestNamesThatCannotBeHadAreCountedAndAskedForAgain(t *testing.T) {
	k := &kernel{asked: map[uint64]int{}, fail: true}
	c := NewCache(10, k.names)
	assert.Equal(t, Known{}, c.Of(7))
	k.fail, k.none = false, true
	assert.Equal(t, Known{}, c.Of(7))
	assert.EqualValues(t, 2, c.Unknown())
	assert.Zero(t, c.Len())
	k.none = false
	assert.NotEmpty(t, c.Of(7).Container)
	assert.EqualValues(t, 2, c.Unknown())
}

func BenchmarkCacheHit(b *testing.B) {
	b.ReportAllocs()
	k := &kernel{asked: map[uint64]int{}}
	c := NewCache(1000, k.names)
	for b.Loop() {
		c.Of(7)
	}
}
