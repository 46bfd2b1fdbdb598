// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/prepared"
)

// scope is the instrumentation scope that metrics came from and leave in.
type scope struct {
	key                      key
	name, version, schemaURL string
	attributes               pcommon.Map
}

// metric is what the streams of one metric have in common. It does not change once made
// and may be read by several goroutines.
type metric struct {
	key                     key
	scope                   *scope
	name, unit, description string
	metadata                pcommon.Map
	kind                    flowattr.Kind
	monotonic               bool
	rank                    rank
}

// rank says what a metric's points add to the rank of their flow.
type rank uint8

const (
	rankNone rank = iota
	rankRetransmissions
	rankTimeouts
	rankFailed
	rankClosed // counts as severed where an error.type is present
	rankBytes
	rankDrops // among listeners only
)

var rankOf = map[string]rank{
	flowattr.MetricRetransmissions:   rankRetransmissions,
	flowattr.MetricTimeouts:          rankTimeouts,
	flowattr.MetricConnectionsFailed: rankFailed,
	flowattr.MetricConnectionsClosed: rankClosed,
	flowattr.MetricSent:              rankBytes,
	flowattr.MetricReceived:          rankBytes,
	flowattr.MetricListenDrops:       rankDrops,
}

// catalog makes sure that streams which are remembered for long share their metric. It
// forgets all when it is full: then the same metric may be held twice, which costs
// memory only. Not safe for concurrent use.
type catalog struct {
	hasher  *hasher
	metrics map[key]*metric
	scopes  map[key]*scope
	sets    map[extras]*prepared.Set
}

// maxCatalog is far above the receiver's 17 metrics in one scope; only a hostile sender
// reaches it.
const maxCatalog = 1024

func newCatalog(h *hasher) *catalog {
	return &catalog{hasher: h, metrics: map[key]*metric{}, scopes: map[key]*scope{}, sets: map[extras]*prepared.Set{}}
}

func (c *catalog) scope(sm pmetric.ScopeMetrics) *scope {
	h := c.hasher
	k := h.set(sm.Scope().Attributes())
	for i, s := range [...]string{sm.Scope().Name(), sm.Scope().Version(), sm.SchemaUrl()} {
		k = k.add(h.pair(uint64(i), h.str(s)))
	}
	if s, ok := c.scopes[k]; ok {
		return s
	}
	if len(c.scopes) >= maxCatalog {
		clear(c.scopes)
	}
	s := &scope{key: k, name: sm.Scope().Name(), version: sm.Scope().Version(), schemaURL: sm.SchemaUrl(), attributes: pcommon.NewMap()}
	sm.Scope().Attributes().CopyTo(s.attributes)
	c.scopes[k] = s
	return s
}

// extras gives the attributes of extras.
func (c *catalog) extras(e *extras) *prepared.Set {
	if s, ok := c.sets[*e]; ok {
		return s
	}
	if len(c.sets) >= maxCatalog {
		clear(c.sets)
	}
	s := e.set()
	c.sets[*e] = &s
	return &s
}

// metric gives the metric of m, which is a sum, a gauge or an exponential histogram.
func (c *catalog) metric(s *scope, m pmetric.Metric) *metric {
	made := metric{scope: s, name: m.Name(), unit: m.Unit(), description: m.Description()}
	switch m.Type() {
	case pmetric.MetricTypeSum:
		made.kind, made.monotonic = flowattr.KindSum, m.Sum().IsMonotonic()
	case pmetric.MetricTypeGauge:
		made.kind = flowattr.KindGauge
	default:
		made.kind = flowattr.KindExponentialHistogram
	}
	h := c.hasher
	made.key = h.pair(uint64(made.kind), s.key)
	if made.monotonic {
		made.key = h.pair(0, made.key)
	}
	for i, text := range [...]string{made.name, made.unit} {
		made.key = made.key.add(h.pair(uint64(i), h.str(text)))
	}
	if known, ok := c.metrics[made.key]; ok {
		return known
	}
	if len(c.metrics) >= maxCatalog {
		clear(c.metrics)
	}
	made.rank = rankOf[made.name]
	made.metadata = pcommon.NewMap()
	m.Metadata().CopyTo(made.metadata)
	c.metrics[made.key] = &made
	return &made
}

// stream identifies a stream among those of its row.
func (m *metric) stream(h *hasher, e *extras) uint64 {
	return fold(m.key.a^h.salt[0], e.hash(h)^h.salt[1])
}
