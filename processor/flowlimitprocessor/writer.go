// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/prepared"
)

// writer writes the points of one round, metric by metric as they came in.
type writer struct {
	metrics pmetric.Metrics
	points  int

	round   *round
	end     pcommon.Timestamp
	rm      pmetric.ResourceMetrics
	scopes  map[key]pmetric.ScopeMetrics
	written map[key]pmetric.Metric
	columns []pmetric.Metric
	sets    prepared.Writer
}

func newWriter(r *round, end pcommon.Timestamp, withoutGauges bool) *writer {
	w := &writer{
		metrics: pmetric.NewMetrics(), round: r, end: end,
		scopes: map[key]pmetric.ScopeMetrics{}, written: map[key]pmetric.Metric{},
		columns: make([]pmetric.Metric, len(r.columns)),
	}
	w.rm = w.metrics.ResourceMetrics().AppendEmpty()
	r.of.MoveTo(w.rm.Resource())
	w.rm.SetSchemaUrl(r.schemaURL)
	for i := range r.columns {
		// Each column has a point, so that no metric is left without one.
		if m := r.columns[i].metric; m.kind != flowattr.KindGauge || !withoutGauges {
			w.columns[i] = w.metric(m)
		}
	}
	return w
}

func (w *writer) metric(m *metric) pmetric.Metric {
	if out, ok := w.written[m.key]; ok {
		return out
	}
	sm, ok := w.scopes[m.scope.key]
	if !ok {
		sm = w.rm.ScopeMetrics().AppendEmpty()
		sm.Scope().SetName(m.scope.name)
		sm.Scope().SetVersion(m.scope.version)
		m.scope.attributes.CopyTo(sm.Scope().Attributes())
		sm.SetSchemaUrl(m.scope.schemaURL)
		w.scopes[m.scope.key] = sm
	}
	out := sm.Metrics().AppendEmpty()
	out.SetName(m.name)
	out.SetUnit(m.unit)
	out.SetDescription(m.description)
	m.metadata.CopyTo(out.Metadata())
	switch m.kind {
	case flowattr.KindSum:
		sum := out.SetEmptySum()
		sum.SetIsMonotonic(m.monotonic)
		sum.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	case flowattr.KindGauge:
		out.SetEmptyGauge()
	case flowattr.KindExponentialHistogram:
		out.SetEmptyExponentialHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	}
	w.written[m.key] = out
	return out
}

// column gives where the numbers of a column go.
func (w *writer) column(i int) pmetric.NumberDataPointSlice {
	if m := w.columns[i]; m.Type() == pmetric.MetricTypeSum {
		return m.Sum().DataPoints()
	}
	return w.columns[i].Gauge().DataPoints()
}

// gauge gives where the levels of a metric go that this round may not have.
func (w *writer) gauge(m *metric) pmetric.NumberDataPointSlice {
	return w.metric(m).Gauge().DataPoints()
}

func (w *writer) number(to pmetric.NumberDataPointSlice, c *column, value number, attributes *prepared.Set, start pcommon.Timestamp) {
	dp := to.AppendEmpty()
	w.sets.Append(dp.Attributes(), attributes, c.set)
	dp.SetStartTimestamp(start)
	dp.SetTimestamp(w.end)
	value.put(dp)
	w.points++
}

// histogram moves a histogram into a column.
func (w *writer) histogram(column int, from pmetric.ExponentialHistogramDataPoint, attributes *prepared.Set, start pcommon.Timestamp) {
	dp := w.columns[column].ExponentialHistogram().DataPoints().AppendEmpty()
	from.MoveTo(dp)
	w.sets.Append(dp.Attributes(), attributes, w.round.columns[column].set)
	dp.SetStartTimestamp(start)
	dp.SetTimestamp(w.end)
	w.points++
}
