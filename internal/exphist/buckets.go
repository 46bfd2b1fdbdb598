// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package exphist

import (
	"math"

	"go.opentelemetry.io/collector/pdata/pmetric"
)

// span is the range of bucket indexes, both included, that hold a count; last < first
// when none does. 64 bits wide, because an offset near the end of int32 plus the number
// of buckets exceeds it.
type span struct{ first, last int64 }

var emptySpan = span{first: 0, last: -1}

func (s span) empty() bool { return s.last < s.first }

// spanOf leaves out empty buckets at both ends: padding must not cost resolution.
func spanOf(b pmetric.ExponentialHistogramDataPointBuckets) span {
	counts := b.BucketCounts()
	i, j := 0, counts.Len()-1
	for i <= j && counts.At(i) == 0 {
		i++
	}
	for i < j && counts.At(j) == 0 {
		j--
	}
	if i > j {
		return emptySpan
	}
	return span{int64(b.Offset()) + int64(i), int64(b.Offset()) + int64(j)}
}

// lower gives the span at a scale that is by lower: bucket i falls into bucket i>>by.
func (s span) lower(by uint64) span {
	if s.empty() {
		return s
	}
	return span{s.first >> by, s.last >> by}
}

func (s span) union(o span) span {
	switch {
	case s.empty():
		return o
	case o.empty():
		return s
	}
	return span{min(s.first, o.first), max(s.last, o.last)}
}

// fits says whether the span can be written: few enough buckets, every index an int32.
// Lowering the scale ends there after at most 33 steps, when all indexes are 0 or -1.
func (s span) fits() bool {
	return s.last-s.first < MaxBuckets && s.first >= math.MinInt32 && s.last <= math.MaxInt32
}

// addBuckets lowers dst by dstDown scales and adds src, lowered by srcDown, whose own span
// is srcSpan. all is the span of the result; it fits.
func addBuckets(dst, src pmetric.ExponentialHistogramDataPointBuckets, all, srcSpan span, dstDown, srcDown uint64) {
	counts := dst.BucketCounts()
	offset := int64(dst.Offset())
	lowered := srcSpan.lower(srcDown)
	if dstDown > 0 || counts.Len() > MaxBuckets || (!lowered.empty() && (lowered.first < offset || lowered.last >= offset+int64(counts.Len()))) {
		if all.empty() {
			if counts.Len() > MaxBuckets {
				counts.FromRaw(nil)
			}
			return
		}
		var wide [MaxBuckets]uint64
		for i := range counts.Len() {
			if c := counts.At(i); c != 0 {
				wide[((offset+int64(i))>>dstDown)-all.first] += c
			}
		}
		counts.FromRaw(wide[:all.last-all.first+1])
		dst.SetOffset(int32(all.first))
		offset = all.first
	}
	if lowered.empty() {
		return
	}
	from := src.BucketCounts()
	base := int64(src.Offset())
	for index := srcSpan.first; index <= srcSpan.last; index++ {
		if c := from.At(int(index - base)); c != 0 {
			at := int((index >> srcDown) - offset)
			counts.SetAt(at, counts.At(at)+c)
		}
	}
}
