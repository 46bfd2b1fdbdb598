// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// finish puts the metrics that have points into the batch, in the order of the table. Points
// without a recorded value come last, in a metric of their own: an exporter that cannot
// write them then loses no other point of the batch.
func (b *batch) finish(w *Writer, table []flowattr.Metric) {
	sm := pmetric.NewScopeMetrics()
	for _, m := range table {
		if out := b.metrics[m.Name]; points(out) > 0 {
			out.MoveTo(sm.Metrics().AppendEmpty())
		}
	}
	// A metric for each: the Prometheus exporter (contrib v0.158, accumulator.go) ends the series of
	// the first such point, and does not look at what is behind it in its metric.
	for i := range b.noValues.Len() {
		out := sm.Metrics().AppendEmpty()
		for _, m := range flowattr.NHIMetrics {
			if m.Name == flowattr.MetricMonitorHealthIndicator {
				out.SetName(m.Name)
				out.SetUnit(m.Unit)
				out.SetDescription(m.Description)
			}
		}
		b.noValues.At(i).MoveTo(out.SetEmptyGauge().DataPoints().AppendEmpty())
	}
	if sm.Metrics().Len() == 0 {
		return
	}
	rm := b.md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr(serviceName, ServiceName)
	rm.Resource().Attributes().PutStr(serviceInstanceID, w.instance)
	sm.Scope().SetName(w.scope)
	sm.Scope().SetVersion(w.version)
	sm.MoveTo(rm.ScopeMetrics().AppendEmpty())
}

func points(m pmetric.Metric) int {
	switch m.Type() {
	case pmetric.MetricTypeSum:
		return m.Sum().DataPoints().Len()
	case pmetric.MetricTypeGauge:
		return m.Gauge().DataPoints().Len()
	case pmetric.MetricTypeExponentialHistogram:
		return m.ExponentialHistogram().DataPoints().Len()
	}
	return 0
}
