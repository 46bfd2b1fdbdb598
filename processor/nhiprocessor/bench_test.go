// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nhiprocessor

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/otel-flowmonitor/flowmonitor/internal/cputime"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/fleet"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/metadata"
)

// BenchmarkConsumeMetrics consumes batches of known flows; ns/point and allocs/op are what
// counts. One core is enough for a million points a second below 1000 ns/point.
func BenchmarkConsumeMetrics(b *testing.B) {
	for _, hosts := range []int{3, 30} {
		b.Run(fmt.Sprintf("%d hosts", 2*hosts), func(b *testing.B) {
			p, err := NewFactory().CreateMetrics(b.Context(), processortest.NewNopSettings(metadata.Type), createDefaultConfig(), consumertest.NewNop())
			require.NoError(b, err)
			require.NoError(b, p.Start(b.Context(), componenttest.NewNopHost()))
			defer func() { require.NoError(b, p.Shutdown(b.Context())) }()
			f, _, _ := fleet.TwoVPCs(1, hosts, 1)
			md := fleet.Points(f.Window(), time.Now().Add(-time.Millisecond), time.Now())
			require.NoError(b, p.ConsumeMetrics(b.Context(), md))
			b.ReportAllocs()
			var watch cputime.Stopwatch
			for b.Loop() {
				advance(md, time.Millisecond) // the same again would be a duplicate
				watch.Start()
				if err := p.ConsumeMetrics(b.Context(), md); err != nil {
					b.Fatal(err)
				}
				watch.Stop(md.DataPointCount())
			}
			watch.Report(b, "point")
		})
	}
}

// advance lets each point of a batch begin where it ended.
func advance(md pmetric.Metrics, interval time.Duration) {
	for i := range md.ResourceMetrics().Len() {
		metrics := md.ResourceMetrics().At(i).ScopeMetrics().At(0).Metrics()
		for j := range metrics.Len() {
			switch m := metrics.At(j); m.Type() {
			case pmetric.MetricTypeSum:
				for k := range m.Sum().DataPoints().Len() {
					p := m.Sum().DataPoints().At(k)
					p.SetStartTimestamp(p.Timestamp())
					p.SetTimestamp(p.Timestamp() + pcommon.Timestamp(interval))
				}
			case pmetric.MetricTypeExponentialHistogram:
				for k := range m.ExponentialHistogram().DataPoints().Len() {
					p := m.ExponentialHistogram().DataPoints().At(k)
					p.SetStartTimestamp(p.Timestamp())
					p.SetTimestamp(p.Timestamp() + pcommon.Timestamp(interval))
				}
			}
		}
	}
}
