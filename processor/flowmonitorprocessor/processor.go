// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"context"
	"sync"
	"sync/atomic"

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
	engine     atomic.Pointer[engine]
	sources    *sources
	cumulative sync.Once // the one log line about cumulative points
}

func newFlowMonitor(cfg *Config, set component.TelemetrySettings) (*flowMonitor, error) {
	telemetry, err := metadata.NewTelemetryBuilder(set)
	if err != nil {
		return nil, err
	}
	p := &flowMonitor{config: cfg, logger: set.Logger, telemetry: telemetry}
	p.sources = newSources(p)
	return p, nil
}

func (p *flowMonitor) start(ctx context.Context, host component.Host) error {
	if err := p.sources.start(ctx, host); err != nil {
		return err
	}
	return p.observe()
}

func (p *flowMonitor) shutdown(ctx context.Context) error {
	err := p.sources.shutdown(ctx)
	p.telemetry.Shutdown()
	return err
}

// process enriches a batch, whole with one engine.
func (p *flowMonitor) process(ctx context.Context, md pmetric.Metrics) (pmetric.Metrics, error) {
	b := batch{engine: p.engine.Load()}
	if b.engine == nil {
		return md, nil // not started
	}
	md.ResourceMetrics().RemoveIf(func(rm pmetric.ResourceMetrics) bool {
		at := b.engine.cache.at(originOf(rm.Resource().Attributes()))
		defer at.mu.Unlock()
		b.origin = at
		before := b.refused
		rm.ScopeMetrics().RemoveIf(func(sm pmetric.ScopeMetrics) bool {
			before := b.refused
			sm.Metrics().RemoveIf(b.metric)
			return b.refused > before && sm.Metrics().Len() == 0
		})
		return b.refused > before && rm.ScopeMetrics().Len() == 0
	})
	p.count(ctx, &b)
	if b.refused > 0 && md.ResourceMetrics().Len() == 0 {
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

// batch is the work on one batch, and what it counted.
type batch struct {
	engine *engine
	origin *origin // of the present resource, locked

	enriched, passed, refused, ambiguous, unknown, misses int64
}

// metric enriches the points of a metric; true when all of them were refused.
func (b *batch) metric(m pmetric.Metric) bool {
	listener := m.Name() == flowattr.MetricListenDrops
	switch m.Type() {
	case pmetric.MetricTypeSum:
		return points(b, m.Sum().DataPoints(), isDelta(m.Sum()), listener)
	case pmetric.MetricTypeGauge:
		return points(b, m.Gauge().DataPoints(), true, listener)
	case pmetric.MetricTypeExponentialHistogram:
		return points(b, m.ExponentialHistogram().DataPoints(), isDelta(m.ExponentialHistogram()), listener)
	case pmetric.MetricTypeHistogram:
		return points(b, m.Histogram().DataPoints(), isDelta(m.Histogram()), listener)
	case pmetric.MetricTypeSummary:
		b.passed += int64(m.Summary().DataPoints().Len()) // no flow is a summary
	}
	return false
}

// isDelta says whether points may be added up over flows and time. An unspecified temporality
// is none: the processors behind this one would refuse the points anyway.
func isDelta(m interface {
	AggregationTemporality() pmetric.AggregationTemporality
}) bool {
	return m.AggregationTemporality() == pmetric.AggregationTemporalityDelta
}

// pointSlice is what the slices of data points of all types have in common.
type pointSlice[P interface{ Attributes() pcommon.Map }] interface {
	Len() int
	At(int) P
	RemoveIf(func(P) bool)
}

func points[P interface{ Attributes() pcommon.Map }](b *batch, list pointSlice[P], adds, listener bool) bool {
	if !adds {
		before := b.refused
		list.RemoveIf(func(p P) bool { return b.refuse(p.Attributes(), listener) })
		return b.refused > before && list.Len() == 0
	}
	for i := range list.Len() {
		b.point(list.At(i).Attributes(), listener)
	}
	return false
}

// refuse tells whether a point that is not delta is a flow's. A sum of totals over changing
// sets of flows means nothing, and nothing behind this processor can use it.
func (b *batch) refuse(m pcommon.Map, listener bool) bool {
	f, ok := flowattr.Read(m)
	if ok || listener && f.Local.IsValid() {
		b.refused++
		return true
	}
	b.passed++
	return false
}

// point enriches one point.
func (b *batch) point(m pcommon.Map, listener bool) {
	f, ok := flowattr.Read(m)
	k := flowKey{local: f.Local, peer: f.Peer}
	if !ok {
		if !listener || !f.Local.IsValid() {
			b.passed++
			return
		}
		k.listener = true
	}
	if v, ok := m.Get(flowattr.Aggregated); ok && v.Bool() {
		b.passed++ // merged rows carry what they were merged by
		return
	}
	if _, ok := m.Get(flowattr.Category); ok || k.listener { // a listener has no category that would tell
		strip(m)
	}
	b.enriched++
	if f.Overflow {
		m.PutStr(flowattr.Category, flowattr.CategoryUnclassified) // it has no ends
		return
	}
	e := b.engine.cache.get(b.origin, k)
	if e == nil {
		b.misses++
		e = b.engine.answer(&b.origin.Origin, k)
		b.engine.cache.put(b.origin, k, e)
	}
	switch e.unresolved {
	case flowattr.UnresolvedAmbiguous:
		b.ambiguous++
	case flowattr.UnresolvedUnknown:
		b.unknown++
	}
	e.writeTo(m)
}
