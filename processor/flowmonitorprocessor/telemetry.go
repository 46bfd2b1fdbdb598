// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ec2"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/parts"
)

// Attribute sets of the counters, made once.
var (
	ambiguous = metric.WithAttributeSet(attribute.NewSet(attribute.String("reason", flowattr.UnresolvedAmbiguous)))
	unknown   = metric.WithAttributeSet(attribute.NewSet(attribute.String("reason", flowattr.UnresolvedUnknown)))
)

// count reports what was done to a batch.
func (p *flowMonitor) count(ctx context.Context, b *batch) {
	t := p.telemetry
	add := func(c metric.Int64Counter, n int64, options ...metric.AddOption) {
		if n > 0 {
			c.Add(ctx, n, options...)
		}
	}
	add(t.ProcessorFlowmonitorPointsEnriched, b.enriched)
	add(t.ProcessorFlowmonitorPointsLate, b.late)
	add(t.ProcessorFlowmonitorPointsPassed, b.passed)
	add(t.ProcessorFlowmonitorPointsRefused, b.refused)
	add(t.ProcessorFlowmonitorPointsUnresolved, b.ambiguous, ambiguous)
	add(t.ProcessorFlowmonitorPointsUnresolved, b.unknown, unknown)
	add(t.ProcessorFlowmonitorCacheMisses, b.misses)
	if b.refused > 0 {
		p.cumulative.Do(func() {
			p.logger.Warn("Data points of flows that are not delta are refused and dropped. " +
				"Set 'temporality: delta' at the sockops receiver. processor_flowmonitor_points_refused counts them; this is said once.")
		})
	}
}

// beginCounters exports the counters that have no attributes from the start: one that is 0
// and one that does not exist look alike otherwise.
func (p *flowMonitor) beginCounters(ctx context.Context) {
	t := p.telemetry
	for _, c := range []metric.Int64Counter{
		t.ProcessorFlowmonitorCacheMisses,
		t.ProcessorFlowmonitorPointsEnriched,
		t.ProcessorFlowmonitorPointsLate,
		t.ProcessorFlowmonitorPointsPassed,
		t.ProcessorFlowmonitorPointsRefused,
	} {
		c.Add(ctx, 0)
	}
}

// observe registers the gauges.
func (p *flowMonitor) observe() error {
	t := p.telemetry
	gauge := func(value func(*engine) int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(value(p.engine.Load()))
			return nil
		}
	}
	return errors.Join(
		t.RegisterProcessorFlowmonitorCacheCapacityCallback(gauge(func(e *engine) int64 { return e.cache.capacity })),
		t.RegisterProcessorFlowmonitorCacheEntriesCallback(gauge(func(e *engine) int64 { return e.cache.entries.Load() })),
		t.RegisterProcessorFlowmonitorMonitorsCallback(gauge(func(e *engine) int64 { return int64(e.monitors.Len()) })),
		t.RegisterProcessorFlowmonitorMonitorsWithoutResourceCallback(gauge(func(e *engine) int64 { return int64(len(e.missing)) })),
		t.RegisterProcessorFlowmonitorTopologyEntitiesCallback(func(_ context.Context, o metric.Int64Observer) error {
			for _, c := range p.engine.Load().index.Counts() {
				o.Observe(int64(c.N), metric.WithAttributes(attribute.String("kind", c.Kind)))
			}
			return nil
		}),
		t.RegisterProcessorFlowmonitorTopologyVersionsCallback(gauge(func(e *engine) int64 { return 1 + int64(len(e.past)) })),
		t.RegisterProcessorFlowmonitorTopologyAgeCallback(p.observeAges),
		t.RegisterProcessorFlowmonitorSourcesFailingCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(p.sources.failures()))
			return nil
		}),
		t.RegisterProcessorFlowmonitorLookupsPendingCallback(p.observeLookups(func(pending, _ int) int { return pending })),
		t.RegisterProcessorFlowmonitorNegativeCacheEntriesCallback(p.observeLookups(func(_, negative int) int { return negative })),
		t.RegisterProcessorFlowmonitorNegativeCacheCapacityCallback(p.observeLookups(func(int, int) int { return ec2.MaxNegative })),
	)
}

// observeAges reports how old each part of the topology is; of one that was never read, for
// how long it has been waited for.
func (p *flowMonitor) observeAges(_ context.Context, o metric.Float64Observer) error {
	now := time.Now()
	for _, part := range p.sources.ages() {
		attributes := []attribute.KeyValue{attribute.String("source", part.Source)}
		if part.Source != parts.File {
			attributes = append(attributes, attribute.String("account", part.Account), attribute.String("region", part.Region))
		}
		o.Observe(now.Sub(part.Current).Seconds(), metric.WithAttributes(attributes...))
	}
	return nil
}

// observeLookups reports one number of the look-ups; nothing without the EC2 source.
func (p *flowMonitor) observeLookups(number func(pending, negative int) int) metric.Int64Callback {
	return func(_ context.Context, o metric.Int64Observer) error {
		if p.sources.ec2 != nil {
			o.Observe(int64(number(p.sources.ec2.Pending())))
		}
		return nil
	}
}
