// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nhiprocessor

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processorhelper"

	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/metadata"
)

// NewFactory makes the factory of the nhi processor.
func NewFactory() processor.Factory {
	return processor.NewFactory(metadata.Type, createDefaultConfig, processor.WithMetrics(createMetrics, metadata.MetricsStability))
}

func createMetrics(ctx context.Context, set processor.Settings, cfg component.Config, next consumer.Metrics) (processor.Metrics, error) {
	p, err := newProcessor(set, cfg.(*Config), next)
	if err != nil {
		return nil, err
	}
	// The processor stands between the helper and the next consumer, not in the helper's
	// function: it counts only what the next consumer took.
	between, err := consumer.NewMetrics(p.ConsumeMetrics)
	if err != nil {
		return nil, err
	}
	unchanged := func(_ context.Context, md pmetric.Metrics) (pmetric.Metrics, error) { return md, nil }
	return processorhelper.NewMetrics(ctx, set, cfg, between, unchanged,
		processorhelper.WithCapabilities(consumer.Capabilities{MutatesData: false}),
		processorhelper.WithStart(p.start), processorhelper.WithShutdown(p.shutdown))
}
