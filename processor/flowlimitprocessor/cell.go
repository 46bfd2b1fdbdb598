// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"math"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/exphist"
)

// number is a value of a sum or a level. Integers stay integers; one that would pass the
// end of int64, or meets a double, becomes a double rather than wrap.
type number struct {
	bits   uint64
	double bool
}

func intNumber(n int64) number      { return number{bits: uint64(n)} }
func doubleNumber(f float64) number { return number{bits: math.Float64bits(f), double: true} }

func numberOf(dp pmetric.NumberDataPoint) number {
	if dp.ValueType() == pmetric.NumberDataPointValueTypeDouble {
		return doubleNumber(dp.DoubleValue())
	}
	return intNumber(dp.IntValue())
}

func (n number) int() int64 { return int64(n.bits) }

func (n number) float() float64 {
	if n.double {
		return math.Float64frombits(n.bits)
	}
	return float64(n.int())
}

func (n number) isZero() bool { return n.float() == 0 }

func (n number) add(o number) number {
	if !n.double && !o.double {
		a, b := n.int(), o.int()
		if sum := a + b; (sum > a) == (b > 0) {
			return intNumber(sum)
		}
	}
	return doubleNumber(n.float() + o.float())
}

func (n number) put(dp pmetric.NumberDataPoint) {
	if n.double {
		dp.SetDoubleValue(n.float())
		return
	}
	dp.SetIntValue(n.int())
}

// cell is what one flow or row has of one column: a number, or the index of a histogram.
type cell struct {
	start  pcommon.Timestamp // the earliest; 0: unknown
	number number
}

// cellSize is the size of a cell with its id.
const cellSize = 24 + 4

// earliest gives the earlier of two starts, of which 0 is none.
func earliest(a, b pcommon.Timestamp) pcommon.Timestamp {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}

// histogramSize is about what a histogram takes beside its buckets.
const histogramSize = 320

// bucketsSize says how many bytes the buckets of a histogram take.
func bucketsSize(p pmetric.ExponentialHistogramDataPoint) int {
	return 8 * (p.Positive().BucketCounts().Len() + p.Negative().BucketCounts().Len())
}

// holdHistogram copies the values of dp, with at most exphist.MaxBuckets buckets a side.
func holdHistogram(dp pmetric.ExponentialHistogramDataPoint) pmetric.ExponentialHistogramDataPoint {
	held := pmetric.NewExponentialHistogramDataPoint()
	held.SetScale(dp.Scale())
	exphist.Add(held, dp)
	return held
}
