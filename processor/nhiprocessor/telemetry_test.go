// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nhiprocessor

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/fleet"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/metadatatest"
)

func number(n int64) []metricdata.DataPoint[int64] { return []metricdata.DataPoint[int64]{{Value: n}} }

func byReason(counts map[string]int64) (out []metricdata.DataPoint[int64]) {
	for reason, n := range counts {
		out = append(out, metricdata.DataPoint[int64]{Value: n, Attributes: attribute.NewSet(attribute.String("reason", reason))})
	}
	return out
}

var anyTime = metricdatatest.IgnoreTimestamp()

// one flow's batch: one segments point of one host pair, changed as the case wants it.
func batch(change func(pmetric.Metric, pmetric.NumberDataPoint)) pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr(flowattr.HostID, "i-1")
	m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName(flowattr.MetricSegmentsSent)
	m.SetEmptySum().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	p := m.Sum().DataPoints().AppendEmpty()
	p.SetIntValue(10)
	p.SetTimestamp(pcommon.NewTimestampFromTime(time.Now()))
	p.Attributes().PutStr(flowattr.Role, "client")
	p.Attributes().PutStr(flowattr.NetworkLocalAddress, "10.0.0.1")
	p.Attributes().PutStr(flowattr.NetworkPeerAddress, "10.0.0.2")
	p.Attributes().PutStr(flowattr.Category, flowattr.CategoryIntraAZ)
	p.Attributes().PutEmptySlice(flowattr.Path).AppendEmpty().SetStr("subnet/a")
	p.Attributes().PutEmptySlice(flowattr.Monitors).AppendEmpty().SetStr("m")
	if change != nil {
		change(m, p)
	}
	return md
}

// mostIn5s is how many frames of 84 bytes 800 Gbit/s carry in 5 s.
const mostIn5s = 5_952_380_952

func TestEveryPointIsCountedOnce(t *testing.T) {
	for _, tt := range []struct {
		name      string
		configure func(*Config)
		before    int // plain batches consumed before
		change    func(pmetric.Metric, pmetric.NumberDataPoint)
		evidence  int64
		misplaced map[string]int64
		uncounted map[string]int64
	}{
		{name: "a flow's point is evidence", evidence: 1},
		{name: "a double is a count, too", change: func(_ pmetric.Metric, p pmetric.NumberDataPoint) { p.SetDoubleValue(3) }, evidence: 1},
		{name: "a point without a recorded value is none", change: func(_ pmetric.Metric, p pmetric.NumberDataPoint) {
			p.SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
		}},
		{name: "other metrics are not looked at", change: func(m pmetric.Metric, _ pmetric.NumberDataPoint) { m.SetName("system.network.io") }},
		{name: "a cumulative point is refused", change: func(m pmetric.Metric, _ pmetric.NumberDataPoint) {
			m.Sum().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		}, uncounted: map[string]int64{"cumulative": 1}},
		{name: "a sum of no temporality is refused", change: func(m pmetric.Metric, _ pmetric.NumberDataPoint) {
			m.Sum().SetAggregationTemporality(pmetric.AggregationTemporalityUnspecified)
		}, uncounted: map[string]int64{"cumulative": 1}},
		{name: "a negative count is malformed", change: func(_ pmetric.Metric, p pmetric.NumberDataPoint) { p.SetIntValue(-1) }, uncounted: map[string]int64{"malformed": 1}},
		{name: "an absurd count is malformed", change: func(_ pmetric.Metric, p pmetric.NumberDataPoint) { p.SetIntValue(1 << 60) }, uncounted: map[string]int64{"malformed": 1}},
		{name: "a gauge of segments is malformed", change: func(m pmetric.Metric, _ pmetric.NumberDataPoint) {
			m.SetEmptyGauge().DataPoints().AppendEmpty()
		}, uncounted: map[string]int64{"malformed": 1}},
		{name: "a point that flowmonitor did not see is not enriched", change: func(_ pmetric.Metric, p pmetric.NumberDataPoint) {
			p.Attributes().RemoveIf(func(k string, _ pcommon.Value) bool {
				return k == flowattr.Category || k == flowattr.Path || k == flowattr.Monitors
			})
		}, uncounted: map[string]int64{"unenriched": 1}},
		{name: "a monitor past the limit is told", configure: func(c *Config) { c.MaxMonitors = 1 }, before: 1,
			change:   func(_ pmetric.Metric, p pmetric.NumberDataPoint) { monitors(p).AppendEmpty().SetStr("n") },
			evidence: 2, uncounted: map[string]int64{"monitor_limit": 1}},
		{name: "a point dated ahead is early", change: func(_ pmetric.Metric, p pmetric.NumberDataPoint) {
			p.SetTimestamp(pcommon.NewTimestampFromTime(time.Now().Add(time.Hour)))
		}, misplaced: map[string]int64{"early": 1}},
		{name: "a point without a time is undated", change: func(_ pmetric.Metric, p pmetric.NumberDataPoint) { p.SetTimestamp(0) },
			misplaced: map[string]int64{"undated": 1}},
		{name: "a point of a decided window is late", before: 1, change: func(_ pmetric.Metric, p pmetric.NumberDataPoint) {
			p.SetTimestamp(pcommon.NewTimestampFromTime(time.Now().Add(-time.Hour)))
		}, evidence: 1, misplaced: map[string]int64{"late": 1}},
		{name: "a flow past the limit is told", configure: func(c *Config) { c.MaxFlows = 1 }, before: 1,
			change: func(_ pmetric.Metric, p pmetric.NumberDataPoint) {
				p.Attributes().PutStr(flowattr.NetworkPeerAddress, "10.0.0.3")
			},
			evidence: 1, misplaced: map[string]int64{"flow_limit": 1}},
		{name: "a component past the limit is told", configure: func(c *Config) { c.MaxComponents = 1 }, before: 1,
			change:   func(_ pmetric.Metric, p pmetric.NumberDataPoint) { path(p).AppendEmpty().SetStr("subnet/b") },
			evidence: 1, misplaced: map[string]int64{"component_limit": 1}},
		{name: "a path past the limit is told", change: func(_ pmetric.Metric, p pmetric.NumberDataPoint) {
			for range 50 {
				path(p).AppendEmpty().SetStr("subnet/b")
			}
		}, misplaced: map[string]int64{"path_limit": 1}},
		{name: "more segments than a link can carry in a window are no evidence", change: func(_ pmetric.Metric, p pmetric.NumberDataPoint) {
			p.SetIntValue(mostIn5s + 1)
		}, misplaced: map[string]int64{"absurd": 1}},
		{name: "also in two points", before: 1, change: func(_ pmetric.Metric, p pmetric.NumberDataPoint) {
			p.SetIntValue(mostIn5s - 5)
		}, evidence: 1, misplaced: map[string]int64{"absurd": 1}},
		{name: "as many as it can carry are", change: func(_ pmetric.Metric, p pmetric.NumberDataPoint) {
			p.SetIntValue(mostIn5s)
		}, evidence: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, tt.configure)
				for range tt.before {
					b.consume(batch(nil))
				}
				b.consume(batch(tt.change))
				metadatatest.AssertEqualProcessorNhiPoints(t, b.telemetry, number(tt.evidence), anyTime)
				if len(tt.misplaced) > 0 {
					metadatatest.AssertEqualProcessorNhiPointsMisplaced(t, b.telemetry, byReason(tt.misplaced), anyTime)
				} else {
					_, err := b.telemetry.GetMetric("otelcol_processor_nhi_points_misplaced")
					assert.Error(t, err)
				}
				if len(tt.uncounted) > 0 {
					metadatatest.AssertEqualProcessorNhiPointsUncounted(t, b.telemetry, byReason(tt.uncounted), anyTime)
				} else {
					_, err := b.telemetry.GetMetric("otelcol_processor_nhi_points_uncounted")
					assert.Error(t, err)
				}
				assert.Equal(t, tt.before+1, b.sink.DataPointCount(), "all of it passed through")
				b.stop()
			})
		})
	}
}

func monitors(p pmetric.NumberDataPoint) pcommon.Slice {
	v, _ := p.Attributes().Get(flowattr.Monitors)
	return v.Slice()
}

func path(p pmetric.NumberDataPoint) pcommon.Slice {
	v, _ := p.Attributes().Get(flowattr.Path)
	return v.Slice()
}

func TestWhatIsHeldIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.MaxFlows, c.MaxComponents, c.MaxMonitors = 1000, 200, 30 })
		f, _, _ := fleet.TwoVPCs(1, 3, 1)
		b.play(f, 4) // 8 s: the first window is decided by what arrives at its end plus the lateness
		synctest.Wait()
		metadatatest.AssertEqualProcessorNhiFlows(t, b.telemetry, number(42), anyTime) // pairs of hosts: 18 across; 12 within, each as client and as server
		metadatatest.AssertEqualProcessorNhiFlowsCapacity(t, b.telemetry, number(1000), anyTime)
		metadatatest.AssertEqualProcessorNhiComponents(t, b.telemetry, number(3), anyTime)
		metadatatest.AssertEqualProcessorNhiComponentsCapacity(t, b.telemetry, number(200), anyTime)
		metadatatest.AssertEqualProcessorNhiMonitors(t, b.telemetry, number(1), anyTime)
		metadatatest.AssertEqualProcessorNhiMonitorsCapacity(t, b.telemetry, number(30), anyTime)
		metadatatest.AssertEqualProcessorNhiWindowsOpen(t, b.telemetry, number(1), anyTime)
		metadatatest.AssertEqualProcessorNhiWindowsDecided(t, b.telemetry, number(2), anyTime) // one is before the first point, which others may have been behind
		m, err := b.telemetry.GetMetric("otelcol_processor_nhi_decision_duration")
		require.NoError(t, err)
		assert.Equal(t, uint64(2), m.Data.(metricdata.Histogram[float64]).DataPoints[0].Count)
		for range 4 { // what is not seen is kept for some windows
			b.settle()
		}
		metadatatest.AssertEqualProcessorNhiFlows(t, b.telemetry, number(0), anyTime)
		metadatatest.AssertEqualProcessorNhiComponents(t, b.telemetry, number(0), anyTime)
		metadatatest.AssertEqualProcessorNhiWindowsOpen(t, b.telemetry, number(0), anyTime)
		b.stop()
	})
}

func TestMonitorsWithoutAVerdictAreCountedByReason(t *testing.T) {
	for reason, tt := range map[string]func(seed uint64) *fleet.Fleet{
		"hosts":    func(seed uint64) *fleet.Fleet { f, _, _ := fleet.TwoVPCs(seed, 2, 10); return f },
		"segments": func(seed uint64) *fleet.Fleet { f, _, _ := fleet.TwoVPCs(seed, 3, 0.01); return f },
		"no_evidence": func(seed uint64) *fleet.Fleet {
			f, _, _ := fleet.TwoVPCs(seed, 3, 1)
			for _, flow := range f.Flows {
				flow.Category = flowattr.CategoryInternet
			}
			return f
		},
		"silent": nil,
	} {
		t.Run(reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, nil)
				if tt == nil {
					f, _, _ := fleet.TwoVPCs(1, 3, 1)
					b.play(f, 10)
					b.settle()
				} else {
					b.play(tt(1), 10)
				}
				synctest.Wait()
				want := map[string]int64{"hosts": 0, "segments": 0, "no_evidence": 0, "silent": 0, "undetermined": 0}
				want[reason] = 1
				metadatatest.AssertEqualProcessorNhiMonitorsInsufficient(t, b.telemetry, byReason(want), anyTime)
				b.stop()
			})
		})
	}
}
