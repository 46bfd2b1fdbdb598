// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package streams

import (
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/exphist"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// Round says what a Write covers.
type Round struct {
	// Now is the time of the points: later than in every round before.
	Now pcommon.Timestamp
	// Since is where a stream without an end before it starts: the end of the last
	// round that was harvested whole, or the start of the receiver.
	Since pcommon.Timestamp
	// Levels is false if not all flows were harvested: then a flow that is missing may
	// have open connections all the same, and no gauge is written.
	Levels bool
}

// Write appends what is held to ms, one metric per name in the order of
// [flowattr.FlowMetrics], and gives the number of points. All of it stays
// held: what becomes of the points is for [Table.End] to say.
func (t *Table) Write(ms pmetric.MetricSlice, r Round) int {
	t.levels = r.Levels
	w := writer{
		table:      t,
		round:      r,
		numbers:    make([]pmetric.NumberDataPointSlice, len(flowattr.FlowMetrics)),
		histograms: make([]pmetric.ExponentialHistogramDataPointSlice, len(flowattr.FlowMetrics)),
	}
	points := w.makeRoom(ms)
	if points == 0 {
		return 0
	}
	for i := range t.states {
		if s := &t.states[i]; s.round != 0 {
			w.write(s)
		}
	}
	return points
}

// writer writes one round.
type writer struct {
	table *Table
	round Round
	// by metric, as in flowattr.FlowMetrics
	numbers    []pmetric.NumberDataPointSlice
	histograms []pmetric.ExponentialHistogramDataPointSlice
}

// makeRoom makes the metrics that will have points, with room for them.
func (w *writer) makeRoom(ms pmetric.MetricSlice) (points int) {
	counts := make([]int, len(flowattr.FlowMetrics))
	for i := range w.table.states {
		if s := &w.table.states[i]; s.round != 0 {
			w.count(s, counts)
		}
	}
	temporality := pmetric.AggregationTemporalityDelta
	if w.table.settings.Cumulative {
		temporality = pmetric.AggregationTemporalityCumulative
	}
	for i, n := range counts {
		if n == 0 {
			continue
		}
		points += n
		known := &flowattr.FlowMetrics[i]
		m := ms.AppendEmpty()
		m.SetName(known.Name)
		m.SetUnit(known.Unit)
		m.SetDescription(known.Description)
		switch known.Kind {
		case flowattr.KindSum:
			sum := m.SetEmptySum()
			sum.SetIsMonotonic(true)
			sum.SetAggregationTemporality(temporality)
			w.numbers[i] = sum.DataPoints()
			w.numbers[i].EnsureCapacity(n)
		case flowattr.KindGauge:
			w.numbers[i] = m.SetEmptyGauge().DataPoints()
			w.numbers[i].EnsureCapacity(n)
		case flowattr.KindExponentialHistogram:
			h := m.SetEmptyExponentialHistogram()
			h.SetAggregationTemporality(temporality)
			w.histograms[i] = h.DataPoints()
			w.histograms[i].EnsureCapacity(n)
		}
	}
	return points
}

// count counts the points of one flow, as write will write them.
func (w *writer) count(s *state, counts []int) {
	if a := s.account; a != nil {
		for i, n := range a.sums {
			if n != 0 {
				counts[sumStreams[i].metric]++
			}
		}
		for i, h := range a.histograms {
			if h != nil {
				counts[histogramStreams[i].metric]++
			}
		}
	}
	for p := range s.open {
		if w.shows(s, p) {
			counts[openStreams[p].metric]++
		}
	}
}

// shows says whether a gauge is to be written: its level is not 0, or was not.
func (w *writer) shows(s *state, phase int) bool {
	return w.round.Levels && (s.shown&(1<<phase) != 0 || w.table.level(s, phase) != 0)
}

func (w *writer) write(s *state) {
	identity := w.table.attributes
	identity.RemoveIf(func(string, pcommon.Value) bool { return true }) // keeps the memory
	s.key.put(identity)

	if a := s.account; a != nil {
		for i, n := range a.sums {
			if n != 0 {
				p := w.number(&sumStreams[i], identity, n)
				p.SetStartTimestamp(w.start(s, i))
			}
		}
		for i, h := range a.histograms {
			if h != nil {
				w.histogram(&histogramStreams[i], identity, h, w.start(s, numSums+i))
			}
		}
	}
	for p := range s.open {
		if w.shows(s, p) {
			level := w.table.level(s, p)
			w.number(&openStreams[p], identity, level)
			if level != 0 {
				s.shown |= 1 << p
			}
		}
	}
}

// start gives the start of the stream's next point: the end of its last one, if that is
// remembered. Settled once for what the account holds: while the pipeline refuses it, the
// start must not move.
func (w *writer) start(s *state, i int) pcommon.Timestamp {
	if bit := uint64(1) << i; s.account.begun&bit == 0 {
		s.account.begun |= bit
		if end := s.since[i]; end == 0 || w.forgets(end) {
			s.since[i] = w.round.Since
		}
	}
	return s.since[i]
}

// forgets says whether the end of a stream was silent for too long, though its flow was not.
func (w *writer) forgets(end pcommon.Timestamp) bool {
	t := w.table
	if t.settings.Cumulative || w.round.Since <= end+pcommon.Timestamp(t.settings.IdleTimeout) {
		return false
	}
	t.forgotten.Idle++
	return true
}

func (w *writer) number(st *stream, identity pcommon.Map, n uint64) pmetric.NumberDataPoint {
	p := w.numbers[st.metric].AppendEmpty()
	p.SetTimestamp(w.round.Now)
	if st.metric == timeMetric {
		p.SetDoubleValue(seconds(float64(n)))
	} else {
		p.SetIntValue(int64(n))
	}
	st.put(identity, p.Attributes())
	return p
}

func (w *writer) histogram(st *stream, identity pcommon.Map, h *histogram, start pcommon.Timestamp) {
	p := w.histograms[st.metric].AppendEmpty()
	p.SetStartTimestamp(start)
	p.SetTimestamp(w.round.Now)
	st.put(identity, p.Attributes())
	h.put(p)
}

// put writes the identity of a flow and what tells the stream from others of the metric.
func (st *stream) put(identity, m pcommon.Map) {
	if len(st.attributes) == 0 {
		identity.CopyTo(m)
		return
	}
	m.EnsureCapacity(identity.Len() + len(st.attributes))
	identity.CopyTo(m)
	for _, a := range st.attributes {
		m.PutStr(a.key, a.value)
	}
}

// timeMetric is the only sum that is no count.
var timeMetric = indexOf(flowattr.MetricTime)

// seconds of a microsecond count.
func seconds(us float64) float64 { return us / 1e6 }

// put writes a histogram, its buckets from the first to the last that is not empty.
func (h *histogram) put(p pmetric.ExponentialHistogramDataPoint) {
	p.SetScale(exphist.Scale)
	p.SetCount(h.count)
	p.SetSum(seconds(float64(h.sumUS)))
	p.SetMin(seconds(float64(h.minUS)))
	p.SetMax(seconds(float64(h.maxUS)))
	first, end := 0, len(h.buckets)
	for first < end && h.buckets[first] == 0 {
		first++
	}
	for end > first && h.buckets[end-1] == 0 {
		end--
	}
	p.Positive().SetOffset(exphist.Offset + int32(first))
	p.Positive().BucketCounts().FromRaw(h.buckets[first:end])
}
