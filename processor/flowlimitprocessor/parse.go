// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"slices"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/prepared"
)

// class says what a data point is to this processor.
type class uint8

const (
	classPasses     class = iota // no flow's point
	classRefused                 // a flow's point that cannot be added up
	classFlow                    // a flow
	classListener                // a listener's drops: a flow of its own kind, ranked among its like
	classOverflow                // the overflow row of an earlier stage
	classAggregated              // a row that an earlier stage merged
)

// point is what parsing finds out about one data point.
type point struct {
	flow   int32  // index into batch.known; where it adds
	extras uint32 // index into batch.extras
	class  class
}

// known is a flow of a batch.
type known struct {
	key   key          // of the identity: all attributes but the extra ones
	set   prepared.Set // of the identity
	bytes int          // that the attributes take
	class class
	place place // in the round of the moment
}

// batch is what parsing finds out about one pmetric.Metrics: its points in the order in
// which they are walked. It can be used again; the attributes go to the rounds.
type batch struct {
	points []point

	known    []known
	byKey    map[key]int32
	holder   prepared.Holder
	first    int32 // flow of the resource that is parsed
	expected int32 // flow of the next point, if this metric has those of the one before

	extras  []extras
	byExtra map[extras]uint32

	flows   int // points to add up
	passing int // points and metrics that are no flow's
	refused [numRefusals]int
}

// refusal is why a flow's point is not taken.
type refusal uint8

const (
	refusedCumulative    refusal = iota // not delta: a difference needs state that the sender has
	refusedNoValue                      // a point without a value or marked as not recorded
	refusedOutdatedLevel                // a level older than one that has left already
	refusedFull                         // no room: the sender is told, and can send again
	numRefusals
)

func (r refusal) String() string {
	return [...]string{"cumulative", "no_value", "outdated_level", "full"}[r]
}

func (b *batch) reset() {
	clear(b.known)
	clear(b.extras)
	clear(b.byKey)
	clear(b.byExtra)
	*b = batch{points: b.points[:0], known: b.known[:0], byKey: b.byKey, extras: b.extras[:0], byExtra: b.byExtra}
	if b.byKey == nil {
		b.byKey, b.byExtra = map[key]int32{}, map[extras]uint32{}
	}
	b.extras = append(b.extras, extras{})
	b.byExtra[extras{}] = 0
}

// addable says whether the points of a metric can be added up if they are flows'. The
// project writes no explicit histograms and no summaries with a flow's attributes.
func addable(m pmetric.Metric) bool {
	switch m.Type() {
	case pmetric.MetricTypeSum, pmetric.MetricTypeGauge, pmetric.MetricTypeExponentialHistogram:
		return true
	}
	return false
}

// parse reads md without changing or keeping it.
func (b *batch) parse(h *hasher, md pmetric.Metrics) {
	b.reset()
	// At once: to grow to a round of a busy host step by step costs a fifth of what parsing it does.
	b.points = slices.Grow(b.points, md.DataPointCount())
	for _, rm := range md.ResourceMetrics().All() {
		b.first = int32(len(b.known))
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				b.expected = b.first
				switch m.Type() {
				case pmetric.MetricTypeSum:
					delta := m.Sum().AggregationTemporality() == pmetric.AggregationTemporalityDelta
					b.numbers(h, m.Name(), m.Sum().DataPoints(), delta)
				case pmetric.MetricTypeGauge:
					b.numbers(h, m.Name(), m.Gauge().DataPoints(), true)
				case pmetric.MetricTypeExponentialHistogram:
					delta := m.ExponentialHistogram().AggregationTemporality() == pmetric.AggregationTemporalityDelta
					for _, dp := range m.ExponentialHistogram().DataPoints().All() {
						b.add(h, m.Name(), dp.Attributes(), delta, !dp.Flags().NoRecordedValue())
					}
				default:
					b.passing++
				}
			}
		}
	}
}

func (b *batch) numbers(h *hasher, name string, dps pmetric.NumberDataPointSlice, delta bool) {
	for _, dp := range dps.All() {
		hasValue := !dp.Flags().NoRecordedValue() && dp.ValueType() != pmetric.NumberDataPointValueTypeEmpty
		b.add(h, name, dp.Attributes(), delta, hasValue)
	}
}

// add parses one point.
func (b *batch) add(h *hasher, name string, attributes pcommon.Map, delta, hasValue bool) {
	p, e, ok := b.again(name, attributes)
	if !ok {
		p, e = b.identify(h, name, attributes)
	}
	switch {
	case p.class == classPasses:
		b.passing++
	case !delta:
		p.class = classRefused
		b.refused[refusedCumulative]++
	case !hasValue:
		p.class = classRefused
		b.refused[refusedNoValue]++
	default:
		b.flows++
		if e != (extras{}) {
			p.extras = b.extraIndex(e)
		}
	}
	b.points = append(b.points, p)
}

// again finds a point's flow without hashing: the receiver writes the flows in the same
// order for each metric. Tried are the flow after the last one, the last one (a second
// point with other extras), and two more, as a flow may have no point of this metric. To
// tell two flows of a host apart takes a few short comparisons.
func (b *batch) again(name string, attributes pcommon.Map) (point, extras, bool) {
	for _, i := range [...]int32{b.expected, b.expected - 1, b.expected + 1, b.expected + 2} {
		if i < b.first || int(i) >= len(b.known) {
			continue
		}
		k := &b.known[i]
		if k.class == classListener && name != flowattr.MetricListenDrops {
			continue
		}
		var e extras
		if k.set.Match(attributes, e.take) {
			b.expected = i + 1
			return point{flow: i, class: k.class}, e, true
		}
	}
	return point{}, extras{}, false
}

// identify finds a point's class and its flow by hash.
func (b *batch) identify(h *hasher, name string, attributes pcommon.Map) (point, extras) {
	var id key
	var e extras
	var isFlow, overflow, aggregated bool
	for k, v := range attributes.All() {
		if v.Type() == pcommon.ValueTypeStr {
			text := v.Str()
			if field := e.field(k); field != nil && text != "" {
				*field = text
				continue
			}
			isFlow = isFlow || k == flowattr.Role
			id = id.add(h.named(k, h.str(text)))
			continue
		}
		switch k {
		case flowattr.Role:
			isFlow = true
		case flowattr.Overflow:
			isFlow, overflow = true, v.Type() == pcommon.ValueTypeBool && v.Bool()
		case flowattr.Aggregated:
			aggregated = v.Type() == pcommon.ValueTypeBool && v.Bool()
		}
		id = id.add(h.attribute(k, v))
	}
	var p point
	switch {
	case overflow:
		p.class = classOverflow
	case aggregated:
		p.class = classAggregated
	case isFlow:
		p.class = classFlow
	case name == flowattr.MetricListenDrops:
		p.class = classListener
	default:
		return p, e
	}
	i, ok := b.byKey[id]
	if !ok {
		i = int32(len(b.known))
		held, bytes := b.holder.Hold(attributes, isExtra)
		b.known = append(b.known, known{key: id, set: held, bytes: bytes, class: p.class})
		b.byKey[id] = i
	}
	p.flow, b.expected = i, i+1
	return p, e
}

func (b *batch) extraIndex(e extras) uint32 {
	if last := len(b.points) - 1; last >= 0 {
		// The points of one flow and metric stand together, and few metrics have extras.
		if i := b.points[last].extras; b.extras[i] == e {
			return i
		}
	}
	if i, ok := b.byExtra[e]; ok {
		return i
	}
	i := uint32(len(b.extras))
	b.extras = append(b.extras, e)
	b.byExtra[e] = i
	return i
}
