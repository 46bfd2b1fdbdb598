// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package tests

import (
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
)

func foldInKernel(t *testing.T) *foldObjects {
	t.Helper()
	if err := bpf.Supported(); err != nil && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	var objects foldObjects
	require.NoError(t, loadFoldObjects(&objects, nil))
	t.Cleanup(func() { objects.Close() })
	return &objects
}

func run(t *testing.T, p *ebpf.Program, argument uint64) uint32 {
	t.Helper()
	ret, err := p.Run(&ebpf.RunOptions{Context: []uint64{argument}})
	require.NoError(t, err)
	return ret
}

func TestGrowthsOfACounterThatWrapsAddUpToWhatItCounted(t *testing.T) {
	objects := foldInKernel(t)
	random := rand.New(rand.NewPCG(1, 2))
	var counter, sum uint64
	for range 2000 {
		// Any step below 2³²: often across the wrap.
		counter += random.Uint64N(1 << (1 + random.Uint64N(32)))
		sum += uint64(run(t, objects.GrowTo, uint64(uint32(counter))))
		require.Equal(t, counter, sum)
	}
	require.Greater(t, counter, uint64(10*math.MaxUint32), "it wrapped")
}

// The walk believes at most the truth, and one less while somebody works on the socket:
// what is held back comes with a later fold, and nothing comes twice.
func TestGrowthsOfACounterThatIsReadTooLowAddUpToItsHighestValue(t *testing.T) {
	objects := foldInKernel(t)
	random := rand.New(rand.NewPCG(3, 4))
	var truth, highest, sum uint64
	for range 2000 {
		truth += random.Uint64N(3)
		read := truth
		if truth > 0 {
			read -= random.Uint64N(2)
		}
		highest = max(highest, read)
		sum += uint64(run(t, objects.AdvanceTo, read))
		require.Equal(t, highest, sum)
	}
	sum += uint64(run(t, objects.AdvanceTo, truth))
	require.Equal(t, truth, sum)
}

func TestSamplesThroughTheCacheAreTheSamplesThemselves(t *testing.T) {
	objects := foldInKernel(t)
	random := rand.New(rand.NewPCG(5, 6))
	center := 1000.0
	for range 5000 {
		if random.IntN(50) == 0 { // now and then another path, up to beyond both ends of the histogram
			center = math.Exp2(random.Float64() * 27)
		}
		us := center * math.Exp2(random.NormFloat64())
		require.Zero(t, run(t, objects.Sample, uint64(us)))
		if random.IntN(100) == 0 {
			run(t, objects.Spill, 0) // a fold
		}
	}
	run(t, objects.Spill, 0)
	var direct, cached foldHistogram
	require.NoError(t, objects.Direct.Get(&direct))
	require.NoError(t, objects.Cached.Get(&cached))
	assert.Equal(t, direct, cached)
	assert.EqualValues(t, 5000, cached.Count)
}
