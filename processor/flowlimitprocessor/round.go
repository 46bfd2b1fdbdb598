// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/exphist"
	"github.com/otel-flowmonitor/flowmonitor/internal/prepared"
)

// round is all flow points of one resource that end at one time, added up by flow and
// column. Streams that were silent before have older starts, so the start is no part of it.
// It holds copies only: nothing of the batches that it came from but immutable strings.
type round struct {
	resource  key
	end       pcommon.Timestamp
	of        pcommon.Resource
	schemaURL string

	flows      []flow
	byFlow     map[key]int32
	columns    []column
	byColumn   map[uint64]int32
	histograms []pmetric.ExponentialHistogramDataPoint
	freeIDs    []uint32
	freeCells  []cell

	points int // as they came in
	bytes  int // estimated

	// Of the rounds that are held.
	deadline   time.Time
	prev, next *round
	released   bool
}

// column is the streams of one metric and one set of extras.
type column struct {
	metric *metric
	extras extras
	set    *prepared.Set // of the extras
	stream uint64
}

// flow is a flow in one round, or a merged row.
type flow struct {
	id  key
	set prepared.Set
	index[uint32]
	cells []cell

	// The rank: retransmissions + 2 timeouts + 4 (failed + severed), then bytes. As
	// floats, which say enough of the order and cannot wrap.
	loss, bytes float64
	class       class
	tie         string // canonical attributes, made when two flows are equal otherwise
}

const (
	// roundSize is about what an empty round takes: its maps and its copy of the resource.
	roundSize = 2048

	// flowSize is about what a flow takes without attributes and cells, with its places in
	// the slice and in the map.
	flowSize = 256

	// columnSize is about what a column takes without the texts of its extras, with its place
	// in the map and its set of attributes.
	columnSize = 320

	// firstCells is what a flow gets room for: the receiver writes 10 to 16 points for one.
	firstCells = 16

	// cellPiece is how many cells are allocated at once, for 64 flows.
	cellPiece = 64 * firstCells
)

func newRound(resource key, end pcommon.Timestamp, rm pmetric.ResourceMetrics) *round {
	r := &round{
		resource: resource, end: end, of: pcommon.NewResource(), schemaURL: rm.SchemaUrl(),
		byFlow: map[key]int32{}, byColumn: map[uint64]int32{}, bytes: roundSize,
	}
	rm.Resource().CopyTo(r.of)
	for k, v := range rm.Resource().Attributes().All() {
		r.bytes += len(k) + prepared.SizeOf(v)
	}
	return r
}

// column gives the index of a column.
func (r *round) column(c *catalog, m *metric, e *extras) int32 {
	stream := m.stream(c.hasher, e)
	if i, ok := r.byColumn[stream]; ok {
		return i
	}
	i := int32(len(r.columns))
	r.columns = append(r.columns, column{metric: m, extras: *e, set: c.extras(e), stream: stream})
	r.byColumn[stream] = i
	r.bytes += columnSize + len(e.phase) + len(e.errorType) + len(e.limit) + len(e.retransmitType)
	return i
}

// flow gives the index of a flow.
func (r *round) flow(k *known) int32 {
	if i, ok := r.byFlow[k.key]; ok {
		return i
	}
	i := int32(len(r.flows))
	r.byFlow[k.key] = i
	r.flows = append(r.flows, flow{id: k.key, set: k.set, class: k.class})
	r.room(&r.flows[i])
	r.bytes += flowSize + firstCells*cellSize + k.bytes
	return i
}

// room gives a flow its first cells, cut from a large piece.
func (r *round) room(f *flow) {
	if len(r.freeCells) < firstCells {
		// A round of one flow should not allocate for 64.
		n := min(max(firstCells, firstCells*len(r.flows)), cellPiece)
		r.freeCells, r.freeIDs = make([]cell, n), make([]uint32, n)
	}
	f.cells, r.freeCells = r.freeCells[:0:firstCells], r.freeCells[firstCells:]
	f.ids, r.freeIDs = r.freeIDs[:0:firstCells], r.freeIDs[firstCells:]
}

// cell gives a flow's cell of a column and whether it is new.
func (f *flow) cell(column uint32, start pcommon.Timestamp) (c *cell, fresh bool) {
	if i := f.find(column); i >= 0 {
		c = &f.cells[i]
		c.start = earliest(c.start, start)
		return c, false
	}
	f.add(column)
	f.cells = append(f.cells, cell{start: start})
	return &f.cells[len(f.cells)-1], true
}

func (r *round) taken(f *flow, fresh bool) {
	r.points++
	if fresh && len(f.cells) > firstCells {
		r.bytes += 2 * cellSize // append doubles
	}
}

// number adds a point of a sum or a gauge: levels of one stream at one time add up too.
func (r *round) number(f *flow, column uint32, dp pmetric.NumberDataPoint) {
	n := numberOf(dp)
	c, fresh := f.cell(column, dp.StartTimestamp())
	if fresh {
		c.number = n
	} else {
		c.number = c.number.add(n)
	}
	r.taken(f, fresh)
	f.weigh(&r.columns[column], n)
}

// histogram adds a point of an exponential histogram.
func (r *round) histogram(f *flow, column uint32, dp pmetric.ExponentialHistogramDataPoint) {
	c, fresh := f.cell(column, dp.StartTimestamp())
	if fresh {
		held := holdHistogram(dp)
		c.number = intNumber(int64(len(r.histograms)))
		r.histograms = append(r.histograms, held)
		r.bytes += histogramSize + bucketsSize(held)
	} else {
		held := r.histograms[c.number.int()]
		before := bucketsSize(held)
		exphist.Add(held, dp)
		r.bytes += bucketsSize(held) - before
	}
	r.taken(f, fresh)
}

// weigh adds a point's value to the rank of its flow.
func (f *flow) weigh(col *column, n number) {
	if col.metric.rank == rankNone {
		return
	}
	v := n.float()
	if !(v > 0) { // a hostile negative or NaN must not decide an order
		return
	}
	switch col.metric.rank {
	case rankRetransmissions:
		f.loss += v
	case rankTimeouts:
		f.loss += 2 * v
	case rankFailed:
		f.loss += 4 * v
	case rankClosed:
		if col.extras.errorType != "" {
			f.loss += 4 * v
		}
	case rankDrops:
		if f.class == classListener {
			f.loss += v
		}
	case rankBytes:
		f.bytes += v
	}
}
