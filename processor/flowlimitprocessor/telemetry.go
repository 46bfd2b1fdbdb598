// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	otelattribute "go.opentelemetry.io/otel/attribute"
	otelmetric "go.opentelemetry.io/otel/metric"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowlimitprocessor/internal/metadata"
)

// reasonKey tells refused points and released rounds apart.
const reasonKey = "reason"

// telemetry is what the processor says of itself. The levels are copied into atomics, so
// that reading them waits for no round.
type telemetry struct {
	builder  *metadata.TelemetryBuilder
	refused  [numRefusals]otelmetric.MeasurementOption
	released [numReleases]otelmetric.MeasurementOption

	points, bytes, streams atomic.Int64
	counted                [numReleases]int // rounds released so far; under limiter.mu
}

func newTelemetry(set component.TelemetrySettings, cfg *Config) (*telemetry, error) {
	builder, err := metadata.NewTelemetryBuilder(set)
	if err != nil {
		return nil, err
	}
	t := &telemetry{builder: builder}
	for why := range t.refused {
		t.refused[why] = reason(refusal(why).String())
	}
	for why := range t.released {
		t.released[why] = reason(release(why).String())
	}
	level := func(value func() int64) otelmetric.Int64Callback {
		return func(_ context.Context, o otelmetric.Int64Observer) error {
			o.Observe(value())
			return nil
		}
	}
	for _, r := range []struct {
		register func(otelmetric.Int64Callback) error
		value    func() int64
	}{
		{builder.RegisterProcessorFlowlimitHeldPointsCallback, t.points.Load},
		{builder.RegisterProcessorFlowlimitHeldBytesCallback, t.bytes.Load},
		{builder.RegisterProcessorFlowlimitHeldBytesCapacityCallback, func() int64 { return int64(cfg.MaxHeldMiB) << 20 }},
		{builder.RegisterProcessorFlowlimitStreamsCallback, t.streams.Load},
		{builder.RegisterProcessorFlowlimitStreamsCapacityCallback, func() int64 { return int64(cfg.MaxStreams) }},
	} {
		if err := r.register(level(r.value)); err != nil {
			builder.Shutdown()
			return nil, err
		}
	}
	return t, nil
}

func reason(s string) otelmetric.MeasurementOption {
	return otelmetric.WithAttributeSet(otelattribute.NewSet(otelattribute.String(reasonKey, s)))
}

// begin exports the counters that have no attributes from the start: one that is 0 and one
// that does not exist look alike otherwise.
func (t *telemetry) begin(ctx context.Context) {
	b := t.builder
	for _, c := range []otelmetric.Int64Counter{
		b.ProcessorFlowlimitFlowsKept,
		b.ProcessorFlowlimitFlowsMerged,
		b.ProcessorFlowlimitLateRounds,
		b.ProcessorFlowlimitPointsLost,
		b.ProcessorFlowlimitStreamsEvicted,
	} {
		c.Add(ctx, 0)
	}
}

func (t *telemetry) refuse(ctx context.Context, why refusal, points int) {
	if points > 0 {
		t.builder.ProcessorFlowlimitPointsRefused.Add(ctx, int64(points), t.refused[why])
	}
}

// observeHeld notes what is held. Under limiter.mu.
func (t *telemetry) observeHeld(ctx context.Context, d *held) {
	t.points.Store(int64(d.points + d.waitingPoints))
	t.bytes.Store(int64(d.bytes + d.waitingBytes))
	for why, n := range d.released {
		if n > t.counted[why] {
			t.builder.ProcessorFlowlimitRounds.Add(ctx, int64(n-t.counted[why]), t.released[why])
			t.counted[why] = n
		}
	}
}

// sent notes what became of a round.
func (t *telemetry) sent(ctx context.Context, out emitted, err error, took time.Duration, s *streams) {
	b := t.builder
	b.ProcessorFlowlimitRoundDuration.Record(ctx, took.Seconds())
	if out.late {
		b.ProcessorFlowlimitLateRounds.Add(ctx, 1)
	}
	t.refuse(ctx, refusedOutdatedLevel, out.outdated)
	if evicted := s.takeEvicted(); evicted > 0 {
		b.ProcessorFlowlimitStreamsEvicted.Add(ctx, int64(evicted))
	}
	t.streams.Store(int64(s.held))
	if err != nil {
		b.ProcessorFlowlimitPointsLost.Add(ctx, int64(out.points))
		return
	}
	b.ProcessorFlowlimitFlowsKept.Add(ctx, int64(out.kept))
	b.ProcessorFlowlimitFlowsMerged.Add(ctx, int64(out.merged))
}

// lose notes points that could not be sent before the end.
func (t *telemetry) lose(ctx context.Context, points int) {
	if points > 0 {
		t.builder.ProcessorFlowlimitPointsLost.Add(ctx, int64(points))
	}
}

func (t *telemetry) shutdown() { t.builder.Shutdown() }
