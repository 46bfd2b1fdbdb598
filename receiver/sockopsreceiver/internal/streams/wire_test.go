// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package streams

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// point is a data point as one reads it on the wire.
type point struct {
	stream      string // metric and attributes
	metric      string
	start, time pcommon.Timestamp
	value       uint64 // of a histogram: its count
	sum         float64
	gauge       bool
}

// round writes one round and reads it back.
func round(t testing.TB, table *Table, r Round) []point {
	ms := pmetric.NewMetricSlice()
	n := table.Write(ms, r)
	points := read(ms)
	require.Len(t, points, n, "the number that Write says")
	seen := map[string]bool{}
	for _, p := range points {
		require.False(t, seen[p.stream], "two points in one round: %s", p.stream)
		seen[p.stream] = true
		require.Equal(t, r.Now, p.time)
	}
	return points
}

func read(ms pmetric.MetricSlice) (points []point) {
	for _, m := range ms.All() {
		add := func(attrs pcommon.Map, p point) {
			p.metric = m.Name()
			p.stream = m.Name() + canonical(attrs)
			points = append(points, p)
		}
		switch m.Type() {
		case pmetric.MetricTypeSum:
			for _, p := range m.Sum().DataPoints().All() {
				add(p.Attributes(), point{start: p.StartTimestamp(), time: p.Timestamp(), value: uint64(p.IntValue())})
			}
		case pmetric.MetricTypeGauge:
			for _, p := range m.Gauge().DataPoints().All() {
				add(p.Attributes(), point{start: p.StartTimestamp(), time: p.Timestamp(), value: uint64(p.IntValue()), gauge: true})
			}
		case pmetric.MetricTypeExponentialHistogram:
			for _, p := range m.ExponentialHistogram().DataPoints().All() {
				add(p.Attributes(), point{start: p.StartTimestamp(), time: p.Timestamp(), value: p.Count(), sum: p.Sum()})
			}
		}
	}
	return points
}

func canonical(m pcommon.Map) string {
	var all []string
	for k, v := range m.All() {
		all = append(all, fmt.Sprintf("%s=%s", k, v.AsString()))
	}
	slices.Sort(all)
	return "{" + strings.Join(all, ",") + "}"
}

// of gives the points of one metric.
func of(points []point, metric string) (some []point) {
	for _, p := range points {
		if p.metric == metric {
			some = append(some, p)
		}
	}
	return some
}

func sumOf(points []point, metric string) (n uint64) {
	for _, p := range of(points, metric) {
		n += p.value
	}
	return n
}

// slotOf finds the slot that a point came from.
func slotOf(t testing.TB, p point) (slot int, histogram bool) {
	for i, all := range [][]stream{sumStreams, histogramStreams} {
		found := -1
	slots:
		for slot, s := range all {
			if flowattr.FlowMetrics[s.metric].Name != p.metric {
				continue
			}
			if len(s.attributes) > len(all[max(found, 0)].attributes) || found < 0 {
				for _, a := range s.attributes {
					if !strings.Contains(p.stream, a.key+"="+a.value) {
						continue slots
					}
				}
				found = slot
			}
		}
		if found >= 0 {
			return found, i == 1
		}
	}
	require.Fail(t, "no slot", p.stream)
	return 0, false
}
