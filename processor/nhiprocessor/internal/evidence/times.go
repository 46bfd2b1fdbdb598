// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"math"

	"github.com/otel-flowmonitor/flowmonitor/internal/exphist"
)

// Times counts round-trip times by size, in the buckets of the receiver: 2^(1/4) each, from
// 2⁻¹⁶ s (15 µs) on; what lies outside is in the first and the last.
type Times [exphist.NBuckets]uint32

// Bucket numbers the bucket that holds bucket index of a histogram of the given scale. Of a
// coarser one, its middle.
func Bucket(index, scale int) int {
	switch shift := scale - exphist.Scale; {
	case shift > 0:
		index >>= min(shift, 31)
	case shift < 0:
		index = index<<-shift + 1<<(-shift-1)
	}
	return min(max(index-exphist.Offset, 0), exphist.NBuckets-1)
}

// Add adds n times to a bucket. A count that would overflow stays at its maximum.
func (t *Times) Add(bucket int, n uint64) {
	t[bucket] = uint32(min(uint64(t[bucket])+min(n, math.MaxUint32), math.MaxUint32))
}

// Merge adds o.
func (t *Times) Merge(o *Times) {
	for i, n := range o {
		if n > 0 {
			t.Add(i, uint64(n))
		}
	}
}

// Median is the logarithm to base 2 of the median, in seconds, and how many times there are.
// Within the bucket of the median the times are taken to be spread evenly over the logarithm.
func (t *Times) Median() (log2 float64, n uint64) {
	for _, c := range t {
		n += uint64(c)
	}
	half := float64(n) / 2
	below := 0.0
	for i, c := range t {
		if c > 0 && below+float64(c) >= half {
			const perDoubling = 1 << exphist.Scale
			return (float64(i+exphist.Offset) + (half-below)/float64(c)) / perDoubling, n
		}
		below += float64(c)
	}
	return 0, 0
}
