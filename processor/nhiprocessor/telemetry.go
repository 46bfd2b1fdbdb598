// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nhiprocessor

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/metadata"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/verdict"
)

// telemetry is what the processor reports of itself.
type telemetry struct {
	*metadata.TelemetryBuilder
	agents    atomic.Int64 // heard in the last window
	monitors  atomic.Int64
	lacking   [verdict.Lacks]atomic.Int64 // monitors in the last window
	lacks     [verdict.Lacks]metric.MeasurementOption
	uncounted [uncountedReasons]metric.MeasurementOption
	misplaced [misplacedReasons]metric.MeasurementOption
}

func newTelemetry(set component.TelemetrySettings, p *nhi) (*telemetry, error) {
	builder, err := metadata.NewTelemetryBuilder(set)
	if err != nil {
		return nil, err
	}
	t := &telemetry{TelemetryBuilder: builder}
	for i, name := range uncountedNames {
		t.uncounted[i] = reason(name)
	}
	for i, name := range misplacedNames {
		t.misplaced[i] = reason(name)
	}
	for i := range t.lacks {
		t.lacks[i] = reason(verdict.Lack(i).String())
	}
	held := func(get func() int) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			p.mu.Lock()
			n := get()
			p.mu.Unlock()
			o.Observe(int64(n))
			return nil
		}
	}
	constant := func(n int) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(n))
			return nil
		}
	}
	return t, errors.Join(
		builder.RegisterProcessorNhiAgentsCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(t.agents.Load())
			return nil
		}),
		builder.RegisterProcessorNhiFlowsCallback(held(func() int { n, _ := p.table.Sizes(); return n })),
		builder.RegisterProcessorNhiFlowsCapacityCallback(constant(p.config.MaxFlows)),
		builder.RegisterProcessorNhiComponentsCallback(held(func() int { _, n := p.table.Sizes(); return n })),
		builder.RegisterProcessorNhiComponentsCapacityCallback(constant(p.config.MaxComponents)),
		builder.RegisterProcessorNhiWindowsOpenCallback(held(func() int { return len(p.open) })),
		builder.RegisterProcessorNhiMonitorsCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(t.monitors.Load())
			return nil
		}),
		builder.RegisterProcessorNhiMonitorsCapacityCallback(constant(p.config.MaxMonitors)),
		builder.RegisterProcessorNhiMonitorsInsufficientCallback(func(_ context.Context, o metric.Int64Observer) error {
			for l := verdict.Nothing + 1; l < verdict.Lacks; l++ {
				o.Observe(t.lacking[l].Load(), t.lacks[l])
			}
			return nil
		}),
	)
}

func reason(name string) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attribute.String("reason", name)))
}

// begin exports the counters that have no attributes from the start: one that is 0 and one
// that does not exist look alike otherwise.
func (t *telemetry) begin(ctx context.Context) {
	for _, c := range []metric.Int64Counter{t.ProcessorNhiBatchesFailed, t.ProcessorNhiPoints, t.ProcessorNhiWindowsDecided} {
		c.Add(ctx, 0)
	}
}

// record reports how the points of a batch count.
func (t *telemetry) record(ctx context.Context, o *observation, c *counted) {
	if c.evidence > 0 {
		t.ProcessorNhiPoints.Add(ctx, c.evidence)
	}
	for i, n := range c.misplaced {
		if n > 0 {
			t.ProcessorNhiPointsMisplaced.Add(ctx, n, t.misplaced[i])
		}
	}
	for i, n := range o.uncounted {
		if n > 0 {
			t.ProcessorNhiPointsUncounted.Add(ctx, n, t.uncounted[i])
		}
	}
}

func (t *telemetry) decided(ctx context.Context, took time.Duration, d *verdict.Decision, monitors int) {
	var lacking [verdict.Lacks]int64
	for i := range d.Monitors {
		lacking[d.Monitors[i].Lack]++
	}
	for i, n := range lacking {
		t.lacking[i].Store(n)
	}
	t.ProcessorNhiWindowsDecided.Add(ctx, 1)
	t.ProcessorNhiDecisionDuration.Record(ctx, took.Seconds())
	t.monitors.Store(int64(monitors))
}

func (t *telemetry) failed(ctx context.Context) { t.ProcessorNhiBatchesFailed.Add(ctx, 1) }
