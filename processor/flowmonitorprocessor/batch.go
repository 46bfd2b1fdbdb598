// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"unique"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/prepared"
)

// batch is the work on one batch, and what it counted. It can be used again.
type batch struct {
	engine *engine
	origin *origin // of the present resource, locked
	writer prepared.Writer

	// The flows of the present resource in the order in which they came. The receiver writes
	// the flows of a host in the same order for each of its 16 metrics: so most points are of
	// the flow behind that of the point before, and two short comparisons find it.
	known    []known
	expected int

	enriched, passed, refused, ambiguous, unknown, misses, late int64
}

// known is a flow that the batch had before.
type known struct {
	local, peer       string
	natLocal, natPeer string
	answer            *enrichment
}

// maxKnown bounds the flows that are remembered between batches' uses: those of a busy host.
const maxKnown = 1 << 16

func (b *batch) begin(e *engine) { *b = batch{engine: e, known: b.known[:0]} }

// end lets go of the batch's texts.
func (b *batch) end() {
	clear(b.known)
	if cap(b.known) > maxKnown {
		b.known = nil
	}
	*b = batch{known: b.known[:0]}
}

// resource enriches the points of a resource; true when all of them were refused.
func (b *batch) resource(rm pmetric.ResourceMetrics) bool {
	at := b.engine.cache.at(originOf(rm.Resource().Attributes()))
	defer at.mu.Unlock()
	b.origin, b.known, b.expected = at, b.known[:0], 0
	before := b.refused
	rm.ScopeMetrics().RemoveIf(func(sm pmetric.ScopeMetrics) bool {
		before := b.refused
		sm.Metrics().RemoveIf(b.metric)
		return b.refused > before && sm.Metrics().Len() == 0
	})
	return b.refused > before && rm.ScopeMetrics().Len() == 0
}

// metric enriches the points of a metric; true when all of them were refused.
func (b *batch) metric(m pmetric.Metric) bool {
	listener := m.Name() == flowattr.MetricListenDrops
	b.expected = 0
	switch m.Type() {
	case pmetric.MetricTypeSum:
		list := m.Sum().DataPoints()
		if !isDelta(m.Sum()) {
			return refuse(b, list, listener)
		}
		b.numbers(list, listener)
	case pmetric.MetricTypeGauge:
		b.numbers(m.Gauge().DataPoints(), listener)
	case pmetric.MetricTypeExponentialHistogram:
		list := m.ExponentialHistogram().DataPoints()
		if !isDelta(m.ExponentialHistogram()) {
			return refuse(b, list, listener)
		}
		for i := range list.Len() {
			p := list.At(i)
			b.point(p.Attributes(), p.Timestamp(), listener)
		}
	case pmetric.MetricTypeHistogram:
		list := m.Histogram().DataPoints()
		if !isDelta(m.Histogram()) {
			return refuse(b, list, listener)
		}
		for i := range list.Len() {
			p := list.At(i)
			b.point(p.Attributes(), p.Timestamp(), listener)
		}
	case pmetric.MetricTypeSummary:
		b.passed += int64(m.Summary().DataPoints().Len()) // no flow is a summary
	}
	return false
}

func (b *batch) numbers(list pmetric.NumberDataPointSlice, listener bool) {
	for i := range list.Len() {
		p := list.At(i)
		b.point(p.Attributes(), p.Timestamp(), listener)
	}
}

// isDelta says whether points may be added up over flows and time. An unspecified temporality
// is none: the processors behind this one would refuse the points anyway.
func isDelta(m interface {
	AggregationTemporality() pmetric.AggregationTemporality
}) bool {
	return m.AggregationTemporality() == pmetric.AggregationTemporalityDelta
}

// pointSlice is what the slices of data points of all types have in common.
type pointSlice[P interface{ Attributes() pcommon.Map }] interface {
	Len() int
	RemoveIf(func(P) bool)
}

// refuse drops the flows' points of a metric that is not delta: a sum of totals over
// changing sets of flows means nothing, and nothing behind this processor can use it.
func refuse[P interface{ Attributes() pcommon.Map }](b *batch, list pointSlice[P], listener bool) bool {
	before := b.refused
	list.RemoveIf(func(p P) bool {
		g := flowattr.LookAt(p.Attributes())
		if g.IsFlow || listener && flowattr.ParseAddress(g.Local).IsValid() {
			b.refused++
			return true
		}
		b.passed++
		return false
	})
	return b.refused > before && list.Len() == 0
}

// point enriches one point.
func (b *batch) point(m pcommon.Map, end pcommon.Timestamp, listener bool) {
	g := flowattr.LookAt(m)
	if !g.IsFlow && (!listener || !flowattr.ParseAddress(g.Local).IsValid()) || g.Aggregated {
		b.passed++ // no flow's; or a merged row, which carries what it was merged by
		return
	}
	if g.Enriched {
		strip(m)
	}
	b.enriched++
	if g.Overflow {
		m.PutStr(flowattr.Category, flowattr.CategoryUnclassified) // it has no ends
		return
	}
	e := b.find(&g, end)
	switch e.unresolved {
	case "":
	case flowattr.UnresolvedAmbiguous:
		b.ambiguous++
	case flowattr.UnresolvedUnknown:
		b.unknown++
	}
	e.writeTo(&b.writer, m)
}

// find gives the answer for a flow that was seen until end.
func (b *batch) find(g *flowattr.Glance, end pcommon.Timestamp) *enrichment {
	if p := b.engine.at(int64(end)); p != nil {
		return b.before(p, g)
	}
	if !g.IsFlow {
		return b.lookUp(keyOf(g))
	}
	// Tried are the flow behind the last one, the last one (a second point with another
	// flow.phase), and some more, as a flow may have no point of this metric.
	next := b.expected
	for _, i := range [...]int{next, next - 1, next + 1, next + 2, next + 3, next + 4} {
		if uint(i) >= uint(len(b.known)) {
			continue
		}
		if k := &b.known[i]; k.peer == g.Peer && k.local == g.Local && k.natLocal == g.NATLocal && k.natPeer == g.NATPeer {
			b.expected = i + 1
			return k.answer
		}
	}
	e := b.lookUp(keyOf(g))
	if next == len(b.known) { // in the order of the flows, or else those behind it would not be found
		b.known = append(b.known, known{local: g.Local, peer: g.Peer, natLocal: g.NATLocal, natPeer: g.NATPeer, answer: e})
		b.expected++
	}
	return e
}

func keyOf(g *flowattr.Glance) flowKey {
	k := flowKey{local: flowattr.ParseAddress(g.Local), listener: !g.IsFlow}
	if k.listener {
		return k
	}
	k.peer = flowattr.ParseAddress(g.Peer)
	if g.NATLocal != "" || g.NATPeer != "" {
		k.nat = unique.Make(natPair{flowattr.ParseAddress(g.NATLocal), flowattr.ParseAddress(g.NATPeer)})
	}
	return k
}

// lookUp gives the answer of now, which it finds if nobody asked before.
func (b *batch) lookUp(k flowKey) *enrichment {
	c := b.engine.cache
	e := c.get(b.origin, k)
	if e == nil {
		b.misses++
		e = b.engine.answer(&b.origin.Origin, k)
		c.put(b.origin, k, e)
	}
	return e
}

// before gives the answer that was right when the flow was seen.
func (b *batch) before(p *past, g *flowattr.Glance) *enrichment {
	b.late++
	k := keyOf(g)
	at := p.cache.at(b.origin.Origin)
	defer at.mu.Unlock()
	e := p.cache.get(at, k)
	if e == nil {
		b.misses++
		e = b.engine.answerAt(p, &b.origin.Origin, k)
		p.cache.put(at, k, e)
	}
	return e
}
