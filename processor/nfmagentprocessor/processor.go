// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nfmagentprocessor

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor/processorhelper"
	otelattribute "go.opentelemetry.io/otel/attribute"
	otelmetric "go.opentelemetry.io/otel/metric"

	"github.com/otel-flowmonitor/flowmonitor/processor/nfmagentprocessor/internal/metadata"
)

// converter holds the counters only; process is safe for concurrent use.
type converter struct {
	telemetry *metadata.TelemetryBuilder
	refused   [numRefusals]otelmetric.MeasurementOption
}

func newConverter(set component.TelemetrySettings) (*converter, error) {
	builder, err := metadata.NewTelemetryBuilder(set)
	if err != nil {
		return nil, err
	}
	c := &converter{telemetry: builder}
	for why := range c.refused {
		c.refused[why] = otelmetric.WithAttributeSet(otelattribute.NewSet(otelattribute.String("reason", refusal(why).String())))
	}
	return c, nil
}

// start exports the counter that has no attributes: one that is 0 and one that does not exist look alike otherwise.
func (c *converter) start(ctx context.Context, _ component.Host) error {
	c.telemetry.ProcessorNfmagentFlows.Add(ctx, 0)
	return nil
}

func (c *converter) shutdown(context.Context) error {
	c.telemetry.Shutdown()
	return nil
}

// process turns the flows of reports into flow points, in place. Whatever else is in the batch stays.
func (c *converter) process(ctx context.Context, md pmetric.Metrics) (pmetric.Metrics, error) {
	flows := 0
	var refused [numRefusals]int
	for _, rm := range md.ResourceMetrics().All() {
		scopes := rm.ScopeMetrics()
		reports := false
		for _, sm := range scopes.All() {
			reports = reports || sm.Scope().Name() == scopeName
		}
		if !reports {
			continue
		}
		describeHost(rm.Resource().Attributes())
		out := pmetric.NewScopeMetrics()
		out.Scope().SetName(metadata.ScopeName)
		w := newWriter(out)
		scopes.RemoveIf(func(sm pmetric.ScopeMetrics) bool {
			if sm.Scope().Name() != scopeName {
				return false
			}
			if w.convert(sm) {
				flows++
			}
			return true
		})
		if out.Metrics().Len() > 0 {
			out.MoveTo(scopes.AppendEmpty())
		}
		for why, n := range w.refused {
			refused[why] += n
		}
	}
	md.ResourceMetrics().RemoveIf(func(rm pmetric.ResourceMetrics) bool { return rm.ScopeMetrics().Len() == 0 })
	if flows > 0 {
		c.telemetry.ProcessorNfmagentFlows.Add(ctx, int64(flows))
	}
	for why, n := range refused {
		if n > 0 {
			c.telemetry.ProcessorNfmagentPointsRefused.Add(ctx, int64(n), c.refused[why])
		}
	}
	if md.ResourceMetrics().Len() == 0 {
		return md, processorhelper.ErrSkipProcessingData
	}
	return md, nil
}
