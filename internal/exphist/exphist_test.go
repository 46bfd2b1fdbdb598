// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package exphist

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// side is one side of a histogram in a test table.
type side struct {
	offset int32
	counts []uint64
}

// hist is a histogram in a test table. The count is the sum of its buckets and zero,
// unless given.
type hist struct {
	scale         int32
	sum           float64
	min, max      float64
	noSum, noMin  bool
	noMax         bool
	zero          uint64
	zeroThreshold float64
	positive      side
	negative      side
	count         uint64
}

func (h hist) point() pmetric.ExponentialHistogramDataPoint {
	p := pmetric.NewExponentialHistogramDataPoint()
	p.SetScale(h.scale)
	if !h.noSum {
		p.SetSum(h.sum)
	}
	if !h.noMin {
		p.SetMin(h.min)
	}
	if !h.noMax {
		p.SetMax(h.max)
	}
	p.SetZeroCount(h.zero)
	p.SetZeroThreshold(h.zeroThreshold)
	p.Positive().SetOffset(h.positive.offset)
	p.Positive().BucketCounts().FromRaw(h.positive.counts)
	p.Negative().SetOffset(h.negative.offset)
	p.Negative().BucketCounts().FromRaw(h.negative.counts)
	count := h.count
	if count == 0 {
		count = h.zero
		for _, counts := range [][]uint64{h.positive.counts, h.negative.counts} {
			for _, c := range counts {
				count += c
			}
		}
	}
	p.SetCount(count)
	return p
}

// nonZero gives the counts of the buckets that hold any, by index: what a histogram says
// whatever its padding.
func nonZero(b pmetric.ExponentialHistogramDataPointBuckets) map[int64]uint64 {
	m := map[int64]uint64{}
	for i := range b.BucketCounts().Len() {
		if c := b.BucketCounts().At(i); c != 0 {
			m[int64(b.Offset())+int64(i)] = c
		}
	}
	return m
}

func assertSame(t *testing.T, want, got pmetric.ExponentialHistogramDataPoint) {
	t.Helper()
	assert.Equal(t, want.Count(), got.Count(), "count")
	assert.Equal(t, want.ZeroCount(), got.ZeroCount(), "zero count")
	assert.Equal(t, want.ZeroThreshold(), got.ZeroThreshold(), "zero threshold")
	assert.Equal(t, want.Scale(), got.Scale(), "scale")
	assert.Equal(t, want.HasSum(), got.HasSum(), "has sum")
	assert.Equal(t, want.Sum(), got.Sum(), "sum")
	assert.Equal(t, want.HasMin(), got.HasMin(), "has min")
	assert.Equal(t, want.Min(), got.Min(), "min")
	assert.Equal(t, want.HasMax(), got.HasMax(), "has max")
	assert.Equal(t, want.Max(), got.Max(), "max")
	assert.Equal(t, nonZero(want.Positive()), nonZero(got.Positive()), "positive buckets")
	assert.Equal(t, nonZero(want.Negative()), nonZero(got.Negative()), "negative buckets")
}

func repeat(n int, c uint64) []uint64 {
	counts := make([]uint64, n)
	for i := range counts {
		counts[i] = c
	}
	return counts
}

func TestAdd(t *testing.T) {
	for _, tt := range []struct {
		name      string
		dst, src  hist
		want      hist
		oneSided  bool // only dst + src is meant, not src + dst
		wantSlots int  // length of the positive buckets, when it matters
	}{
		{
			name: "an empty destination becomes the source",
			src:  hist{scale: 2, sum: 6, min: 1, max: 3, zero: 1, zeroThreshold: 0.5, positive: side{-3, []uint64{1, 0, 2}}, negative: side{4, []uint64{5}}},
			want: hist{scale: 2, sum: 6, min: 1, max: 3, zero: 1, zeroThreshold: 0.5, positive: side{-3, []uint64{1, 0, 2}}, negative: side{4, []uint64{5}}},
		},
		{
			name: "equal scales add bucket by bucket",
			dst:  hist{scale: 2, sum: 1, min: 1, max: 3, zero: 1, positive: side{-3, []uint64{1, 2}}},
			src:  hist{scale: 2, sum: 2, min: 0.5, max: 2, zero: 2, positive: side{-2, []uint64{10, 20}}, negative: side{0, []uint64{7}}},
			want: hist{scale: 2, sum: 3, min: 0.5, max: 3, zero: 3, positive: side{-3, []uint64{1, 12, 20}}, negative: side{0, []uint64{7}}},
		},
		{
			name: "different scales meet at the lower one",
			dst:  hist{scale: 1, positive: side{-1, []uint64{1, 2}}},
			src:  hist{scale: 3, positive: side{-5, []uint64{1, 1, 1, 1, 1, 1, 1, 1, 1}}},
			want: hist{scale: 1, positive: side{-2, []uint64{1, 5, 6}}},
		},
		{
			name: "what the source does not know the sum does not know",
			dst:  hist{scale: 0, sum: 1, min: 1, max: 1, positive: side{0, []uint64{1}}},
			src:  hist{scale: 0, noSum: true, noMin: true, noMax: true, positive: side{0, []uint64{1}}},
			want: hist{scale: 0, noSum: true, noMin: true, noMax: true, positive: side{0, []uint64{2}}},
		},
		{
			name:     "an empty source changes nothing",
			dst:      hist{scale: 3, sum: 1, min: 1, max: 1, positive: side{0, []uint64{1}}},
			src:      hist{scale: -5, noSum: true, noMin: true, zeroThreshold: 3},
			want:     hist{scale: 3, sum: 1, min: 1, max: 1, positive: side{0, []uint64{1}}},
			oneSided: true,
		},
		{
			name: "values without buckets are kept",
			dst:  hist{scale: 2, sum: 1, count: 3},
			src:  hist{scale: 2, sum: 2, count: 4},
			want: hist{scale: 2, sum: 3, count: 7},
		},
		{
			name: "the larger zero threshold is taken and no bucket moves",
			dst:  hist{scale: 0, zero: 1, zeroThreshold: 0.1, positive: side{-10, []uint64{1}}},
			src:  hist{scale: 0, zero: 2, zeroThreshold: 8},
			want: hist{scale: 0, zero: 3, zeroThreshold: 8, positive: side{-10, []uint64{1}}},
		},
		{
			name:      "exactly MaxBuckets buckets keep the scale",
			dst:       hist{scale: 2, positive: side{0, repeat(MaxBuckets-1, 1)}},
			src:       hist{scale: 2, positive: side{MaxBuckets - 1, []uint64{1}}},
			want:      hist{scale: 2, positive: side{0, repeat(MaxBuckets, 1)}},
			wantSlots: MaxBuckets,
		},
		{
			name:      "one bucket more halves the resolution",
			dst:       hist{scale: 2, positive: side{0, repeat(MaxBuckets, 1)}},
			src:       hist{scale: 2, positive: side{MaxBuckets, []uint64{1}}},
			want:      hist{scale: 1, positive: side{0, append(repeat(MaxBuckets/2, 2), 1)}},
			wantSlots: MaxBuckets/2 + 1,
		},
		{
			name: "a source that is too wide alone is lowered too",
			src:  hist{scale: 5, positive: side{-160, repeat(320, 1)}},
			want: hist{scale: 4, positive: side{-80, repeat(160, 2)}},
			// The other way round nothing is added, and what is there stays.
			oneSided: true,
		},
		{
			name: "too wide a negative side lowers the positive one with it",
			dst:  hist{scale: 1, positive: side{0, []uint64{1, 1}}, negative: side{0, []uint64{1}}},
			src:  hist{scale: 1, negative: side{200, []uint64{1}}},
			want: hist{scale: 0, positive: side{0, []uint64{2}}, negative: side{0, append(append([]uint64{1}, repeat(99, 0)...), 1)}},
		},
		{
			name: "empty buckets at the ends cost no resolution",
			dst:  hist{scale: 2, positive: side{0, append([]uint64{1}, repeat(1000, 0)...)}},
			src:  hist{scale: 2, positive: side{-1000, append(repeat(1001, 0), 1)}},
			want: hist{scale: 2, positive: side{0, []uint64{1, 1}}},
		},
		{
			name: "offsets at both ends of int32 meet in two buckets",
			dst:  hist{scale: 20, positive: side{math.MinInt32, []uint64{1}}},
			src:  hist{scale: 20, positive: side{math.MaxInt32, []uint64{1}}},
			// -2³¹>>24 = -128 and (2³¹-1)>>24 = 127 are 256 buckets; one scale lower fits.
			want:      hist{scale: -5, positive: side{-64, append(append([]uint64{1}, repeat(126, 0)...), 1)}},
			wantSlots: 128,
		},
		{
			name: "indexes past the end of int32 are lowered into it",
			dst:  hist{scale: 0, positive: side{math.MaxInt32, []uint64{1, 1, 1}}},
			src:  hist{scale: 0, positive: side{math.MaxInt32 - 1, []uint64{1}}},
			want: hist{scale: -1, positive: side{math.MaxInt32 >> 1, []uint64{2, 2}}},
		},
		{
			name: "scales at both ends of int32 meet",
			dst:  hist{scale: math.MinInt32, positive: side{5, []uint64{1}}},
			src:  hist{scale: math.MaxInt32, positive: side{-7, []uint64{1, 1}}, negative: side{7, []uint64{1}}},
			want: hist{scale: math.MinInt32, positive: side{-1, []uint64{2, 0, 0, 0, 0, 0, 1}}, negative: side{0, []uint64{1}}},
		},
		{
			name: "the scale stops at the end of int32",
			dst:  hist{scale: math.MinInt32, positive: side{-1000, []uint64{1}}},
			src:  hist{scale: math.MinInt32, positive: side{1000, []uint64{1}}},
			want: hist{scale: math.MinInt32, positive: side{-63, append(append([]uint64{1}, repeat(124, 0)...), 1)}},
		},
		{
			name: "counts wrap",
			dst:  hist{scale: 0, count: math.MaxUint64, zero: math.MaxUint64, positive: side{0, []uint64{math.MaxUint64}}},
			src:  hist{scale: 0, count: 3, zero: 3, positive: side{0, []uint64{3}}},
			want: hist{scale: 0, count: 2, zero: 2, positive: side{0, []uint64{2}}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := tt.src.point()
			got := tt.dst.point()
			Add(got, src)
			assertSame(t, tt.want.point(), got)
			if tt.wantSlots > 0 {
				assert.Equal(t, tt.wantSlots, got.Positive().BucketCounts().Len())
			}
			if tt.oneSided {
				return
			}
			other := tt.src.point()
			Add(other, tt.dst.point())
			assertSame(t, tt.want.point(), other)
		})
	}
}

func TestAddKeepsIdentityOfDestination(t *testing.T) {
	dst := hist{scale: 2, positive: side{0, []uint64{1}}}.point()
	dst.Attributes().PutStr("a", "b")
	dst.SetTimestamp(7)
	dst.SetStartTimestamp(3)
	dst.SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
	src := hist{scale: 2, positive: side{0, []uint64{1}}}.point()
	src.Attributes().PutStr("c", "d")
	src.SetTimestamp(9)
	Add(dst, src)
	assert.Equal(t, map[string]any{"a": "b"}, dst.Attributes().AsRaw())
	assert.Equal(t, pcommon.Timestamp(7), dst.Timestamp())
	assert.Equal(t, pcommon.Timestamp(3), dst.StartTimestamp())
	assert.True(t, dst.Flags().NoRecordedValue())
}

func TestAddReplacesWhatAnEmptyDestinationHeld(t *testing.T) {
	dst := hist{scale: 9, sum: 5, min: 5, max: 5, zeroThreshold: 1, positive: side{3, []uint64{1}}}.point()
	dst.SetCount(0) // inconsistent: buckets without a count
	src := hist{scale: 1, sum: 2, min: 2, max: 2, positive: side{1, []uint64{1}}}
	Add(dst, src.point())
	assertSame(t, src.point(), dst)
}

func TestEmptyBucketsOfTheDestinationDoNotStayBeyondTheBound(t *testing.T) {
	padded := make([]uint64, 1000)
	padded[500] = 3
	for name, c := range map[string]struct {
		dst  hist
		want side
	}{
		"around a count": {hist{scale: 2, sum: 1, min: 1, max: 1, positive: side{-500, padded}}, side{0, []uint64{4}}},
		"around nothing": {hist{scale: 2, sum: 1, min: 1, max: 1, zero: 1, positive: side{-500, make([]uint64, 1000)}}, side{0, []uint64{1}}},
	} {
		dst := c.dst.point()
		Add(dst, hist{scale: 2, sum: 1, min: 1, max: 1, positive: side{0, []uint64{1}}}.point())
		assert.Equal(t, c.want.offset, dst.Positive().Offset(), name)
		assert.Equal(t, c.want.counts, dst.Positive().BucketCounts().AsRaw(), name)
	}

	other := hist{scale: 2, sum: 1, min: 1, max: 1, zero: 1, negative: side{0, make([]uint64, 1000)}}.point()
	Add(other, hist{scale: 2, sum: 1, min: 1, max: 1, positive: side{0, []uint64{1}}}.point())
	assert.Zero(t, other.Negative().BucketCounts().Len(), "a side without a count")
}

func TestAddWithoutChangeOfLayoutDoesNotAllocate(t *testing.T) {
	dst, src := full(), full()
	require.Zero(t, testing.AllocsPerRun(100, func() { Add(dst, src) }))
}

// full is the widest histogram that the receiver writes.
func full() pmetric.ExponentialHistogramDataPoint {
	return hist{scale: Scale, sum: 1, min: 1e-5, max: 60, positive: side{Offset, repeat(NBuckets, 3)}}.point()
}

func BenchmarkAdd(b *testing.B) {
	narrow := func(offset int32, scale int32) pmetric.ExponentialHistogramDataPoint {
		return hist{scale: scale, sum: 1, min: 1e-3, max: 1, positive: side{offset, repeat(12, 3)}}.point()
	}
	for _, bb := range []struct {
		name     string
		dst, src pmetric.ExponentialHistogramDataPoint
	}{
		{"full", full(), full()},
		{"typical", full(), narrow(-40, Scale)},
		{"finer", full(), narrow(-320, Scale+3)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Add(bb.dst, bb.src)
			}
		})
	}
	b.Run("into empty", func(b *testing.B) {
		src := narrow(-40, Scale)
		b.ReportAllocs()
		for b.Loop() {
			Add(pmetric.NewExponentialHistogramDataPoint(), src)
		}
	})
}
