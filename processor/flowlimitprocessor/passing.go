// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"slices"

	"go.opentelemetry.io/collector/pdata/pmetric"
)

// rest copies what of md is no flow's, in its order; b was parsed from md. Only for a
// batch that has both: one without flow points passes as it is.
func (b *batch) rest(md pmetric.Metrics) pmetric.Metrics {
	out := pmetric.NewMetrics()
	points := b.points
	for _, rm := range md.ResourceMetrics().All() {
		toResource := false
		for _, sm := range rm.ScopeMetrics().All() {
			toScope := false
			for _, m := range sm.Metrics().All() {
				mine := points[:pointsOf(m)]
				points = points[len(mine):]
				if addable(m) && !slices.ContainsFunc(mine, point.passes) {
					continue
				}
				if !toResource {
					to := out.ResourceMetrics().AppendEmpty()
					rm.Resource().CopyTo(to.Resource())
					to.SetSchemaUrl(rm.SchemaUrl())
					toResource = true
				}
				scopes := out.ResourceMetrics().At(out.ResourceMetrics().Len() - 1).ScopeMetrics()
				if !toScope {
					to := scopes.AppendEmpty()
					sm.Scope().CopyTo(to.Scope())
					to.SetSchemaUrl(sm.SchemaUrl())
					toScope = true
				}
				copyPassing(m, scopes.At(scopes.Len()-1).Metrics().AppendEmpty(), mine)
			}
		}
	}
	return out
}

func (p point) passes() bool { return p.class == classPasses }

// copyPassing copies m without the points that do not pass.
func copyPassing(m, to pmetric.Metric, points []point) {
	if !slices.ContainsFunc(points, func(p point) bool { return !p.passes() }) {
		m.CopyTo(to)
		return
	}
	to.SetName(m.Name())
	to.SetUnit(m.Unit())
	to.SetDescription(m.Description())
	m.Metadata().CopyTo(to.Metadata())
	switch m.Type() {
	case pmetric.MetricTypeSum:
		sum := to.SetEmptySum()
		sum.SetIsMonotonic(m.Sum().IsMonotonic())
		sum.SetAggregationTemporality(m.Sum().AggregationTemporality())
		copyNumbers(m.Sum().DataPoints(), sum.DataPoints(), points)
	case pmetric.MetricTypeGauge:
		copyNumbers(m.Gauge().DataPoints(), to.SetEmptyGauge().DataPoints(), points)
	case pmetric.MetricTypeExponentialHistogram:
		histogram := to.SetEmptyExponentialHistogram()
		histogram.SetAggregationTemporality(m.ExponentialHistogram().AggregationTemporality())
		for i, dp := range m.ExponentialHistogram().DataPoints().All() {
			if points[i].passes() {
				dp.CopyTo(histogram.DataPoints().AppendEmpty())
			}
		}
	}
}

func copyNumbers(from, to pmetric.NumberDataPointSlice, points []point) {
	for i, dp := range from.All() {
		if points[i].passes() {
			dp.CopyTo(to.AppendEmpty())
		}
	}
}
