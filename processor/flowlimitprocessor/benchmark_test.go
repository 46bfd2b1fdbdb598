// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/otel-flowmonitor/flowmonitor/internal/cputime"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowlimitprocessor/internal/metadata"
)

// BenchmarkRound is a round of a host with flows of 18 points each: parsed, held, ranked,
// merged and written. Enriched here, the points come from a flowmonitor processor in the same collector,
// as the pipeline has it; from the wire, from one in another, so that every attribute of every point is
// a text somewhere else in memory. The few-flows case has nothing to merge: all its points are written
// again.
func BenchmarkRound(b *testing.B) {
	for _, bb := range []struct {
		name  string
		flows int
		round func(testing.TB, string, interval, int, *rand.Rand) pmetric.Metrics
	}{
		{"20000 flows, enriched here", 20_000, enrichedHere},
		{"20000 flows, from the wire", 20_000, fullRound},
		{"2000 flows, enriched here", 2000, enrichedHere},
		{"500 flows, all kept", 500, enrichedHere},
	} {
		b.Run(bb.name, func(b *testing.B) {
			l, err := newLimiter(processortest.NewNopSettings(metadata.Type), createDefaultConfig().(*Config), consumertest.NewNop())
			require.NoError(b, err)
			defer func() { require.NoError(b, l.Shutdown(b.Context())) }()
			start := pcommon.NewTimestampFromTime(time.Now().Add(-24 * time.Hour))
			md := bb.round(b, "i-1", interval{start, start}, bb.flows, rand.New(rand.NewPCG(1, 1)))
			points := md.DataPointCount()
			end := start
			var watch cputime.Stopwatch
			b.ReportAllocs()
			for b.Loop() {
				// A round is sent when the next one comes, so that each turn sends one.
				b.StopTimer()
				end += pcommon.Timestamp(time.Millisecond)
				setEnd(md, end)
				b.StartTimer()
				watch.Start()
				require.NoError(b, l.ConsumeMetrics(b.Context(), md))
				watch.Stop(points)
			}
			watch.Report(b, "point")
		})
	}
}

func setEnd(md pmetric.Metrics, end pcommon.Timestamp) {
	for _, rm := range md.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				switch m.Type() {
				case pmetric.MetricTypeSum:
					for _, dp := range m.Sum().DataPoints().All() {
						dp.SetTimestamp(end)
					}
				case pmetric.MetricTypeGauge:
					for _, dp := range m.Gauge().DataPoints().All() {
						dp.SetTimestamp(end)
					}
				case pmetric.MetricTypeExponentialHistogram:
					for _, dp := range m.ExponentialHistogram().DataPoints().All() {
						dp.SetTimestamp(end)
					}
				}
			}
		}
	}
}
