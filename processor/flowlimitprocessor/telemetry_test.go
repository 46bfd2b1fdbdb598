// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	otelattribute "go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowlimitprocessor/internal/metadatatest"
)

var noTime = metricdatatest.IgnoreTimestamp()

func value(n int64) []metricdata.DataPoint[int64] {
	return []metricdata.DataPoint[int64]{{Value: n}}
}

// reasons pairs reasons with values.
func reasons(of ...any) []metricdata.DataPoint[int64] {
	var dps []metricdata.DataPoint[int64]
	for i := 0; i < len(of); i += 2 {
		set := otelattribute.NewSet(otelattribute.String("reason", of[i].(string)))
		dps = append(dps, metricdata.DataPoint[int64]{Attributes: set, Value: int64(of[i+1].(int))})
	}
	return dps
}

// observed makes a processor whose telemetry can be asserted.
func observed(t *testing.T, cfg *Config, next *backend) (*limiter, *componenttest.Telemetry) {
	t.Helper()
	tel := componenttest.NewTelemetry()
	t.Cleanup(func() { assert.NoError(t, tel.Shutdown(context.Background())) })
	l, err := newLimiter(metadatatest.NewSettings(tel), cfg, next)
	require.NoError(t, err)
	require.NoError(t, l.Start(t.Context(), componenttest.NewNopHost()))
	return l, tel
}

func TestTelemetryOfRounds(t *testing.T) {
	tel := componenttest.NewTelemetry()
	defer func() { require.NoError(t, tel.Shutdown(t.Context())) }()
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(2)
		cfg.MaxStreams = 7
		next := newBackend()
		l, err := newLimiter(metadatatest.NewSettings(tel), cfg, next)
		require.NoError(t, err)
		require.NoError(t, l.Start(t.Context(), componenttest.NewNopHost()))
		round := func(host string, at interval) pmetric.Metrics {
			b := newBatch().host(host)
			for i, peer := range []string{"10.0.1.1", "10.0.1.2", "10.0.1.3", "10.0.1.4"} {
				b.add(flowattr.MetricSent, flowTo(peer), at, int64(100-i))
			}
			return b.md
		}
		consume(t, l, round("host-1", ago(3)))
		metadatatest.AssertEqualProcessorFlowlimitHeldPoints(t, tel, value(4), noTime)
		metadatatest.AssertEqualProcessorFlowlimitHeldBytesCapacity(t, tel, value(256<<20), noTime)
		metadatatest.AssertEqualProcessorFlowlimitStreams(t, tel, value(0), noTime)
		metadatatest.AssertEqualProcessorFlowlimitStreamsCapacity(t, tel, value(7), noTime)
		consume(t, l, round("host-1", ago(2)))
		metadatatest.AssertEqualProcessorFlowlimitHeldPoints(t, tel, value(4), noTime)
		metadatatest.AssertEqualProcessorFlowlimitFlowsKept(t, tel, value(2), noTime)
		metadatatest.AssertEqualProcessorFlowlimitFlowsMerged(t, tel, value(2), noTime)
		metadatatest.AssertEqualProcessorFlowlimitStreams(t, tel, value(3), noTime)
		time.Sleep(defaultRoundTimeout)
		synctest.Wait()
		consume(t, l, round("host-1", interval{ago(3).start, ago(3).end})) // older than what has left
		consume(t, l, round("host-2", ago(1)))
		consume(t, l, round("host-3", ago(1)))
		next.err = errors.New("no")
		require.Error(t, l.Shutdown(t.Context()))
	})
	// The levels are not observed after Shutdown, the counters stay.
	metadatatest.AssertEqualProcessorFlowlimitRounds(t, tel, reasons("later_round", 1, "timeout", 1, "shutdown", 3), noTime)
	metadatatest.AssertEqualProcessorFlowlimitLateRounds(t, tel, value(1), noTime)
	metadatatest.AssertEqualProcessorFlowlimitPointsLost(t, tel, value(9), noTime)
	metadatatest.AssertEqualProcessorFlowlimitStreamsEvicted(t, tel, value(2), noTime)
	metadatatest.AssertEqualProcessorFlowlimitRoundDuration(t, tel, []metricdata.HistogramDataPoint[float64]{{Count: 5}}, noTime, metricdatatest.IgnoreValue())
}

func TestEarlyReleaseIsCountedAndLosesNothing(t *testing.T) {
	next := newBackend()
	l, tel := observed(t, testConfig(2), next)
	l.mu.Lock()
	l.held.maxBytes = 4 * roundSize
	l.mu.Unlock()
	at := ago(1)
	for _, host := range []string{"host-1", "host-2", "host-3", "host-4"} {
		consume(t, l, sent(host, at, 1))
	}
	require.NotEmpty(t, next.got(), "the oldest rounds have left")
	assert.Equal(t, "host-1", next.got()[0].ResourceMetrics().At(0).Resource().Attributes().AsRaw()["host.id"])
	l.mu.Lock()
	assert.LessOrEqual(t, l.held.bytes, l.held.maxBytes)
	l.mu.Unlock()
	early := len(next.got())
	metadatatest.AssertEqualProcessorFlowlimitRounds(t, tel, reasons("capacity", early), noTime)
	require.NoError(t, l.Shutdown(t.Context()))
	assert.Len(t, next.got(), 4)
}

func TestRefusedPoints(t *testing.T) {
	next := newBackend()
	tel := componenttest.NewTelemetry()
	defer func() { require.NoError(t, tel.Shutdown(t.Context())) }()
	core, logs := observer.New(zap.InfoLevel)
	set := metadatatest.NewSettings(tel)
	set.Logger = zap.New(core)
	l, err := newLimiter(set, testConfig(1), next)
	require.NoError(t, err)

	cumulative := newBatch().host("host-1").add(flowattr.MetricSent, aFlow, ago(1), 5).histogram(flowattr.MetricRTT, aFlow, ago(1), 1, 2)
	cumulative.metric(flowattr.MetricSent).Sum().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	cumulative.metric(flowattr.MetricRTT).ExponentialHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityUnspecified)
	consume(t, l, cumulative.md)
	require.NoError(t, l.ConsumeMetrics(t.Context(), cumulative.md))
	assert.Equal(t, 1, logs.Len(), "one line, however many points")

	noValue := newBatch().host("host-1").add(flowattr.MetricSent, aFlow, ago(1), 5).add(flowattr.MetricSent, aFlow, ago(1), 5).histogram(flowattr.MetricRTT, aFlow, ago(1), 1)
	dps := noValue.metric(flowattr.MetricSent).Sum().DataPoints()
	dps.At(0).SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
	dps.At(1).SetTimestamp(0)
	empty := pmetric.NewNumberDataPoint()
	dps.At(1).Attributes().CopyTo(empty.Attributes())
	empty.CopyTo(dps.At(1))
	noValue.metric(flowattr.MetricRTT).ExponentialHistogram().DataPoints().At(0).SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
	consume(t, l, noValue.md)

	metadatatest.AssertEqualProcessorFlowlimitPointsRefused(t, tel, reasons("cumulative", 4, "no_value", 3), noTime)
	require.NoError(t, l.Shutdown(t.Context()))
	assert.Empty(t, next.got())
}

func TestLevelsOlderThanWhatHasLeftAreRefused(t *testing.T) {
	next := newBackend()
	l, tel := observed(t, testConfig(1), next)
	open := func(at interval, level, bytes int64) pmetric.Metrics {
		return newBatch().host("host-1").
			add(flowattr.MetricConnectionsOpen, aFlow, at, level, flowattr.Phase, flowattr.PhaseEstablished).
			add(flowattr.MetricSent, aFlow, at, bytes).md
	}
	consume(t, l, open(ago(2), 5, 1))
	consume(t, l, open(ago(1), 6, 1))
	consume(t, l, open(ago(0), 7, 1)) // the others have left
	consume(t, l, open(ago(3), 4, 1))
	metadatatest.AssertEqualProcessorFlowlimitPointsRefused(t, tel, reasons("outdated_level", 1), noTime)
	require.NoError(t, l.Shutdown(t.Context()))
	assert.Equal(t, levelsOf(open(ago(0), 7, 1)), next.levels())
	assertUnbroken(t, next)
	total := newLedger()
	for range 4 {
		total.book(open(ago(0), 0, 1))
	}
	assertSameTotals(t, total, next.ledger)
}

func TestTimesThatAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := newBackend()
		l := newTestLimiter(t, testConfig(1), next)
		now := pcommon.NewTimestampFromTime(time.Now())
		for i, end := range []pcommon.Timestamp{0, 1 << 63, now + pcommon.Timestamp(2*maxAhead)} {
			consume(t, l, sent([]string{"host-1", "host-2", "host-3"}[i], interval{now - 1, end}, 1))
		}
		consume(t, l, sent("host-4", interval{now + 5, now}, 1)) // starts after its end
		consume(t, l, sent("host-5", interval{0, now}, 1))
		require.NoError(t, l.Shutdown(t.Context()))
		require.Len(t, next.got(), 5)
		for i, md := range next.got() {
			s := samples(md)[0]
			assert.Equal(t, now, s.end)
			assert.Equal(t, []pcommon.Timestamp{now - 1, now - 1, now - 1, now, 0}[i], s.start)
		}
	})
}

// A sender that has an error.type of its own for each point holds little but these.
func TestTextsThatSplitAMetricCountTowardsTheBound(t *testing.T) {
	const points, length = 1000, 1000
	l := newTestLimiter(t, testConfig(1), newBackend())
	b, at := newBatch().host("host-1"), ago(0)
	for i := range points {
		b.add(flowattr.MetricConnectionsClosed, aFlow, at, 1, flowattr.ErrorType, fmt.Sprintf("%*d", length, i))
	}
	consume(t, l, b.md)
	l.mu.Lock()
	defer l.mu.Unlock()
	assert.Greater(t, l.held.bytes, points*length)
}
