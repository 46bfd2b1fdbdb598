// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nhiprocessor

import (
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"
)

// Histograms that are believed: at a finer scale than 6 (a factor of 1.01 per bucket), or
// with times outside of 2⁻³⁰ s (1 ns) to 2²⁰ s (12 days), the sum of a few could take any
// amount of memory.
const (
	minScale, maxScale       = -10, 6
	minExponent, maxExponent = -30, 20
)

func (o *observation) readRTT(m pmetric.Metric, host string, table *evidence.Table) {
	if m.Type() != pmetric.MetricTypeExponentialHistogram {
		o.uncounted[malformed] += points(m)
		return
	}
	if m.ExponentialHistogram().AggregationTemporality() != pmetric.AggregationTemporalityDelta {
		o.uncounted[cumulative] += points(m)
		return
	}
	dps := m.ExponentialHistogram().DataPoints()
	for i := range dps.Len() {
		dp := dps.At(i)
		if dp.Flags().NoRecordedValue() || dp.Count() == 0 {
			continue
		}
		if !credible(dp) {
			o.uncounted[malformed]++
			continue
		}
		if p := o.identify(dp.Attributes(), host, table); p != nil {
			p.start, p.at = int64(dp.StartTimestamp()), int64(dp.Timestamp())
			p.histogram = o.copy(dp)
		}
	}
}

// copy keeps a histogram beyond the batch.
func (o *observation) copy(dp pmetric.ExponentialHistogramDataPoint) int32 {
	if o.used == len(o.histograms) {
		o.histograms = append(o.histograms, pmetric.NewExponentialHistogramDataPoint())
	}
	h := o.histograms[o.used]
	h.SetScale(dp.Scale())
	h.SetCount(dp.Count())
	h.SetZeroCount(dp.ZeroCount())
	h.SetZeroThreshold(dp.ZeroThreshold())
	h.RemoveSum()
	h.RemoveMin()
	h.RemoveMax()
	if dp.HasSum() {
		h.SetSum(dp.Sum())
	}
	if dp.HasMin() {
		h.SetMin(dp.Min())
	}
	if dp.HasMax() {
		h.SetMax(dp.Max())
	}
	h.Positive().SetOffset(dp.Positive().Offset())
	dp.Positive().BucketCounts().CopyTo(h.Positive().BucketCounts())
	o.used++
	return int32(o.used - 1)
}

// credible says whether a histogram can be one of round-trip times, and be added up in
// little memory.
func credible(dp pmetric.ExponentialHistogramDataPoint) bool {
	scale, offset, n := int64(dp.Scale()), int64(dp.Positive().Offset()), int64(dp.Positive().BucketCounts().Len())
	if scale < minScale || scale > maxScale || dp.Negative().BucketCounts().Len() > 0 || dp.Count() > maxValue || dp.ZeroCount() > dp.Count() {
		return false
	}
	if n > 0 {
		lowest, highest := int64(minExponent), int64(maxExponent)
		if scale >= 0 {
			lowest, highest = lowest<<scale, highest<<scale
		} else {
			lowest, highest = lowest>>-scale, highest>>-scale+1
		}
		if offset < lowest || offset+n-1 > highest {
			return false
		}
	}
	left := dp.Count() - dp.ZeroCount()
	for i := range int(n) {
		c := dp.Positive().BucketCounts().At(i)
		if c > left {
			return false
		}
		left -= c
	}
	if left != 0 || dp.HasSum() && !seconds(dp.Sum()) || dp.HasMin() && !seconds(dp.Min()) || dp.HasMax() && !seconds(dp.Max()) || !seconds(dp.ZeroThreshold()) {
		return false
	}
	return !dp.HasMin() || !dp.HasMax() || dp.Min() <= dp.Max()
}

// seconds says whether a value can be a sum of times: neither negative nor beyond measure.
func seconds(v float64) bool { return v >= 0 && v <= maxValue } // false for NaN, too
