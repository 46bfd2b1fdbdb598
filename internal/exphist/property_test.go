// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package exphist

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// indexOf is the mapping of the data model by logarithm: bucket i of scale s holds the
// values in (2^(i·2⁻ˢ), 2^((i+1)·2⁻ˢ)].
func indexOf(v float64, scale int32) int64 {
	return int64(math.Ceil(math.Log2(v)*math.Ldexp(1, int(scale)))) - 1
}

// boundsOf gives the bounds of a bucket, widened by the error of the logarithm.
func boundsOf(index int64, scale int32) (lower, upper float64) {
	width := math.Ldexp(1, -int(scale))
	return math.Exp2(float64(index)*width) * (1 - 1e-9), math.Exp2(float64(index+1)*width) * (1 + 1e-9)
}

// record makes a histogram of values, which are not zero, at a scale.
func record(scale int32, values []float64) pmetric.ExponentialHistogramDataPoint {
	p := pmetric.NewExponentialHistogramDataPoint()
	p.SetScale(scale)
	if len(values) == 0 {
		return p
	}
	positive, negative := map[int64]uint64{}, map[int64]uint64{}
	p.SetMin(slices.Min(values))
	p.SetMax(slices.Max(values))
	sum := 0.0
	for _, v := range values {
		sum += v
		if v > 0 {
			positive[indexOf(v, scale)]++
		} else {
			negative[indexOf(-v, scale)]++
		}
	}
	p.SetSum(sum)
	p.SetCount(uint64(len(values)))
	fill(p.Positive(), positive)
	fill(p.Negative(), negative)
	return p
}

func fill(b pmetric.ExponentialHistogramDataPointBuckets, counts map[int64]uint64) {
	if len(counts) == 0 {
		return
	}
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	for i := range counts {
		first, last = min(first, i), max(last, i)
	}
	raw := make([]uint64, last-first+1)
	for i, c := range counts {
		raw[i-first] = c
	}
	b.SetOffset(int32(first))
	b.BucketCounts().FromRaw(raw)
}

// sample draws values that are whole multiples of 2⁻²⁰, as the receiver's are, so that
// sums are exact and do not depend on their order.
func sample(r *rand.Rand, n int) []float64 {
	values := make([]float64, n)
	for i := range values {
		units := math.Ceil(math.Exp2(r.Float64() * 26))
		values[i] = math.Ldexp(units, -20)
		if r.IntN(4) == 0 {
			values[i] = -values[i]
		}
	}
	return values
}

// total adds parts from left to right.
func total(parts ...pmetric.ExponentialHistogramDataPoint) pmetric.ExponentialHistogramDataPoint {
	p := pmetric.NewExponentialHistogramDataPoint()
	for _, part := range parts {
		Add(p, part)
	}
	return p
}

func TestAdditionIsAssociativeCommutativeAndConserves(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		var all []float64
		var parts []pmetric.ExponentialHistogramDataPoint
		for range 2 + r.IntN(6) {
			values := sample(r, r.IntN(60))
			all = append(all, values...)
			parts = append(parts, record(int32(r.IntN(12))-4, values))
		}
		name := fmt.Sprint("seed ", seed)
		forward := total(parts...)

		shuffled := slices.Clone(parts)
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		assertSame(t, forward, total(shuffled...))

		cut := r.IntN(len(parts) + 1)
		assertSame(t, forward, total(total(parts[:cut]...), total(parts[cut:]...)))

		require.Equal(t, uint64(len(all)), forward.Count(), name)
		if len(all) == 0 {
			continue
		}
		sum := 0.0
		for _, v := range all {
			sum += v
		}
		assert.Equal(t, sum, forward.Sum(), name)
		assert.Equal(t, slices.Min(all), forward.Min(), name)
		assert.Equal(t, slices.Max(all), forward.Max(), name)

		// The whole must be what one recorder of all values would have counted.
		want := record(forward.Scale(), all)
		assert.Equal(t, nonZero(want.Positive()), nonZero(forward.Positive()), name)
		assert.Equal(t, nonZero(want.Negative()), nonZero(forward.Negative()), name)
		for _, b := range []pmetric.ExponentialHistogramDataPointBuckets{forward.Positive(), forward.Negative()} {
			assert.LessOrEqual(t, b.BucketCounts().Len(), MaxBuckets, name)
		}
		if t.Failed() {
			return
		}
	}
}

func TestQuantilesOfTheSumBoundThoseOfTheValues(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		var all []float64
		sum := pmetric.NewExponentialHistogramDataPoint()
		for range 1 + r.IntN(8) {
			values := sample(r, 1+r.IntN(80))
			for i := range values {
				values[i] = math.Abs(values[i])
			}
			all = append(all, values...)
			Add(sum, record(int32(r.IntN(10)), values))
		}
		slices.Sort(all)
		for _, q := range []float64{0, 0.5, 0.9, 0.99, 1} {
			rank := int(q * float64(len(all)-1))
			lower, upper := bucketOfRank(sum, uint64(rank))
			assert.Less(t, lower, all[rank], "seed %d q %g", seed, q)
			assert.GreaterOrEqual(t, upper, all[rank], "seed %d q %g", seed, q)
		}
	}
}

// bucketOfRank gives the bounds of the bucket that holds the value of a rank, from 0.
func bucketOfRank(p pmetric.ExponentialHistogramDataPoint, rank uint64) (lower, upper float64) {
	seen := uint64(0)
	b := p.Positive()
	for i := range b.BucketCounts().Len() {
		seen += b.BucketCounts().At(i)
		if seen > rank {
			return boundsOf(int64(b.Offset())+int64(i), p.Scale())
		}
	}
	return math.NaN(), math.NaN()
}

// FuzzAdd feeds points that no encoder would write: whatever they hold, the sum is bounded
// and has every count.
func FuzzAdd(f *testing.F) {
	f.Add(int32(2), int32(-64), []byte{1, 2, 3}, int32(0), []byte{}, int32(2), int32(0), []byte{4}, int32(5), []byte{1})
	f.Add(int32(20), int32(math.MinInt32), []byte{1}, int32(math.MaxInt32), []byte{1, 1}, int32(-10), int32(math.MaxInt32), []byte{1, 0, 1}, int32(0), []byte{9})
	f.Add(int32(math.MinInt32), int32(-1000), []byte{1}, int32(0), []byte{}, int32(math.MaxInt32), int32(1000), []byte{0, 0, 1}, int32(0), []byte{})
	f.Add(int32(0), int32(0), []byte{}, int32(0), []byte{}, int32(0), int32(0), []byte{0, 0}, int32(0), []byte{0})
	f.Fuzz(func(t *testing.T, scaleA, offA int32, posA []byte, negOffA int32, negA []byte, scaleB, offB int32, posB []byte, negOffB int32, negB []byte) {
		a := hist{scale: scaleA, positive: side{offA, widen(posA)}, negative: side{negOffA, widen(negA)}, zero: 1}
		b := hist{scale: scaleB, positive: side{offB, widen(posB)}, negative: side{negOffB, widen(negB)}, zero: 2}
		ab, ba := a.point(), b.point()
		Add(ab, b.point())
		Add(ba, a.point())
		assertSame(t, ab, ba)
		require.Equal(t, a.point().Count()+b.point().Count(), ab.Count())
		inBuckets := ab.ZeroCount()
		for _, side := range []pmetric.ExponentialHistogramDataPointBuckets{ab.Positive(), ab.Negative()} {
			s := spanOf(side)
			require.True(t, s.fits())
			for i := range side.BucketCounts().Len() {
				inBuckets += side.BucketCounts().At(i)
			}
		}
		require.Equal(t, ab.Count(), inBuckets)
		require.LessOrEqual(t, ab.Scale(), min(scaleA, scaleB))

		// A sum into nothing never has more slots than the limit, however wide the summands.
		fresh := total(a.point(), b.point())
		require.LessOrEqual(t, fresh.Positive().BucketCounts().Len(), MaxBuckets)
		require.LessOrEqual(t, fresh.Negative().BucketCounts().Len(), MaxBuckets)
		assertSame(t, ab, fresh)
	})
}

func widen(b []byte) []uint64 {
	counts := make([]uint64, len(b))
	for i, c := range b {
		counts[i] = uint64(c)
	}
	return counts
}
