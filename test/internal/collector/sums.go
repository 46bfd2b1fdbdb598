// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package collector

import (
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// Point is one exported number: a sum's or gauge's value, a histogram's count.
type Point struct {
	Metric     string
	Resource   pcommon.Map
	Attributes pcommon.Map
	Value      float64
	Start, End pcommon.Timestamp
}

// Attribute gives an attribute as a string, "" if absent.
func (p Point) Attribute(name string) string {
	if v, ok := p.Attributes.Get(name); ok {
		return v.AsString()
	}
	return ""
}

// Points lists all points of the batches in their order.
func Points(batches []pmetric.Metrics) (points []Point) {
	for _, b := range batches {
		for _, rm := range b.ResourceMetrics().All() {
			for _, sm := range rm.ScopeMetrics().All() {
				for _, m := range sm.Metrics().All() {
					points = appendPoints(points, m, rm.Resource().Attributes())
				}
			}
		}
	}
	return points
}

func appendPoints(points []Point, m pmetric.Metric, resource pcommon.Map) []Point {
	number := func(dp pmetric.NumberDataPoint) {
		v := dp.DoubleValue()
		if dp.ValueType() == pmetric.NumberDataPointValueTypeInt {
			v = float64(dp.IntValue())
		}
		points = append(points, Point{m.Name(), resource, dp.Attributes(), v, dp.StartTimestamp(), dp.Timestamp()})
	}
	switch m.Type() {
	case pmetric.MetricTypeSum:
		for _, dp := range m.Sum().DataPoints().All() {
			number(dp)
		}
	case pmetric.MetricTypeGauge:
		for _, dp := range m.Gauge().DataPoints().All() {
			number(dp)
		}
	case pmetric.MetricTypeExponentialHistogram:
		for _, dp := range m.ExponentialHistogram().DataPoints().All() {
			points = append(points, Point{m.Name(), resource, dp.Attributes(), float64(dp.Count()), dp.StartTimestamp(), dp.Timestamp()})
		}
	}
	return points
}

// Sum adds up the values of a metric's points that match all of the attributes given as
// name, value, name, value, …; the value "" wants the attribute to be absent.
func Sum(points []Point, metric string, attributes ...string) (sum int) {
	for _, p := range points {
		if p.Metric == metric && p.matches(attributes) {
			sum += int(p.Value)
		}
	}
	return sum
}

func (p Point) matches(attributes []string) bool {
	for i := 0; i < len(attributes); i += 2 {
		if p.Attribute(attributes[i]) != attributes[i+1] {
			return false
		}
	}
	return true
}
