// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"cmp"
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// release is why a round left.
type release uint8

const (
	releaseLater    release = iota // a later round of the same resource came
	releaseTimeout                 // its first point is round_timeout old
	releaseCapacity                // the rounds held reached max_held_mib, and its resource had the oldest
	releaseShutdown
	numReleases
)

func (r release) String() string {
	return [...]string{"later_round", "timeout", "capacity", "shutdown"}[r]
}

const (
	// maxAhead is how far the clock of a host may be ahead of this one. A point of a later
	// time is taken as of now: as ends never go back, one wrong time stamp would hold all
	// later rounds of its resource in that future.
	maxAhead = time.Hour
)

// held has the rounds that wait for more points, and those that left and wait to be sent,
// in their order. Not safe for concurrent use.
type held struct {
	hasher   *hasher
	catalog  *catalog
	timeout  time.Duration
	maxBytes int

	open   map[roundKey]*round
	latest map[key][]*round // open rounds by resource, by end
	oldest *round           // by first point: the one that times out next
	newest *round
	outbox []*round

	points, bytes               int // of the open ones
	waitingPoints, waitingBytes int // of those in the outbox
	released                    [numReleases]int

	// The column of each extras index of the batch, in the present round and metric.
	columns    []place
	generation uint64
}

type roundKey struct {
	resource key
	end      pcommon.Timestamp
}

// place is an index into a round, which is valid in one generation: what was found once
// need not be looked up for every point.
type place struct {
	generation uint64
	index      int32
}

func newHeld(h *hasher, timeout time.Duration, maxBytes int) *held {
	return &held{
		hasher: h, catalog: newCatalog(h), timeout: timeout, maxBytes: maxBytes,
		open: map[roundKey]*round{}, latest: map[key][]*round{},
	}
}

// deadline says when the next round times out.
func (d *held) deadline() (at time.Time, ok bool) {
	if d.oldest == nil {
		return time.Time{}, false
	}
	return d.oldest.deadline, true
}

// full says whether rounds wait to be sent while all that is held is beyond the bound: who
// sends does not keep up. When nothing waits, what is added makes room for itself.
func (d *held) full() bool {
	return len(d.outbox) > 0 && d.bytes+d.waitingBytes > d.maxBytes
}

// add takes the flow points of md, which b was parsed from. Rounds that are complete by
// it, or are too much, are in the outbox afterwards.
func (d *held) add(b *batch, md pmetric.Metrics, now time.Time) {
	if len(d.columns) < len(b.extras) {
		d.columns = make([]place, len(b.extras))
	}
	points := b.points
	w := walk{held: d, batch: b, now: now, latest: pcommon.NewTimestampFromTime(now.Add(maxAhead))}
	var resources []key
	for _, rm := range md.ResourceMetrics().All() {
		w.rm, w.resource, w.round = rm, d.hasher.set(rm.Resource().Attributes()), nil
		resources = append(resources, w.resource)
		for _, sm := range rm.ScopeMetrics().All() {
			var s *scope
			for _, m := range sm.Metrics().All() {
				n := pointsOf(m)
				mine := points[:n]
				points = points[n:]
				if !slices.ContainsFunc(mine, point.adds) {
					continue
				}
				if s == nil {
					s = d.catalog.scope(sm)
				}
				w.metric(d.catalog.metric(s, m), m, mine)
			}
		}
	}
	// Not before the end: a batch may carry several rounds of a resource, metric by metric.
	for _, resource := range resources {
		d.release(resource, 1, releaseLater)
	}
}

// adds says whether the point is to be added up.
func (p point) adds() bool { return p.class != classPasses && p.class != classRefused }

// pointsOf says how many points of m were parsed.
func pointsOf(m pmetric.Metric) int {
	switch m.Type() {
	case pmetric.MetricTypeSum:
		return m.Sum().DataPoints().Len()
	case pmetric.MetricTypeGauge:
		return m.Gauge().DataPoints().Len()
	case pmetric.MetricTypeExponentialHistogram:
		return m.ExponentialHistogram().DataPoints().Len()
	}
	return 0
}

// walk is the place in a batch.
type walk struct {
	held     *held
	batch    *batch
	rm       pmetric.ResourceMetrics
	resource key
	now      time.Time
	latest   pcommon.Timestamp // a later end is no time

	round            *round // of the point before: most have the same end
	inRound, inEntry uint64 // generations of what is known of the round, and of its metric
}

func (w *walk) metric(m *metric, from pmetric.Metric, points []point) {
	w.inEntry = w.held.next()
	switch from.Type() {
	case pmetric.MetricTypeSum:
		w.numbers(m, from.Sum().DataPoints(), points)
	case pmetric.MetricTypeGauge:
		w.numbers(m, from.Gauge().DataPoints(), points)
	case pmetric.MetricTypeExponentialHistogram:
		dps := from.ExponentialHistogram().DataPoints()
		for i, p := range points {
			if p.adds() {
				dp := dps.At(i)
				f, column := w.find(m, p, dp.Timestamp())
				before := w.round.bytes
				w.round.histogram(f, column, dp)
				w.count(w.round.bytes - before)
			}
		}
	}
}

func (w *walk) numbers(m *metric, dps pmetric.NumberDataPointSlice, points []point) {
	for i, p := range points {
		if p.adds() {
			dp := dps.At(i)
			f, column := w.find(m, p, dp.Timestamp())
			before := w.round.bytes
			w.round.number(f, column, dp)
			w.count(w.round.bytes - before)
		}
	}
}

// find gives the flow and the column of a point in the round of its end.
func (w *walk) find(m *metric, p point, end pcommon.Timestamp) (*flow, uint32) {
	d := w.held
	if end == 0 || end > w.latest {
		end = pcommon.NewTimestampFromTime(w.now)
	}
	if r := w.round; r == nil || r.end != end || r.released {
		w.round = d.roundOf(w.resource, end, w.rm, w.now)
		w.inRound, w.inEntry = d.next(), d.next()
	}
	k := &w.batch.known[p.flow]
	if k.place.generation != w.inRound {
		before := w.round.bytes
		k.place = place{w.inRound, w.round.flow(k)}
		d.bytes += w.round.bytes - before
	}
	c := &d.columns[p.extras]
	if c.generation != w.inEntry {
		before := w.round.bytes
		*c = place{w.inEntry, w.round.column(d.catalog, m, &w.batch.extras[p.extras])}
		d.bytes += w.round.bytes - before
	}
	return &w.round.flows[k.place.index], uint32(c.index)
}

// next begins a generation.
func (d *held) next() uint64 {
	d.generation++
	return d.generation
}

// count notes that the round has one point and some bytes more.
func (w *walk) count(bytes int) {
	d := w.held
	d.points++
	d.bytes += bytes
	for d.bytes > d.maxBytes && d.oldest != nil {
		d.release(d.oldest.resource, 0, releaseCapacity)
	}
}

// roundOf gives the open round, a new one if there is none.
func (d *held) roundOf(resource key, end pcommon.Timestamp, rm pmetric.ResourceMetrics, now time.Time) *round {
	k := roundKey{resource, end}
	if r, ok := d.open[k]; ok {
		return r
	}
	r := newRound(resource, end, rm)
	r.deadline = now.Add(d.timeout)
	d.open[k] = r
	d.latest[resource] = append(d.latest[resource], r)
	d.bytes += r.bytes
	r.prev = d.newest
	if r.prev != nil {
		r.prev.next = r
	} else {
		d.oldest = r
	}
	d.newest = r
	return r
}

// releaseDue releases what has timed out.
func (d *held) releaseDue(now time.Time) {
	for d.oldest != nil && !d.oldest.deadline.After(now) {
		d.release(d.oldest.resource, 0, releaseTimeout)
	}
}

// releaseAll releases all rounds.
func (d *held) releaseAll() {
	for d.oldest != nil {
		d.release(d.oldest.resource, 0, releaseShutdown)
	}
}

// release moves the open rounds of a resource but the last keep ones to the outbox, in the
// order of their ends. Outside of a batch a resource has no more than one.
func (d *held) release(resource key, keep int, why release) {
	of := d.latest[resource]
	n := len(of) - keep
	if n <= 0 {
		return
	}
	slices.SortFunc(of, func(a, b *round) int { return cmp.Compare(a.end, b.end) })
	for _, r := range of[:n] {
		r.released = true
		delete(d.open, roundKey{r.resource, r.end})
		d.points -= r.points
		d.bytes -= r.bytes
		d.waitingPoints += r.points
		d.waitingBytes += r.bytes
		d.released[why]++
		d.unlink(r)
		d.outbox = append(d.outbox, r)
	}
	if keep == 0 {
		delete(d.latest, resource)
		return
	}
	d.latest[resource] = slices.Clone(of[n:])
}

func (d *held) unlink(r *round) {
	if r.prev != nil {
		r.prev.next = r.next
	} else {
		d.oldest = r.next
	}
	if r.next != nil {
		r.next.prev = r.prev
	} else {
		d.newest = r.prev
	}
	r.prev, r.next = nil, nil
}

// take gives the next round of the outbox, nil if there is none.
func (d *held) take() *round {
	if len(d.outbox) == 0 {
		d.outbox = nil // lets go of what append left behind
		return nil
	}
	r := d.outbox[0]
	d.outbox[0] = nil
	d.outbox = d.outbox[1:]
	d.waitingPoints -= r.points
	d.waitingBytes -= r.bytes
	return r
}
