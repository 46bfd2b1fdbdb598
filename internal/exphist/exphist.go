// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package exphist adds exponential histograms of the OpenTelemetry data model.
//
// Addition is exact in count, zero count and in every bucket at the scale of the
// result, and does not depend on the order of the summands: bucket counts of a lower
// scale are sums of those of a higher one ("perfect subsetting"), and the scale of a
// result follows from which buckets hold a count, not from who came first. The sum is the
// one thing that is rounded, as each addition of two float64 is: in another order its last
// digits may differ.
package exphist // import "github.com/otel-flowmonitor/flowmonitor/internal/exphist"

import (
	"math"

	"go.opentelemetry.io/collector/pdata/pmetric"
)

// The layout of this project's histograms: 2^(1/4) per bucket, from 2⁻¹⁶ s (15.3 µs)
// to 2⁶ s, which makes 88 buckets: CloudWatch takes 100 values in one batch.
const (
	Scale    = 2
	Offset   = -64 // index of the bucket that starts at 2⁻¹⁶ s
	NBuckets = 88
)

// MaxBuckets is the most buckets that a sum has on each side of zero. It is the default
// MaxSize of the OpenTelemetry SDKs' base-2 exponential aggregation: every consumer of
// such histograms is made for it, and it leaves [NBuckets] untouched. Without a limit two
// points whose offsets are far apart would need one bucket for every index in between,
// up to 2³² of them.
const MaxBuckets = 160

// Add adds src to dst: count, sum, zero count and buckets are summed, min and max kept
// where both sides have them, the larger zero threshold taken. A dst whose count is zero
// becomes src, whatever else it held; a src whose count is zero changes nothing.
//
// The result has the highest scale at which both sides fit: not above the scale of
// either, and at most [MaxBuckets] buckets on each side of zero. A lower scale loses
// resolution but no count. A dst that came with more buckets, empty ones at its ends, is
// cut to those between counts. Counts wrap at 2⁶⁴, as every counter of the data model
// does. Buckets that lie below a zero threshold taken from the other side stay where they
// are: moving them into the zero count would make the result depend on the order.
//
// Only values are added: attributes, time stamps, flags and exemplars of dst stay. src is
// read only. Any pair of points is safe, also one that no encoder would write (offsets at
// the ends of int32, scales far apart, a count that is not the sum of its buckets). Not
// safe for concurrent use on the same dst.
func Add(dst, src pmetric.ExponentialHistogramDataPoint) {
	if src.Count() == 0 {
		return
	}
	if dst.Count() == 0 {
		reset(dst, src)
	}
	addSummary(dst, src)

	dstPositive, dstNegative := spanOf(dst.Positive()), spanOf(dst.Negative())
	srcPositive, srcNegative := spanOf(src.Positive()), spanOf(src.Negative())
	scale := int64(min(dst.Scale(), src.Scale()))
	dstDown, srcDown := uint64(int64(dst.Scale())-scale), uint64(int64(src.Scale())-scale)
	positive := dstPositive.lower(dstDown).union(srcPositive.lower(srcDown))
	negative := dstNegative.lower(dstDown).union(srcNegative.lower(srcDown))
	for !positive.fits() || !negative.fits() {
		positive, negative = positive.lower(1), negative.lower(1)
		scale--
		dstDown++
		srcDown++
	}
	// A scale below -11 has one bucket for all that a float64 can hold on either side
	// of 1, so that stopping at the end of the type changes no meaning.
	dst.SetScale(int32(max(scale, math.MinInt32)))
	addBuckets(dst.Positive(), src.Positive(), positive, srcPositive, dstDown, srcDown)
	addBuckets(dst.Negative(), src.Negative(), negative, srcNegative, dstDown, srcDown)
}

// reset makes dst an empty histogram that is neutral to the addition of src.
func reset(dst, src pmetric.ExponentialHistogramDataPoint) {
	dst.SetScale(src.Scale())
	dst.SetSum(0)
	dst.SetMin(math.Inf(1))
	dst.SetMax(math.Inf(-1))
	dst.SetZeroCount(0)
	dst.SetZeroThreshold(0)
	for _, b := range [...]pmetric.ExponentialHistogramDataPointBuckets{dst.Positive(), dst.Negative()} {
		b.SetOffset(0)
		b.BucketCounts().FromRaw(nil)
	}
}

// addSummary adds all but the buckets.
func addSummary(dst, src pmetric.ExponentialHistogramDataPoint) {
	if src.HasMin() && dst.HasMin() {
		dst.SetMin(min(dst.Min(), src.Min()))
	} else {
		dst.RemoveMin()
	}
	if src.HasMax() && dst.HasMax() {
		dst.SetMax(max(dst.Max(), src.Max()))
	} else {
		dst.RemoveMax()
	}
	if src.HasSum() && dst.HasSum() {
		dst.SetSum(dst.Sum() + src.Sum())
	} else {
		dst.RemoveSum()
	}
	dst.SetCount(dst.Count() + src.Count())
	dst.SetZeroCount(dst.ZeroCount() + src.ZeroCount())
	dst.SetZeroThreshold(max(dst.ZeroThreshold(), src.ZeroThreshold()))
}
