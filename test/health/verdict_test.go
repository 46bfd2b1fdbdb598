// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package health

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
)

// verdict is what was said of one window, and how much crossed the gateway in it.
type verdict struct {
	end          time.Time
	state, cause string
	suspected    []string
	segments     int
	indicator    float64 // -1: none
}

func (v verdict) String() string {
	return fmt.Sprintf("%s %s/%s indicator %v suspected %v, %d segments", v.end.Format("05.0"), v.state, v.cause, v.indicator, v.suspected, v.segments)
}

// verdicts reads the windows that were decided, in their order.
func verdicts(t testing.TB, p *collector.Process) (out []verdict) {
	t.Helper()
	windows := map[pcommon.Timestamp]*verdict{}
	at := func(end pcommon.Timestamp) *verdict {
		if windows[end] == nil {
			windows[end] = &verdict{end: end.AsTime(), indicator: -1}
		}
		return windows[end]
	}
	for _, point := range collector.Points(p.Read(t)) {
		switch point.Metric {
		case flowattr.MetricSegmentsSent:
			if path, ok := point.Attributes.Get(flowattr.Path); ok && crosses(path, gateway) {
				at(windowOf(point.End)).segments += int(point.Value)
			}
		case flowattr.MetricMonitorHealthIndicator:
			at(point.End).indicator = point.Value
		case flowattr.MetricMonitorHealthState:
			if point.Value == 1 {
				at(point.End).state = point.Attribute(flowattr.HealthState)
			}
		case flowattr.MetricMonitorHealthCause:
			if point.Value == 1 {
				at(point.End).cause = point.Attribute(flowattr.HealthCause)
			}
		case flowattr.MetricComponentHealthIndicator:
			if point.Value == 1 {
				v := at(point.End)
				v.suspected = append(v.suspected, names(point)...)
			}
		}
	}
	for _, v := range windows {
		if v.state != "" {
			out = append(out, *v)
		}
	}
	slices.SortFunc(out, func(a, b verdict) int { return a.end.Compare(b.end) })
	return out
}

// windowOf is the end of the window that a point belongs to.
func windowOf(t pcommon.Timestamp) pcommon.Timestamp {
	w := pcommon.Timestamp(window)
	return (t + w - 1) / w * w
}

func crosses(path pcommon.Value, component string) bool {
	for _, v := range path.Slice().All() {
		if v.Str() == component {
			return true
		}
	}
	return false
}

// names are the components that a point speaks of: one, or those that cannot be told apart.
func names(p collector.Point) (out []string) {
	if id := p.Attribute(flowattr.ComponentID); id != "" {
		return []string{p.Attribute(flowattr.ComponentType) + "/" + id}
	}
	if set, ok := p.Attributes.Get(flowattr.ComponentSet); ok {
		for _, v := range set.Slice().All() {
			out = append(out, v.Str())
		}
	}
	return out
}
