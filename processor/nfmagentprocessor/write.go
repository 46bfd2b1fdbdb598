// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nfmagentprocessor

import (
	"math"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/exphist"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/prepared"
)

// definitions are the flow metrics by name.
var definitions = func() map[string]flowattr.Metric {
	m := map[string]flowattr.Metric{}
	for _, def := range flowattr.FlowMetrics {
		m[def.Name] = def
	}
	return m
}()

// writer writes the flow points of one resource.
type writer struct {
	scope   pmetric.ScopeMetrics
	metrics map[string]pmetric.Metric
	refused [numRefusals]int

	flow       prepared.Set // the attributes that all points of a flow have
	attributes prepared.Writer
}

func newWriter(scope pmetric.ScopeMetrics) *writer {
	return &writer{scope: scope, metrics: map[string]pmetric.Metric{}}
}

func (w *writer) metric(name string) pmetric.Metric {
	m, ok := w.metrics[name]
	if ok {
		return m
	}
	def := definitions[name]
	m = w.scope.Metrics().AppendEmpty()
	m.SetName(name)
	m.SetUnit(def.Unit)
	m.SetDescription(def.Description)
	switch def.Kind {
	case flowattr.KindSum:
		m.SetEmptySum().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		m.Sum().SetIsMonotonic(true)
	case flowattr.KindGauge:
		m.SetEmptyGauge()
	case flowattr.KindExponentialHistogram:
		m.SetEmptyExponentialHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	}
	w.metrics[name] = m
	return m
}

// convert writes the points of a scope, which is a flow. It says whether there is one.
func (w *writer) convert(sm pmetric.ScopeMetrics) bool {
	flow, ok := readFlow(sm.Scope().Attributes())
	if !ok {
		for _, m := range sm.Metrics().All() {
			w.refused[refusedFlow] += points(m)
		}
		return false
	}
	attributes := pcommon.NewMap()
	flow.Put(attributes)
	for name, v := range sm.Scope().Attributes().All() {
		if ours, ok := podAttributes[name]; ok && v.Str() != "" {
			attributes.PutStr(ours, v.Str())
		}
	}
	w.flow = prepared.New(attributes)
	again := sentAgain(sm.Metrics())
	for _, m := range sm.Metrics().All() {
		f := fields[m.Name()]
		switch {
		case f.kind == unknown:
			w.refused[refusedUnknown] += points(m)
		case m.Type() != pmetric.MetricTypeHistogram:
			w.refused[refusedMalformed] += points(m)
		case m.Histogram().AggregationTemporality() != pmetric.AggregationTemporalityDelta:
			w.refused[refusedCumulative] += points(m)
		case f.kind == dropped:
		default:
			for _, dp := range m.Histogram().DataPoints().All() {
				w.point(f, m.Name(), dp, &again)
			}
		}
	}
	return true
}

func (w *writer) point(f field, name string, dp pmetric.HistogramDataPoint, again *uint64) {
	at := span{dp.StartTimestamp(), dp.Timestamp()}
	if f.kind == timing {
		if !times(dp) {
			w.refused[refusedMalformed]++
			return
		}
		w.histogram(f, dp, at)
		// The agent has a sample for each connection that a client opened.
		if name == connectTime {
			w.number(field{counter, flowattr.MetricConnectionsOpened, "", ""}, dp.Count(), at)
		}
		return
	}
	n, ok := count(dp)
	if !ok {
		w.refused[refusedMalformed]++
		return
	}
	if f.kind == attempts {
		taken := min(n, *again)
		n, *again = n-taken, *again-taken
	}
	w.number(f, n, at)
}

// number writes a count. A counter that is zero says nothing; a level does.
func (w *writer) number(f field, n uint64, at span) {
	if n == 0 && f.kind != level {
		return
	}
	m := w.metric(f.metric)
	var dp pmetric.NumberDataPoint
	if f.kind == level {
		dp = m.Gauge().DataPoints().AppendEmpty()
	} else {
		dp = m.Sum().DataPoints().AppendEmpty()
		dp.SetStartTimestamp(at.start)
	}
	dp.SetTimestamp(at.end)
	dp.SetIntValue(int64(n))
	w.identify(dp.Attributes(), f)
}

// micro is how many of the agent's units are a second.
const micro = 1e6

// histogram writes times. Count, sum, minimum and maximum are the agent's; of their distribution it says nothing, so all
// are in the bucket of their mean.
func (w *writer) histogram(f field, from pmetric.HistogramDataPoint, at span) {
	if from.Count() == 0 {
		return
	}
	dp := w.metric(f.metric).ExponentialHistogram().DataPoints().AppendEmpty()
	dp.SetStartTimestamp(at.start)
	dp.SetTimestamp(at.end)
	dp.SetScale(exphist.Scale)
	dp.SetCount(from.Count())
	dp.SetSum(from.Sum() / micro)
	dp.SetMin(from.Min() / micro)
	dp.SetMax(from.Max() / micro)
	if mean := from.Sum() / float64(from.Count()) / micro; mean > 0 {
		dp.Positive().SetOffset(bucket(mean))
		dp.Positive().BucketCounts().Append(from.Count())
	} else {
		dp.SetZeroCount(from.Count())
	}
	w.identify(dp.Attributes(), f)
}

// bucket is the index of the bucket that holds v, (2^(i/4), 2^((i+1)/4)], as the OpenTelemetry data model has it. What lies
// outside of this project's layout is in its first or last.
func bucket(v float64) int32 {
	index := math.Ceil(math.Log2(v)*(1<<exphist.Scale)) - 1
	return int32(min(max(index, exphist.Offset), exphist.Offset+exphist.NBuckets-1))
}

func (w *writer) identify(attributes pcommon.Map, f field) {
	w.attributes.Append(attributes, &w.flow)
	if f.key != "" {
		attributes.PutStr(f.key, f.value)
	}
}
