// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/prepared"
)

// lateStep is what the end of a late round is after the last end of its resource. The
// stores that count in milliseconds (Prometheus) must see it as a later time too; and it
// must not reach the end of the next round, seconds away.
const lateStep = pcommon.Timestamp(time.Millisecond)

// emitter turns released rounds into rows and remembers the streams that they are of. Not
// safe for concurrent use.
type emitter struct {
	hasher  *hasher
	top     int
	streams *streams
	release uint64 // counts up

	// What to remember once the next component has taken the points: a stream's next
	// point starts where the last one that was taken ended.
	pending []pending
}

type pending struct {
	row    *row
	stream int
	level  number
	end    pcommon.Timestamp
	round  pcommon.Timestamp
}

// emitted is what became of a round.
type emitted struct {
	metrics      pmetric.Metrics
	points       int
	kept, merged int
	outdated     int // points of gauges that were not taken
	late         bool
}

// emission is a round on its way out.
type emission struct {
	*emitter
	round    *round
	resource *resource
	writer   *writer

	// end is that of all points that leave: the round's, unless one as late has left
	// already. Ends of a resource only rise, as deltatocumulative drops what does not.
	end pcommon.Timestamp

	// late: a round with the same end or a later one has left. outdated: a later one.
	late, outdated bool
	skipped        int
}

// emit ranks the flows of a round, merges those beyond the top ones and writes all rows.
// The round is used up. commit or abandon must follow.
func (e *emitter) emit(r *round) emitted {
	e.release++
	res := e.streams.resource(r.resource)
	m := emission{emitter: e, round: r, resource: res, end: r.end, late: res.lastEnd != 0 && r.end <= res.lastRound}
	m.outdated = m.late && r.end < res.lastRound
	if r.end <= res.lastEnd {
		m.end = res.lastEnd + lateStep
	}
	m.writer = newWriter(r, m.end, m.outdated)

	kept, others := split(r, e.top)
	for _, f := range kept {
		m.row(f, false)
	}
	out := emitted{kept: len(kept), late: m.late}
	for _, f := range others {
		if f.class == classFlow || f.class == classListener {
			out.merged++
		}
	}
	// Before the flows are used up.
	if !m.outdated {
		m.endLevelsOfFlows(others)
	}
	for _, row := range merge(e.hasher, r, others) {
		m.row(row, true)
	}
	if !m.late {
		m.endLevelsOfRows()
	}
	res.lastRound, res.lastEnd = max(res.lastRound, r.end), m.end
	e.streams.drop(res)
	out.metrics, out.points, out.outdated = m.writer.metrics, m.writer.points, m.skipped
	return out
}

// row writes a flow or a merged row.
func (m *emission) row(f *flow, merged bool) {
	var rw *row
	for i, index := range f.ids {
		c, col := &f.cells[i], &m.round.columns[index]
		gauge := col.metric.kind == flowattr.KindGauge
		if gauge && m.outdated {
			m.skipped++
			continue
		}
		if rw == nil {
			rw = m.streams.row(m.resource, rowID(m.hasher, m.round.resource, f.id))
		}
		at := m.streams.stream(rw, col.stream)
		start := c.start
		if start != 0 {
			start = min(max(start, m.resource.forgotten), m.end)
		}
		value := c.number
		if at >= 0 {
			st := &rw.streams[at]
			if st.end != 0 && (c.start != 0 || !gauge) {
				start = st.end
			}
			if gauge {
				value = m.keepLevel(st, col, value)
				if merged {
					m.resource.keepLevels(rw)
				}
			}
		}
		m.pending = append(m.pending, pending{rw, at, value, m.end, m.round.end})
		if col.metric.kind == flowattr.KindExponentialHistogram {
			m.writer.histogram(int(index), m.round.histograms[c.number.int()], &f.set, start)
		} else {
			m.writer.number(m.writer.column(int(index)), col, value, &f.set, start)
		}
	}
	if rw != nil && rw.levelsAt >= 0 {
		rw.attributes = f.set
	}
}

// keepLevel gives the level to write. The rest of a round of which a part has left already
// adds to what that part said.
func (m *emission) keepLevel(st *stream, col *column, value number) number {
	if st.level == nil {
		st.level = &level{column: *col}
	} else if m.late && st.level.round == m.round.end {
		value = value.add(st.level.value)
	}
	st.level.seen = m.release
	return value
}

// endLevelsOfFlows writes a last 0 for the levels of flows that were kept in an earlier
// round and are merged in this one: their rows do not speak of them any more.
func (m *emission) endLevelsOfFlows(merged []*flow) {
	for _, f := range merged {
		rw, ok := m.streams.rows[rowID(m.hasher, m.round.resource, f.id)]
		if !ok || f.class == classAggregated || f.class == classOverflow {
			continue
		}
		m.endLevels(rw, &f.set)
	}
}

// endLevelsOfRows writes a last 0 for the levels of merged rows that this round did not
// write: all the flows behind them are kept now, or gone.
func (m *emission) endLevelsOfRows() {
	for i := len(m.resource.levels) - 1; i >= 0; i-- {
		rw := m.resource.levels[i]
		if !m.endLevels(rw, &rw.attributes) {
			m.resource.forgetLevels(rw)
		}
	}
}

// endLevels writes a 0 for each level of a row that stands and was not written in this
// release, and says whether the row still has a level.
func (m *emission) endLevels(rw *row, attributes *prepared.Set) (stands bool) {
	for i := range rw.streams {
		st := &rw.streams[i]
		lv := st.level
		switch {
		case lv == nil:
			continue
		case lv.seen == m.release:
			stands = true
			continue
		case lv.value.isZero() || lv.round == m.round.end:
			continue
		}
		stands = true // until the 0 is taken
		lv.seen = m.release
		zero := number{double: lv.value.double}
		m.writer.number(m.writer.gauge(lv.column.metric), &lv.column, zero, attributes, st.end)
		m.pending = append(m.pending, pending{rw, i, zero, m.end, m.round.end})
	}
	return stands
}

// commit remembers what left, as the next component has taken it.
func (e *emitter) commit() {
	for _, p := range e.pending {
		if p.stream < 0 || p.row.evicted { // there was no room: forgotten at once
			p.row.resource.forgotten = max(p.row.resource.forgotten, p.end)
			continue
		}
		st := &p.row.streams[p.stream]
		st.end = p.end
		if st.level != nil {
			st.level.value, st.level.round = p.level, p.round
		}
	}
	e.abandon()
}

// abandon forgets what did not leave: the streams go on where they were.
func (e *emitter) abandon() {
	clear(e.pending)
	e.pending = e.pending[:0]
}
