// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"context"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/golden"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowlimitprocessor/internal/metadata"
)

// counted has the totals of whole numbers and histogram counts by metric name, without
// the points that the contract says to refuse. Levels are not added over time.
func counted(md pmetric.Metrics, into map[string]*big.Int) (points int) {
	add := func(name string, n *big.Int) {
		points++
		if into[name] == nil {
			into[name] = new(big.Int)
		}
		into[name].Add(into[name], n)
	}
	for _, rm := range md.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				refuses := func(attributes pcommon.Map, temporality pmetric.AggregationTemporality, hasValue bool) bool {
					_, flow := flowattr.Read(attributes)
					if v, ok := attributes.Get(flowattr.Aggregated); ok && v.Type() == pcommon.ValueTypeBool && v.Bool() {
						flow = true
					}
					flow = flow || m.Name() == flowattr.MetricListenDrops
					return flow && (temporality != pmetric.AggregationTemporalityDelta || !hasValue)
				}
				switch m.Type() {
				case pmetric.MetricTypeSum:
					for _, dp := range m.Sum().DataPoints().All() {
						hasValue := dp.ValueType() != pmetric.NumberDataPointValueTypeEmpty && !dp.Flags().NoRecordedValue()
						if !refuses(dp.Attributes(), m.Sum().AggregationTemporality(), hasValue) && dp.ValueType() == pmetric.NumberDataPointValueTypeInt {
							add(m.Name(), big.NewInt(dp.IntValue()))
						}
					}
				case pmetric.MetricTypeExponentialHistogram:
					for _, dp := range m.ExponentialHistogram().DataPoints().All() {
						if !refuses(dp.Attributes(), m.ExponentialHistogram().AggregationTemporality(), !dp.Flags().NoRecordedValue()) {
							add(m.Name(), new(big.Int).SetUint64(dp.Count()))
						}
					}
				}
			}
		}
	}
	return points
}

// exact says whether md's whole numbers can be added without leaving int64, and no metric
// mixes them with others.
func exact(md pmetric.Metrics) bool {
	const limit = 1 << 40
	for _, rm := range md.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				switch m.Type() {
				case pmetric.MetricTypeSum:
					for _, dp := range m.Sum().DataPoints().All() {
						if dp.ValueType() == pmetric.NumberDataPointValueTypeDouble || dp.IntValue() > limit || dp.IntValue() < -limit {
							return false
						}
					}
				case pmetric.MetricTypeExponentialHistogram:
					for _, dp := range m.ExponentialHistogram().DataPoints().All() {
						if dp.Count() > limit {
							return false
						}
					}
				}
			}
		}
	}
	return true
}

// FuzzConsumeMetrics feeds arbitrary batches, each twice. Nothing panics, no whole number
// is lost or made, and what passes is as it was.
func FuzzConsumeMetrics(f *testing.F) {
	seeds, err := filepath.Glob("testdata/*/*.yaml")
	require.NoError(f, err)
	for _, path := range seeds {
		md, err := golden.ReadMetrics(path)
		require.NoError(f, err)
		wire, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(md)
		require.NoError(f, err)
		f.Add(wire, uint8(1), uint16(0))
		f.Add(wire, uint8(3), uint16(1000))
	}
	f.Fuzz(func(t *testing.T, wire []byte, top uint8, maxBytes uint16) {
		md, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(wire)
		if err != nil {
			t.Skip()
		}
		cfg := testConfig(int(top) + 1)
		cfg.MaxStreams = int(top) + 1
		got := map[string]*big.Int{}
		next, err := consumer.NewMetrics(func(_ context.Context, md pmetric.Metrics) error {
			counted(md, got)
			_, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(md)
			return err
		}, consumer.WithCapabilities(consumer.Capabilities{MutatesData: true}))
		require.NoError(t, err)
		l, err := newLimiter(processortest.NewNopSettings(metadata.Type), cfg, next)
		require.NoError(t, err)
		l.held.maxBytes = int(maxBytes)
		want := map[string]*big.Int{}
		for range 2 {
			counted(md, want)
			require.NoError(t, l.ConsumeMetrics(t.Context(), md))
		}
		l.mu.Lock()
		require.LessOrEqual(t, l.held.bytes, max(int(maxBytes), 0))
		l.held.releaseDue(time.Now().Add(defaultRoundTimeout))
		require.Zero(t, l.held.points)
		require.Zero(t, l.held.bytes)
		l.mu.Unlock()
		require.NoError(t, l.Shutdown(t.Context()))
		require.LessOrEqual(t, l.emitter.streams.held, cfg.MaxStreams)
		if exact(md) {
			for name, n := range want {
				require.Zero(t, n.Cmp(orZero(got[name])), "metric %q: %s in, %s out", name, n, orZero(got[name]))
			}
			for name, n := range got {
				require.Zero(t, n.Cmp(orZero(want[name])), "metric %q: %s in, %s out", name, orZero(want[name]), n)
			}
		}
	})
}

func orZero(n *big.Int) *big.Int {
	if n == nil {
		return new(big.Int)
	}
	return n
}
