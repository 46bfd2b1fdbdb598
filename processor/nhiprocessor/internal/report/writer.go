// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/exphist"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/verdict"
)

// The resource of this processor's metrics. Prometheus knows a target by these two.
const (
	serviceName       = "service.name"
	serviceInstanceID = "service.instance.id"
	// ServiceName is the service.name of the nhi processor's own metrics.
	ServiceName = "flowmonitor-nhi"
)

// Writer makes one batch of metrics for each window. It is not safe for concurrent use.
//
// A batch holds sums of a monitor since the last batch that was [Writer.Delivered].
type Writer struct {
	instance, scope, version string
	streams                  map[string]*stream
}

// stream is a monitor's sums and where they stand.
type stream struct {
	counts evidence.Counts // that no consumer took
	rtt    pmetric.ExponentialHistogramDataPoint
	// Where the points before ended. The histogram has an end of its own: a window without
	// a sample has no point.
	end, rttEnd pcommon.Timestamp
	// noValue says that the indicator has been told to have no value.
	noValue bool
	// What the batch under way will change when it is delivered.
	written, hasRTT, nextNoValue, gone bool
	// forgotten says that the monitor is gone, and that no consumer took its last points yet.
	forgotten bool
}

// NewWriter makes a writer for a resource with this instance id.
func NewWriter(instance, scope, version string) *Writer {
	return &Writer{instance: instance, scope: scope, version: version, streams: map[string]*stream{}}
}

// Add takes a window's sums. start is where the streams of monitors begin that are new.
func (w *Writer) Add(e *evidence.Window, start time.Time) {
	w.restart(start)
	for name, c := range e.Totals() {
		w.stream(name, start).counts.Merge(c)
	}
	for name, h := range e.RTT {
		exphist.Add(w.stream(name, start).rtt, h)
	}
}

// restart begins all streams anew when time went back to start: the clock was set, and a
// point cannot start after its end.
func (w *Writer) restart(start time.Time) {
	at := pcommon.NewTimestampFromTime(start)
	for _, s := range w.streams {
		s.end, s.rttEnd = min(s.end, at), min(s.rttEnd, at)
	}
}

func (w *Writer) stream(name string, start time.Time) *stream {
	s := w.streams[name]
	if s == nil {
		at := pcommon.NewTimestampFromTime(start)
		s = &stream{end: at, rttEnd: at, rtt: pmetric.NewExponentialHistogramDataPoint()}
		w.streams[name] = s
	}
	return s
}

// Batch writes the sums up to end and the decision; without a decision, the sums of all
// monitors that have any. It is empty when there is nothing to say. A caller whose consumer
// took the batch calls Delivered before the next one.
func (w *Writer) Batch(d *verdict.Decision, end time.Time) pmetric.Metrics {
	md := pmetric.NewMetrics()
	b := newBatch(md, pcommon.NewTimestampFromTime(end), flowattr.NHIMetrics)
	for _, s := range w.streams {
		s.written, s.hasRTT, s.nextNoValue, s.gone = false, false, s.noValue, d != nil
	}
	if d != nil {
		for i := range d.Monitors {
			b.monitor(&d.Monitors[i], w.stream(d.Monitors[i].Name, end))
		}
		for i := range d.Components {
			b.component(&d.Components[i])
		}
	}
	// Of a monitor that was forgotten the last points come until a consumer took them. Sums
	// without a verdict are those of a window that is not over.
	for _, name := range slices.Sorted(maps.Keys(w.streams)) {
		s := w.streams[name]
		if d != nil && s.forgotten && !s.written {
			b.monitor(&verdict.Monitor{Name: name, Forgotten: true}, s)
		}
		if !s.written && (s.counts != (evidence.Counts{}) || s.rtt.Count() > 0) {
			b.sums(name, s)
		}
	}
	b.finish(w, flowattr.NHIMetrics)
	return md
}

// Delivered says that the consumer took the batch that ended at end.
func (w *Writer) Delivered(end time.Time) {
	at := pcommon.NewTimestampFromTime(end)
	for name, s := range w.streams {
		if s.gone {
			delete(w.streams, name)
			continue
		}
		if !s.written {
			continue
		}
		s.counts = evidence.Counts{}
		s.end = at
		if s.hasRTT {
			s.rtt = pmetric.NewExponentialHistogramDataPoint()
			s.rttEnd = at
		}
		s.noValue = s.nextNoValue
	}
}

// batch is metrics under way, one slice of points for each metric of the table.
type batch struct {
	md       pmetric.Metrics
	at       pcommon.Timestamp
	metrics  map[string]pmetric.Metric
	noValues pmetric.NumberDataPointSlice
}

func newBatch(md pmetric.Metrics, at pcommon.Timestamp, table []flowattr.Metric) *batch {
	b := &batch{md: md, at: at, metrics: make(map[string]pmetric.Metric, len(table)), noValues: pmetric.NewNumberDataPointSlice()}
	for _, m := range table {
		out := pmetric.NewMetric()
		out.SetName(m.Name)
		out.SetUnit(m.Unit)
		out.SetDescription(m.Description)
		switch m.Kind {
		case flowattr.KindSum:
			s := out.SetEmptySum()
			s.SetIsMonotonic(true)
			s.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		case flowattr.KindGauge:
			out.SetEmptyGauge()
		case flowattr.KindExponentialHistogram:
			out.SetEmptyExponentialHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		}
		b.metrics[m.Name] = out
	}
	return b
}

func (b *batch) sums(name string, s *stream) {
	s.written = true
	for _, sum := range []struct {
		metric string
		value  uint64
	}{
		{flowattr.MetricMonitorDataTransferred, s.counts.DataTransferred()},
		{flowattr.MetricMonitorRetransmissions, s.counts.AllRetransmissions()},
		{flowattr.MetricMonitorTimeouts, s.counts.AllTimeouts()},
	} {
		p := b.metrics[sum.metric].Sum().DataPoints().AppendEmpty()
		p.Attributes().PutStr(flowattr.MonitorName, name)
		p.SetStartTimestamp(s.end)
		p.SetTimestamp(b.at)
		p.SetIntValue(int64(min(sum.value, math.MaxInt64)))
	}
	if s.rtt.Count() > 0 {
		s.hasRTT = true
		p := b.metrics[flowattr.MetricMonitorRoundTripTime].ExponentialHistogram().DataPoints().AppendEmpty()
		s.rtt.CopyTo(p)
		p.Attributes().PutStr(flowattr.MonitorName, name)
		p.SetStartTimestamp(s.rttEnd)
		p.SetTimestamp(b.at)
	}
}

func (b *batch) gauge(metric string) pmetric.NumberDataPoint {
	p := b.metrics[metric].Gauge().DataPoints().AppendEmpty()
	p.SetTimestamp(b.at)
	return p
}

var (
	states = []string{flowattr.StateHealthy, flowattr.StateDegraded, flowattr.StateInsufficientData}
	causes = []string{
		flowattr.CauseNone, flowattr.CauseNetwork, flowattr.CauseLocalHost,
		flowattr.CauseRemoteHost, flowattr.CauseRemoteService, flowattr.CauseApplication,
	}
)

func (b *batch) monitor(m *verdict.Monitor, s *stream) {
	b.sums(m.Name, s)
	s.gone, s.forgotten = m.Forgotten, m.Forgotten
	if m.State == flowattr.StateHealthy || m.State == flowattr.StateDegraded {
		p := b.gauge(flowattr.MetricMonitorHealthIndicator)
		p.Attributes().PutStr(flowattr.MonitorName, m.Name)
		p.SetIntValue(one(m.State == flowattr.StateDegraded))
		s.nextNoValue = false
	} else if !s.noValue {
		p := b.noValues.AppendEmpty()
		p.Attributes().PutStr(flowattr.MonitorName, m.Name)
		p.SetTimestamp(b.at)
		p.SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
		s.nextNoValue = true
	}
	for _, state := range states {
		p := b.gauge(flowattr.MetricMonitorHealthState)
		p.Attributes().PutStr(flowattr.MonitorName, m.Name)
		p.Attributes().PutStr(flowattr.HealthState, state)
		p.SetIntValue(one(m.State == state))
	}
	for _, cause := range causes {
		p := b.gauge(flowattr.MetricMonitorHealthCause)
		p.Attributes().PutStr(flowattr.MonitorName, m.Name)
		p.Attributes().PutStr(flowattr.HealthCause, cause)
		p.SetIntValue(one(m.Cause == cause))
	}
}

func (b *batch) component(c *verdict.Component) {
	put := func(metric string) pmetric.NumberDataPoint {
		p := b.gauge(metric)
		if len(c.Names) == 1 {
			kind, id, _ := strings.Cut(c.Names[0], "/")
			p.Attributes().PutStr(flowattr.ComponentType, kind)
			p.Attributes().PutStr(flowattr.ComponentID, id)
			return p
		}
		set := p.Attributes().PutEmptySlice(flowattr.ComponentSet)
		set.EnsureCapacity(len(c.Names))
		for _, name := range c.Names {
			set.AppendEmpty().SetStr(name)
		}
		return p
	}
	put(flowattr.MetricComponentHealthIndicator).SetIntValue(one(c.Suspected))
	// More digits than three would say more than is known, and differ between machines.
	put(flowattr.MetricComponentConfidence).SetDoubleValue(math.Round(c.Confidence*1000) / 1000)
	put(flowattr.MetricComponentSegments).SetIntValue(int64(min(c.Evidence.Segments, math.MaxInt64)))
	put(flowattr.MetricComponentRetransmissions).SetIntValue(int64(min(c.Evidence.Retransmissions, math.MaxInt64)))
	put(flowattr.MetricComponentTimeouts).SetIntValue(int64(min(c.Evidence.Timeouts, math.MaxInt64)))
	put(flowattr.MetricComponentLocalHosts).SetIntValue(int64(c.Evidence.LocalHosts))
	put(flowattr.MetricComponentRemoteHosts).SetIntValue(int64(c.Evidence.RemoteHosts))
	put(flowattr.MetricComponentHostPairs).SetIntValue(int64(c.Evidence.HostPairs))
}

func one(is bool) int64 {
	if is {
		return 1
	}
	return 0
}
