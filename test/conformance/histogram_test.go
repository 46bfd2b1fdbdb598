// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conformance

import (
	"math"
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// histogram adds up points of the contract's layout.
type histogram struct {
	count    uint64
	sum      time.Duration
	min, max time.Duration
	buckets  map[int]uint64 // by index at scale 2
}

// histogramOf adds up the points of a metric, without the probes.
func histogramOf(batches []pmetric.Metrics, metric string) histogram {
	h := histogram{min: math.MaxInt64, buckets: map[int]uint64{}}
	for _, b := range batches {
		for _, rm := range b.ResourceMetrics().All() {
			for _, sm := range rm.ScopeMetrics().All() {
				for _, m := range sm.Metrics().All() {
					if m.Name() != metric {
						continue
					}
					for _, dp := range m.ExponentialHistogram().DataPoints().All() {
						h.add(dp)
					}
				}
			}
		}
	}
	return h
}

func (h *histogram) add(dp pmetric.ExponentialHistogramDataPoint) {
	text := func(name string) string {
		if v, ok := dp.Attributes().Get(name); ok {
			return v.AsString()
		}
		return ""
	}
	if isProbe(text(flowattr.NetworkLocalPort), text(flowattr.NetworkPeerPort)) || dp.Count() == 0 {
		return
	}
	h.count += dp.Count()
	h.sum += seconds(dp.Sum())
	h.min = min(h.min, seconds(dp.Min()))
	h.max = max(h.max, seconds(dp.Max()))
	for i := range dp.Positive().BucketCounts().Len() {
		if n := dp.Positive().BucketCounts().At(i); n > 0 {
			h.buckets[int(dp.Positive().Offset())+i] += n
		}
	}
}

func seconds(s float64) time.Duration { return time.Duration(math.Round(s * 1e9)) }

// bucketOf is the definition of the data model: the i with 2^(i/4) s < d ≤ 2^((i+1)/4) s.
func bucketOf(d time.Duration) int {
	return int(math.Ceil(4*math.Log2(d.Seconds()))) - 1
}
