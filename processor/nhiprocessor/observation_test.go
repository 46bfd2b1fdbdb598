// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nhiprocessor

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/report"
)

func TestEachMetricIsTheCountItIs(t *testing.T) {
	for _, tt := range []struct {
		name   string
		metric string
		extra  []string
		want   evidence.Field
	}{
		{"bytes sent", flowattr.MetricSent, nil, evidence.Sent},
		{"bytes received", flowattr.MetricReceived, nil, evidence.Received},
		{"segments", flowattr.MetricSegmentsSent, nil, evidence.Segments},
		{"retransmissions of data", flowattr.MetricRetransmissions, []string{flowattr.Phase, flowattr.PhaseEstablished}, evidence.Retransmitted},
		{"retransmissions after the last write", flowattr.MetricRetransmissions, []string{flowattr.Phase, flowattr.PhaseClose}, evidence.Retransmitted},
		{"retransmissions of the handshake", flowattr.MetricRetransmissions, []string{flowattr.Phase, flowattr.PhaseConnect}, evidence.RetransmittedConnect},
		{"retransmissions of which no phase is told", flowattr.MetricRetransmissions, nil, evidence.Retransmitted},
		{"fast retransmissions", flowattr.MetricRetransmissions, []string{flowattr.Phase, flowattr.PhaseEstablished, flowattr.RetransmitType, "fast"}, evidence.Retransmitted},
		{"spurious retransmissions", flowattr.MetricRetransmissions, []string{flowattr.Phase, flowattr.PhaseEstablished, flowattr.RetransmitType, "spurious"}, evidence.RetransmittedSpurious},
		{"timeouts", flowattr.MetricTimeouts, []string{flowattr.Phase, flowattr.PhaseEstablished}, evidence.Timeouts},
		{"timeouts of the handshake", flowattr.MetricTimeouts, []string{flowattr.Phase, flowattr.PhaseConnect}, evidence.TimeoutsConnect},
		{"attempts", flowattr.MetricConnectionsAttempted, nil, evidence.Attempted},
		{"opened", flowattr.MetricConnectionsOpened, nil, evidence.Opened},
		{"refused", flowattr.MetricConnectionsFailed, []string{flowattr.ErrorType, flowattr.ErrorRefused}, evidence.FailedRefused},
		{"timed out", flowattr.MetricConnectionsFailed, []string{flowattr.ErrorType, flowattr.ErrorTimedOut}, evidence.FailedTimedOut},
		{"unreachable", flowattr.MetricConnectionsFailed, []string{flowattr.ErrorType, flowattr.ErrorUnreachable}, evidence.FailedOther},
		{"closed in order", flowattr.MetricConnectionsClosed, nil, evidence.ClosedOrderly},
		{"reset by the peer", flowattr.MetricConnectionsClosed, []string{flowattr.ErrorType, flowattr.ErrorReset}, evidence.ClosedReset},
		{"reset by this end", flowattr.MetricConnectionsClosed, []string{flowattr.ErrorType, flowattr.ErrorAborted}, evidence.ClosedOther},
		{"active", flowattr.MetricConnectionsActive, nil, evidence.Active},
		{"retransmitting", flowattr.MetricConnectionsRetransmitting, nil, evidence.Retransmitting},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := &observation{}
			o.read(batch(func(m pmetric.Metric, p pmetric.NumberDataPoint) {
				m.SetName(tt.metric)
				for i := 0; i < len(tt.extra); i += 2 {
					p.Attributes().PutStr(tt.extra[i], tt.extra[i+1])
				}
			}), evidence.NewTable(evidence.Limits{Flows: 10, Components: 10, Monitors: 10}), agents{}, 10)
			require.Len(t, o.points, 1)
			assert.Equal(t, tt.want, o.points[0].field)
			assert.Equal(t, uint64(10), o.points[0].value)
			assert.Equal(t, []string{"m"}, o.points[0].set.Names)
		})
	}
}

// What senders wait for comes in seconds, at one stage and from one stage to the next, and is
// the same at both.
func TestTimesAreCountedInMicroseconds(t *testing.T) {
	for _, tt := range []struct {
		limit string
		value float64
		want  evidence.Field
		units uint64
	}{
		{flowattr.LimitBusy, 0.25, evidence.Busy, 250_000},
		{flowattr.LimitReceiverWindow, 59.999999, evidence.ReceiverWindow, 59_999_999},
		{flowattr.LimitSendBuffer, 0.000001, evidence.SendBuffer, 1},
	} {
		t.Run(tt.limit, func(t *testing.T) {
			table := evidence.NewTable(evidence.Limits{Flows: 10, Components: 10, Monitors: 10})
			o := &observation{}
			o.read(batch(func(m pmetric.Metric, p pmetric.NumberDataPoint) {
				m.SetName(flowattr.MetricTime)
				p.SetDoubleValue(tt.value)
				p.Attributes().PutStr(flowattr.Limit, tt.limit)
			}), table, agents{}, 10)
			require.Len(t, o.points, 1)
			assert.Equal(t, tt.want, o.points[0].field)
			assert.Equal(t, tt.units, o.points[0].value)

			w := evidence.NewWindow()
			w.Row(o.points[0].key, 10).Add(o.points[0].field, o.points[0].value)
			next := &observation{verdict: true}
			for md := range report.NewWriter("i", "s", "v").Evidence(w, time.Unix(0, 0), time.Unix(60, 0)) {
				next.read(md, table, agents{}, 10)
			}
			require.Len(t, next.points, 1)
			assert.Equal(t, tt.want, next.points[0].field)
			assert.Equal(t, tt.units, next.points[0].value)
		})
	}
	for name, value := range map[string]float64{"negative": -1, "not a number": math.NaN(), "longer than can be": 1e12} {
		o := &observation{}
		o.read(batch(func(m pmetric.Metric, p pmetric.NumberDataPoint) {
			m.SetName(flowattr.MetricTime)
			p.SetDoubleValue(value)
		}), evidence.NewTable(evidence.Limits{Flows: 10, Components: 10, Monitors: 10}), agents{}, 10)
		assert.Empty(t, o.points, name)
		assert.Equal(t, int64(1), o.uncounted[malformed], name)
	}
}

func TestWhoTheLocalHostIs(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(pmetric.Metric, pmetric.NumberDataPoint)
		want   string
	}{
		{"what the topology says", func(_ pmetric.Metric, p pmetric.NumberDataPoint) {
			p.Attributes().PutStr(flowattr.LocalPrefix+flowattr.HostID, "i-topology")
		}, "instance/i-topology"},
		{"else what the resource says", nil, "instance/i-1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := &observation{}
			o.read(batch(tt.change), evidence.NewTable(evidence.Limits{Flows: 10, Components: 10, Monitors: 10}), agents{}, 10)
			assert.Equal(t, tt.want, o.points[0].key.Local.Name)
		})
	}
	md := batch(nil)
	md.ResourceMetrics().At(0).Resource().Attributes().Clear()
	o := &observation{}
	o.read(md, evidence.NewTable(evidence.Limits{Flows: 10, Components: 10, Monitors: 10}), agents{}, 10)
	assert.Equal(t, "address/10.0.0.1", o.points[0].key.Local.Name, "else its address")
	assert.Equal(t, "address/10.0.0.2", o.points[0].key.Remote.Name)
}

func TestCredible(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(pmetric.ExponentialHistogramDataPoint)
		want   bool
	}{
		{"what the receiver writes", func(pmetric.ExponentialHistogramDataPoint) {}, true},
		{"without a sum", func(h pmetric.ExponentialHistogramDataPoint) { h.RemoveSum() }, true},
		{"with zeros", func(h pmetric.ExponentialHistogramDataPoint) { h.SetCount(7); h.SetZeroCount(2) }, true},
		{"with more zeros than samples", func(h pmetric.ExponentialHistogramDataPoint) { h.SetZeroCount(9) }, false},
		{"with buckets that do not add up", func(h pmetric.ExponentialHistogramDataPoint) { h.SetCount(6) }, false},
		{"with buckets that overflow", func(h pmetric.ExponentialHistogramDataPoint) {
			h.Positive().BucketCounts().FromRaw([]uint64{math.MaxUint64, 6})
		}, false},
		{"with negative times", func(h pmetric.ExponentialHistogramDataPoint) {
			h.Negative().BucketCounts().FromRaw([]uint64{1})
		}, false},
		{"with a negative sum", func(h pmetric.ExponentialHistogramDataPoint) { h.SetSum(-1) }, false},
		{"with a sum that is no number", func(h pmetric.ExponentialHistogramDataPoint) { h.SetSum(math.NaN()) }, false},
		{"with an infinite maximum", func(h pmetric.ExponentialHistogramDataPoint) { h.SetMax(math.Inf(1)) }, false},
		{"with a minimum above the maximum", func(h pmetric.ExponentialHistogramDataPoint) { h.SetMin(2); h.SetMax(1) }, false},
		{"at a scale that takes any memory", func(h pmetric.ExponentialHistogramDataPoint) { h.SetScale(20) }, false},
		{"at no scale at all", func(h pmetric.ExponentialHistogramDataPoint) { h.SetScale(-11) }, false},
		{"at a coarse scale", func(h pmetric.ExponentialHistogramDataPoint) { h.SetScale(-4); h.Positive().SetOffset(0) }, true},
		{"of times of years", func(h pmetric.ExponentialHistogramDataPoint) { h.Positive().SetOffset(1000) }, false},
		{"of times of nothing", func(h pmetric.ExponentialHistogramDataPoint) { h.Positive().SetOffset(math.MinInt32) }, false},
		{"at the end of all offsets", func(h pmetric.ExponentialHistogramDataPoint) { h.Positive().SetOffset(math.MaxInt32) }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := pmetric.NewExponentialHistogramDataPoint()
			h.SetScale(2)
			h.SetCount(5)
			h.SetSum(0.5)
			h.SetMin(0.1)
			h.SetMax(0.1)
			h.Positive().SetOffset(-14)
			h.Positive().BucketCounts().FromRaw([]uint64{5, 0})
			tt.change(h)
			assert.Equal(t, tt.want, credible(h))
		})
	}
}
