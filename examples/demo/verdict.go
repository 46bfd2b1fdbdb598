// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// verdict is what the monitor's metrics say of one window.
type verdict struct {
	end             time.Time
	indicator       string // "1", "0", or "-": no value
	state, cause    string
	components      []string // suspected, as type/id
	bytes, retrans  int64
	timeouts        int64
	rttSum, rttSeen float64
}

// verdicts sorts the points of the batches into windows, by their time.
func verdicts(batches []pmetric.Metrics) []verdict {
	windows := map[pcommon.Timestamp]*verdict{}
	at := func(t pcommon.Timestamp) *verdict {
		if windows[t] == nil {
			windows[t] = &verdict{end: t.AsTime(), indicator: "-"}
		}
		return windows[t]
	}
	for _, b := range batches {
		for _, rm := range b.ResourceMetrics().All() {
			for _, sm := range rm.ScopeMetrics().All() {
				for _, m := range sm.Metrics().All() {
					note(m, at)
				}
			}
		}
	}
	var found []verdict
	for _, v := range windows {
		if v.state != "" { // else sums of a window that is not decided
			slices.Sort(v.components)
			found = append(found, *v)
		}
	}
	slices.SortFunc(found, func(a, b verdict) int { return a.end.Compare(b.end) })
	return found
}

func note(m pmetric.Metric, at func(pcommon.Timestamp) *verdict) {
	switch m.Type() {
	case pmetric.MetricTypeSum:
		for _, p := range m.Sum().DataPoints().All() {
			v := at(p.Timestamp())
			switch m.Name() {
			case flowattr.MetricMonitorDataTransferred:
				v.bytes += p.IntValue()
			case flowattr.MetricMonitorRetransmissions:
				v.retrans += p.IntValue()
			case flowattr.MetricMonitorTimeouts:
				v.timeouts += p.IntValue()
			}
		}
	case pmetric.MetricTypeExponentialHistogram:
		for _, p := range m.ExponentialHistogram().DataPoints().All() {
			v := at(p.Timestamp())
			v.rttSum += p.Sum()
			v.rttSeen += float64(p.Count())
		}
	case pmetric.MetricTypeGauge:
		for _, p := range m.Gauge().DataPoints().All() {
			noteGauge(m.Name(), p, at(p.Timestamp()))
		}
	}
}

func noteGauge(name string, p pmetric.NumberDataPoint, v *verdict) {
	if p.Flags().NoRecordedValue() || number(p) == 0 && name != flowattr.MetricMonitorHealthIndicator {
		return
	}
	switch name {
	case flowattr.MetricMonitorHealthIndicator:
		v.indicator = "0"
		if number(p) == 1 {
			v.indicator = "1"
		}
	case flowattr.MetricMonitorHealthState:
		v.state = attribute(p, flowattr.HealthState)
	case flowattr.MetricMonitorHealthCause:
		v.cause = attribute(p, flowattr.HealthCause)
	case flowattr.MetricComponentHealthIndicator:
		name := attribute(p, flowattr.ComponentType) + "/" + attribute(p, flowattr.ComponentID)
		if set := attribute(p, flowattr.ComponentSet); set != "" {
			name = set
		}
		v.components = append(v.components, name)
	}
}

func number(p pmetric.NumberDataPoint) float64 {
	if p.ValueType() == pmetric.NumberDataPointValueTypeInt {
		return float64(p.IntValue())
	}
	return p.DoubleValue()
}

func attribute(p pmetric.NumberDataPoint, name string) string {
	if v, ok := p.Attributes().Get(name); ok {
		return v.AsString()
	}
	return ""
}
