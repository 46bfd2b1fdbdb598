// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/verdict"
)

func minute(n int) time.Time { return time.Unix(int64(60*n), 0) }

func decision(state string, names ...string) *verdict.Decision {
	d := &verdict.Decision{}
	for _, n := range names {
		d.Monitors = append(d.Monitors, verdict.Monitor{Name: n, State: state, Cause: flowattr.CauseNone})
	}
	return d
}

func sent(monitor string, n uint64) *evidence.Window {
	w := evidence.NewWindow()
	w.ExtraOf(monitor).Add(evidence.Sent, n)
	return w
}

func rtt(monitor string, n uint64) *evidence.Window {
	w := evidence.NewWindow()
	h := pmetric.NewExponentialHistogramDataPoint()
	h.SetScale(2)
	h.SetCount(n)
	h.SetSum(float64(n))
	h.Positive().BucketCounts().FromRaw([]uint64{n})
	w.AddRTT(monitor, h)
	return w
}

func find(md pmetric.Metrics, name string) (out []pmetric.Metric) {
	if md.ResourceMetrics().Len() == 0 {
		return nil
	}
	ms := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics()
	for i := range ms.Len() {
		if ms.At(i).Name() == name {
			out = append(out, ms.At(i))
		}
	}
	return out
}

// point is one point of a sum.
type point struct {
	start, end, value int64 // seconds
}

func transferred(t *testing.T, md pmetric.Metrics) (out []point) {
	for _, m := range find(md, flowattr.MetricMonitorDataTransferred) {
		require.Equal(t, pmetric.AggregationTemporalityDelta, m.Sum().AggregationTemporality())
		require.True(t, m.Sum().IsMonotonic())
		for i := range m.Sum().DataPoints().Len() {
			p := m.Sum().DataPoints().At(i)
			out = append(out, point{p.StartTimestamp().AsTime().Unix(), p.Timestamp().AsTime().Unix(), p.IntValue()})
		}
	}
	return out
}

func TestPointsStartWhereTheOneBeforeEnded(t *testing.T) {
	w := NewWriter("i", "scope", "v")
	w.Add(sent("m", 5), minute(10))
	assert.Equal(t, []point{{600, 660, 5}}, transferred(t, w.Batch(decision(flowattr.StateHealthy, "m"), minute(11))))
	w.Delivered(minute(11))
	// A window without data, and one that was skipped.
	assert.Equal(t, []point{{660, 720, 0}}, transferred(t, w.Batch(decision(flowattr.StateInsufficientData, "m"), minute(12))))
	w.Delivered(minute(12))
	w.Add(sent("m", 7), minute(13))
	assert.Equal(t, []point{{720, 840, 7}}, transferred(t, w.Batch(decision(flowattr.StateHealthy, "m"), minute(14))))
}

func TestSumsThatNoConsumerTookAreInTheNextBatch(t *testing.T) {
	w := NewWriter("i", "scope", "v")
	w.Add(sent("m", 5), minute(10))
	w.Add(rtt("m", 3), minute(10))
	w.Batch(decision(flowattr.StateHealthy, "m"), minute(11)) // refused
	w.Add(sent("m", 7), minute(11))
	w.Add(rtt("m", 4), minute(11))
	md := w.Batch(decision(flowattr.StateHealthy, "m"), minute(12))
	assert.Equal(t, []point{{600, 720, 12}}, transferred(t, md))
	h := find(md, flowattr.MetricMonitorRoundTripTime)[0].ExponentialHistogram().DataPoints().At(0)
	assert.Equal(t, uint64(7), h.Count())
	assert.Equal(t, minute(10), h.StartTimestamp().AsTime().Local())
}

func TestStreamsBeginAnewWhenTheClockIsSetBack(t *testing.T) {
	w := NewWriter("i", "scope", "v")
	w.Add(sent("m", 5), minute(1000))
	w.Batch(decision(flowattr.StateHealthy, "m"), minute(1001))
	w.Delivered(minute(1001))
	w.Add(sent("m", 7), minute(10))
	assert.Equal(t, []point{{600, 660, 7}}, transferred(t, w.Batch(decision(flowattr.StateHealthy, "m"), minute(11))))
}

func TestTheHistogramHasAStreamOfItsOwn(t *testing.T) {
	w := NewWriter("i", "scope", "v")
	w.Add(rtt("m", 3), minute(10))
	md := w.Batch(decision(flowattr.StateHealthy, "m"), minute(11))
	require.Len(t, find(md, flowattr.MetricMonitorRoundTripTime), 1)
	w.Delivered(minute(11))
	md = w.Batch(decision(flowattr.StateHealthy, "m"), minute(12))
	assert.Empty(t, find(md, flowattr.MetricMonitorRoundTripTime), "no sample, no point")
	w.Delivered(minute(12))
	w.Add(rtt("m", 4), minute(12))
	h := find(w.Batch(decision(flowattr.StateHealthy, "m"), minute(13)), flowattr.MetricMonitorRoundTripTime)[0].ExponentialHistogram().DataPoints().At(0)
	assert.Equal(t, minute(11), h.StartTimestamp().AsTime().Local(), "where its last point ended")
	assert.Equal(t, uint64(4), h.Count())
}

func noValues(t *testing.T, md pmetric.Metrics) (n int) {
	ms := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics()
	for i := range ms.Len() {
		m := ms.At(i)
		if m.Type() != pmetric.MetricTypeGauge {
			continue
		}
		here := 0
		for j := range m.Gauge().DataPoints().Len() {
			if m.Gauge().DataPoints().At(j).Flags().NoRecordedValue() {
				here++
			}
		}
		assert.False(t, n > 0 && here == 0, "the last in the batch")
		if here > 0 {
			assert.Equal(t, flowattr.MetricMonitorHealthIndicator, m.Name())
			assert.Equal(t, 1, m.Gauge().DataPoints().Len(), "a metric of its own: the Prometheus exporter looks at no point behind it")
		}
		n += here
	}
	return n
}

func TestEachPointWithoutAValueIsAMetric(t *testing.T) {
	w := NewWriter("i", "scope", "v")
	d := decision(flowattr.StateInsufficientData, "a", "b", "c")
	d.Monitors = append(d.Monitors, decision(flowattr.StateDegraded, "d", "e").Monitors...)
	assert.Equal(t, 3, noValues(t, w.Batch(d, minute(1))))
}

func TestTheFirstWindowWithoutAVerdictTakesTheValueAway(t *testing.T) {
	w := NewWriter("i", "scope", "v")
	for i, step := range []struct {
		state     string
		delivered bool
		noValues  int
		values    int
	}{
		{flowattr.StateInsufficientData, false, 1, 0}, // refused: once more
		{flowattr.StateInsufficientData, true, 1, 0},
		{flowattr.StateInsufficientData, true, 0, 0},
		{flowattr.StateHealthy, true, 0, 1},
		{flowattr.StateInsufficientData, true, 1, 0},
		{flowattr.StateInsufficientData, true, 0, 0},
		{flowattr.StateDegraded, true, 0, 1},
	} {
		md := w.Batch(decision(step.state, "m"), minute(i+1))
		assert.Equal(t, step.noValues, noValues(t, md), "step %d", i)
		values := 0
		for _, m := range find(md, flowattr.MetricMonitorHealthIndicator) {
			for j := range m.Gauge().DataPoints().Len() {
				if !m.Gauge().DataPoints().At(j).Flags().NoRecordedValue() {
					values++
				}
			}
		}
		assert.Equal(t, step.values, values, "step %d", i)
		if step.delivered {
			w.Delivered(minute(i + 1))
		}
	}
}

func TestAForgottenMonitorLeavesNothingBehind(t *testing.T) {
	w := NewWriter("i", "scope", "v")
	w.Add(sent("m", 5), minute(10))
	gone := &verdict.Decision{Monitors: []verdict.Monitor{{Name: "m", Forgotten: true}}}
	md := w.Batch(gone, minute(11))
	assert.Equal(t, []point{{600, 660, 5}}, transferred(t, md))
	for _, m := range find(md, flowattr.MetricMonitorHealthState) {
		for i := range m.Gauge().DataPoints().Len() {
			assert.Zero(t, m.Gauge().DataPoints().At(i).IntValue(), "no state is left standing")
		}
	}
	// The consumer refuses it: its sums still come, though nobody mentions it any more.
	md = w.Batch(decision(""), minute(12))
	assert.Equal(t, []point{{600, 720, 5}}, transferred(t, md))
	states := find(md, flowattr.MetricMonitorHealthState)
	require.Len(t, states, 1, "nor has the state been taken away")
	assert.Equal(t, 3, states[0].Gauge().DataPoints().Len())
	assert.Len(t, find(md, flowattr.MetricMonitorHealthCause), 1)
	w.Delivered(minute(12))
	assert.Zero(t, w.Batch(decision(""), minute(13)).DataPointCount())
	assert.Empty(t, w.streams)
}

func TestABatchWithoutADecisionHoldsSumsOnly(t *testing.T) {
	w := NewWriter("i", "scope", "v")
	w.Add(sent("m", 5), minute(10))
	md := w.Batch(nil, minute(10).Add(20*time.Second))
	assert.Equal(t, []point{{600, 620, 5}}, transferred(t, md))
	assert.Equal(t, 3, md.DataPointCount(), "no verdict on a window that is not over")
	assert.Zero(t, NewWriter("i", "scope", "v").Batch(nil, minute(1)).ResourceMetrics().Len())
}

func TestAStreamThatABatchLeftOutStaysWhereItEnded(t *testing.T) {
	w := NewWriter("i", "scope", "v")
	w.Add(sent("m", 5), minute(10))
	w.Batch(decision(flowattr.StateHealthy, "m"), minute(11))
	w.Delivered(minute(11))
	assert.Empty(t, transferred(t, w.Batch(nil, minute(12)))) // it has no sums
	w.Delivered(minute(12))
	assert.Equal(t, []point{{660, 780, 0}}, transferred(t, w.Batch(decision(flowattr.StateHealthy, "m"), minute(13))))
}

func TestComponentsCarryTypeAndIDOrTheSet(t *testing.T) {
	w := NewWriter("i", "scope", "v")
	md := w.Batch(&verdict.Decision{Components: []verdict.Component{
		{Names: []string{"transit_gateway/tgw-1"}, Suspected: true, Confidence: 0.75, Evidence: verdict.Evidence{Segments: 100, Retransmissions: 4, Timeouts: 1, LocalHosts: 3, RemoteHosts: 2, HostPairs: 5}},
		{Names: []string{"subnet/a", "vpc_endpoint/e/f"}},
	}}, minute(1))
	for metric, want := range map[string][2]float64{
		flowattr.MetricComponentHealthIndicator: {1, 0}, flowattr.MetricComponentConfidence: {0.75, 0},
		flowattr.MetricComponentSegments: {100, 0}, flowattr.MetricComponentRetransmissions: {4, 0}, flowattr.MetricComponentTimeouts: {1, 0},
		flowattr.MetricComponentLocalHosts: {3, 0}, flowattr.MetricComponentRemoteHosts: {2, 0}, flowattr.MetricComponentHostPairs: {5, 0},
	} {
		found := find(md, metric)
		require.Len(t, found, 1, metric)
		points := found[0].Gauge().DataPoints()
		require.Equal(t, 2, points.Len())
		for i, value := range want {
			p := points.At(i)
			got := p.DoubleValue()
			if p.ValueType() == pmetric.NumberDataPointValueTypeInt {
				got = float64(p.IntValue())
			}
			assert.Equal(t, value, got, metric)
		}
		assert.Equal(t, map[string]any{flowattr.ComponentType: "transit_gateway", flowattr.ComponentID: "tgw-1"}, points.At(0).Attributes().AsRaw())
		assert.Equal(t, map[string]any{flowattr.ComponentSet: []any{"subnet/a", "vpc_endpoint/e/f"}}, points.At(1).Attributes().AsRaw())
	}
}
