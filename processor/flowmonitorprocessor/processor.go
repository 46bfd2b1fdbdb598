// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"context"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor/processorhelper"
	"go.uber.org/zap"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/metadata"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/path"
)

// flowMonitor is the processor. process may be called by many goroutines at once.
type flowMonitor struct {
	config     *Config
	logger     *zap.Logger
	telemetry  *metadata.TelemetryBuilder
	engine     engines
	batches    sync.Pool // of *batch
	sources    *sources
	cumulative sync.Once // the one log line about cumulative points
}

func newFlowMonitor(cfg *Config, set component.TelemetrySettings) (*flowMonitor, error) {
	telemetry, err := metadata.NewTelemetryBuilder(set)
	if err != nil {
		return nil, err
	}
	p := &flowMonitor{config: cfg, logger: set.Logger, telemetry: telemetry}
	p.batches.New = func() any { return &batch{} }
	p.sources = newSources(p)
	return p, nil
}

func (p *flowMonitor) start(ctx context.Context, host component.Host) error {
	if err := p.sources.start(ctx, host); err != nil {
		return err
	}
	p.beginCounters(ctx)
	return p.observe()
}

func (p *flowMonitor) shutdown(ctx context.Context) error {
	err := p.sources.shutdown(ctx)
	p.telemetry.Shutdown()
	return err
}

// process enriches a batch, whole with one engine.
func (p *flowMonitor) process(ctx context.Context, md pmetric.Metrics) (pmetric.Metrics, error) {
	e := p.engine.Load()
	if e == nil {
		return md, nil // not started
	}
	b := p.batches.Get().(*batch)
	defer p.batches.Put(b)
	b.begin(e)
	md.ResourceMetrics().RemoveIf(b.resource)
	p.count(ctx, b)
	refused := b.refused > 0
	b.end()
	if refused && md.ResourceMetrics().Len() == 0 {
		return md, processorhelper.ErrSkipProcessingData
	}
	return md, nil
}

// originOf reads what a resource says of its host.
func originOf(m pcommon.Map) path.Origin {
	var o path.Origin
	for key, value := range m.All() {
		switch key {
		case flowattr.HostID:
			o.Host = value.Str()
		case flowattr.CloudAccountID:
			o.Account = value.Str()
		case flowattr.CloudRegion:
			o.Region = value.Str()
		case flowattr.CloudAvailabilityZone:
			o.Zone = value.Str()
		case flowattr.K8SClusterName:
			o.Cluster = value.Str()
		case flowattr.K8SNodeName:
			o.Node = value.Str()
		}
	}
	return o
}
