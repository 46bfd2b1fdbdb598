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

	"github.com/otel-flowmonitor/flowmonitor/processor/flowlimitprocessor/internal/metadata"
)

// BenchmarkRound is a round of 20,000 flows, 16 points each: parsed, held, ranked, merged
// and written. The few-flows case has nothing to merge: all its points are written again.
func BenchmarkRound(b *testing.B) {
	for _, bb := range []struct {
		name  string
		flows int
	}{
		{"20000 flows", 20_000},
		{"500 flows, all kept", 500},
	} {
		b.Run(bb.name, func(b *testing.B) {
			l, err := newLimiter(processortest.NewNopSettings(metadata.Type), createDefaultConfig().(*Config), consumertest.NewNop())
			require.NoError(b, err)
			defer func() { require.NoError(b, l.Shutdown(b.Context())) }()
			start := pcommon.NewTimestampFromTime(time.Now().Add(-24 * time.Hour))
			md := fullRound(b, "i-1", interval{start, start}, bb.flows, rand.New(rand.NewPCG(1, 1)))
			points := md.DataPointCount()
			end := start
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				// A round is sent when the next one comes, so that each turn sends one.
				b.StopTimer()
				end += pcommon.Timestamp(time.Millisecond)
				setEnd(md, end)
				b.StartTimer()
				require.NoError(b, l.ConsumeMetrics(b.Context(), md))
			}
			b.ReportMetric(float64(points)*float64(b.N)/b.Elapsed().Seconds(), "points/s")
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
