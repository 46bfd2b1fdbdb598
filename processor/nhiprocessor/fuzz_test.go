// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nhiprocessor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/fleet"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/metadata"
)

// Whatever points come, nothing breaks, all of it passes through, and what is held is
// flushed.
func FuzzConsumeMetrics(f *testing.F) {
	marshaler, unmarshaler := &pmetric.ProtoMarshaler{}, &pmetric.ProtoUnmarshaler{}
	seed := func(md pmetric.Metrics) {
		data, err := marshaler.MarshalMetrics(md)
		require.NoError(f, err)
		f.Add(data)
	}
	seed(pmetric.NewMetrics())
	seed(batch(nil))
	small, _, _ := fleet.TwoVPCs(1, 1, 1)
	seed(fleet.Points(small.Window(), time.Unix(1, 0), time.Unix(2, 0)))
	three, _, _ := fleet.TwoVPCs(1, 3, 1)
	three.Faults = []fleet.Fault{fleet.On("transit_gateway/tgw-1", fleet.Loss{Rate: 0.5, Burst: 1})}
	seed(fleet.Points(three.Window(), time.Now(), time.Now()))
	f.Fuzz(func(t *testing.T, data []byte) {
		md, err := unmarshaler.UnmarshalMetrics(data)
		if err != nil {
			t.Skip()
		}
		sink := &consumertest.MetricsSink{}
		cfg := createDefaultConfig().(*Config)
		cfg.MaxFlows, cfg.MaxComponents, cfg.MaxMonitors = 50, 20, 5
		p, err := NewFactory().CreateMetrics(t.Context(), processortest.NewNopSettings(metadata.Type), cfg, sink)
		require.NoError(t, err)
		require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
		points := md.DataPointCount()
		for range 2 {
			again := pmetric.NewMetrics()
			md.CopyTo(again)
			require.NoError(t, p.ConsumeMetrics(t.Context(), again))
		}
		passed := 0
		for _, out := range sink.AllMetrics() {
			if !isOwn(out) {
				passed += out.DataPointCount()
			}
		}
		if !isOwn(md) {
			require.Equal(t, 2*points, passed)
		}
		require.NoError(t, p.Shutdown(t.Context()))
	})
}
