// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processorhelper"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/metadata"
)

// NewFactory makes the factory of the flowmonitor processor, which handles metrics.
func NewFactory() processor.Factory {
	return processor.NewFactory(
		metadata.Type,
		createDefaultConfig,
		processor.WithMetrics(createMetrics, metadata.MetricsStability),
	)
}

func createMetrics(ctx context.Context, set processor.Settings, cfg component.Config, next consumer.Metrics) (processor.Metrics, error) {
	p, err := newFlowMonitor(cfg.(*Config), set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	return p.component(ctx, set, next)
}

// component gives the processor as the collector runs it.
func (p *flowMonitor) component(ctx context.Context, set processor.Settings, next consumer.Metrics) (processor.Metrics, error) {
	return processorhelper.NewMetrics(ctx, set, p.config, next, p.process,
		processorhelper.WithCapabilities(consumer.Capabilities{MutatesData: true}),
		processorhelper.WithStart(p.start),
		processorhelper.WithShutdown(p.shutdown),
	)
}
