// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conformance

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/exphist"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// conform holds everything that a program has written against the form that the contract gives
// it, whatever the numbers are.
func conform(t testing.TB, batches []pmetric.Metrics) {
	t.Helper()
	ends := map[string]pcommon.Timestamp{}
	for _, b := range batches {
		for _, rm := range b.ResourceMetrics().All() {
			resource := rm.Resource().Attributes().AsRaw()
			for _, name := range []string{"host.id", "service.name", "service.instance.id"} {
				require.NotEmpty(t, resource[name], "resource attribute %s", name)
			}
			for _, sm := range rm.ScopeMetrics().All() {
				for _, m := range sm.Metrics().All() {
					conformMetric(t, m, fmt.Sprint(resource), ends)
				}
			}
		}
	}
}

// extra are the attributes besides a flow's identity, and the values that they may have.
var extra = map[string]map[string][]string{
	flowattr.MetricRetransmissions:   {flowattr.Phase: phases, flowattr.RetransmitType: retransmitTypes},
	flowattr.MetricTimeouts:          {flowattr.Phase: phases},
	flowattr.MetricConnectionsOpen:   {flowattr.Phase: phases},
	flowattr.MetricConnectionsFailed: {flowattr.ErrorType: {flowattr.ErrorRefused, flowattr.ErrorTimedOut, flowattr.ErrorUnreachable, flowattr.ErrorAborted, flowattr.ErrorOther}},
	flowattr.MetricConnectionsClosed: {flowattr.ErrorType: {flowattr.ErrorReset, flowattr.ErrorAborted, flowattr.ErrorTimedOut, flowattr.ErrorOther}},
	flowattr.MetricTime:              {flowattr.Limit: {flowattr.LimitBusy, flowattr.LimitReceiverWindow, flowattr.LimitSendBuffer}},
}

var (
	phases          = []string{flowattr.PhaseConnect, flowattr.PhaseEstablished, flowattr.PhaseClose}
	retransmitTypes = []string{flowattr.RetransmitFast, flowattr.RetransmitTailLossProbe, flowattr.RetransmitTimeout, flowattr.RetransmitSpurious}

	// optional may be absent: of an orderly end, and without its group of detail.
	optional = []string{flowattr.ErrorType, flowattr.RetransmitType}
)

func conformMetric(t testing.TB, m pmetric.Metric, resource string, ends map[string]pcommon.Timestamp) {
	t.Helper()
	i := slices.IndexFunc(flowattr.FlowMetrics, func(f flowattr.Metric) bool { return f.Name == m.Name() })
	require.GreaterOrEqual(t, i, 0, "metric %s is not one of the contract's", m.Name())
	want := flowattr.FlowMetrics[i]
	assert.Equal(t, want.Unit, m.Unit(), m.Name())

	point := func(attributes pcommon.Map, start, end pcommon.Timestamp, value float64) {
		conformAttributes(t, m.Name(), attributes)
		what := fmt.Sprint(m.Name(), attributes.AsRaw())
		assert.GreaterOrEqual(t, value, 0.0, what)
		assert.NotZero(t, end, what)
		if want.Kind == flowattr.KindGauge {
			return
		}
		assert.Less(t, start, end, what)
		// The end of a stream's point is the start of its next, exactly.
		stream := resource + what
		if before, ok := ends[stream]; ok {
			assert.Equal(t, before, start, what)
		}
		ends[stream] = end
	}
	number := func(dp pmetric.NumberDataPoint) {
		value := dp.DoubleValue()
		if dp.ValueType() == pmetric.NumberDataPointValueTypeInt {
			value = float64(dp.IntValue())
		}
		point(dp.Attributes(), dp.StartTimestamp(), dp.Timestamp(), value)
	}
	switch want.Kind {
	case flowattr.KindSum:
		require.Equal(t, pmetric.MetricTypeSum, m.Type(), m.Name())
		assert.True(t, m.Sum().IsMonotonic(), m.Name())
		assert.Equal(t, pmetric.AggregationTemporalityDelta, m.Sum().AggregationTemporality(), m.Name())
		for _, dp := range m.Sum().DataPoints().All() {
			number(dp)
		}
	case flowattr.KindGauge:
		require.Equal(t, pmetric.MetricTypeGauge, m.Type(), m.Name())
		for _, dp := range m.Gauge().DataPoints().All() {
			number(dp)
		}
	case flowattr.KindExponentialHistogram:
		require.Equal(t, pmetric.MetricTypeExponentialHistogram, m.Type(), m.Name())
		assert.Equal(t, pmetric.AggregationTemporalityDelta, m.ExponentialHistogram().AggregationTemporality(), m.Name())
		for _, dp := range m.ExponentialHistogram().DataPoints().All() {
			point(dp.Attributes(), dp.StartTimestamp(), dp.Timestamp(), float64(dp.Count()))
			conformHistogram(t, dp)
		}
	}
}

func conformHistogram(t testing.TB, dp pmetric.ExponentialHistogramDataPoint) {
	t.Helper()
	assert.EqualValues(t, exphist.Scale, dp.Scale())
	assert.Zero(t, dp.Negative().BucketCounts().Len())
	counts := dp.Positive().BucketCounts()
	first := int(dp.Positive().Offset())
	assert.GreaterOrEqual(t, first, exphist.Offset)
	assert.LessOrEqual(t, first+counts.Len(), exphist.Offset+exphist.NBuckets)
	sum := dp.ZeroCount()
	for i := range counts.Len() {
		sum += counts.At(i)
	}
	assert.Equal(t, dp.Count(), sum)
	if dp.Count() > 0 {
		assert.LessOrEqual(t, dp.Min(), dp.Max())
		assert.GreaterOrEqual(t, dp.Sum(), dp.Min()*float64(dp.Count())*(1-1e-9))
		assert.LessOrEqual(t, dp.Sum(), dp.Max()*float64(dp.Count())*(1+1e-9))
	}
}

// conformAttributes: each metric's flow is named as its role wants it, and nothing more is there.
func conformAttributes(t testing.TB, metric string, attributes pcommon.Map) {
	t.Helper()
	rest := map[string]string{}
	for name, v := range attributes.All() {
		rest[name] = v.AsString()
	}
	take := func(name string) string {
		v := rest[name]
		delete(rest, name)
		return v
	}
	what := fmt.Sprint(metric, attributes.AsRaw())
	for name, values := range extra[metric] {
		if v, ok := rest[name]; ok || !slices.Contains(optional, name) {
			assert.Contains(t, values, v, what)
		}
		delete(rest, name)
	}
	take(flowattr.Netns) // with its group of detail
	switch metric {
	case flowattr.MetricSynAckRetransmissions:
		assert.Empty(t, rest, what)
		return
	case flowattr.MetricListenDrops:
		_, err := netip.ParseAddr(take(flowattr.NetworkLocalAddress))
		assert.NoError(t, err, what)
		assert.NotEmpty(t, take(flowattr.NetworkLocalPort), what)
		assert.Empty(t, rest, what)
		return
	}
	family, role := take(flowattr.NetworkType), take(flowattr.Role)
	assert.Contains(t, []string{flowattr.TypeIPv4, flowattr.TypeIPv6}, family, what)
	assert.Contains(t, []string{"client", "server", "unknown"}, role, what)
	if take(flowattr.Overflow) == "true" {
		assert.Empty(t, rest, what)
		return
	}
	assert.Equal(t, flowattr.TransportTCP, take(flowattr.NetworkTransport), what)
	for _, name := range []string{flowattr.NetworkLocalAddress, flowattr.NetworkPeerAddress} {
		a, err := netip.ParseAddr(take(name))
		assert.NoError(t, err, what)
		assert.Equal(t, family == flowattr.TypeIPv4, a.Is4(), what)
	}
	local, peer := take(flowattr.NetworkLocalPort), take(flowattr.NetworkPeerPort)
	switch role {
	case "client":
		assert.Empty(t, local, what)
		assert.NotEmpty(t, peer, what)
	case "server":
		assert.NotEmpty(t, local, what)
		assert.Empty(t, peer, what)
	}
	take(flowattr.ContainerID)
	take(flowattr.PodUID)
	assert.Empty(t, rest, what)
}
