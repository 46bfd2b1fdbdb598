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
			md := fleet.Points(f.Window(), time.Now().Add(-time.Second), time.Now())
			require.NoError(b, p.ConsumeMetrics(b.Context(), md))
			b.ReportAllocs()
			var watch cputime.Stopwatch
			for b.Loop() {
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
