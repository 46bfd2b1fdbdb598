// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/exphist"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// The code below knows nothing of the processor's: it is what a backend would count.

func text(m pcommon.Map) string {
	b, err := json.Marshal(m.AsRaw()) // sorts the keys
	if err != nil {
		panic(err)
	}
	return string(b)
}

// sample is one point of any kind.
type sample struct {
	resource, metric, attributes, extras string
	kind                                 pmetric.MetricType
	start, end                           pcommon.Timestamp
	number                               number
	histogram                            pmetric.ExponentialHistogramDataPoint
}

// samples flattens md.
func samples(md pmetric.Metrics) []sample {
	var out []sample
	for _, rm := range md.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				base := sample{resource: text(rm.Resource().Attributes()), metric: sm.Scope().Name() + "/" + m.Name(), kind: m.Type()}
				number := func(dp pmetric.NumberDataPoint) {
					s := base
					s.attributes, s.extras = text(dp.Attributes()), extrasOf(dp.Attributes())
					s.start, s.end, s.number = dp.StartTimestamp(), dp.Timestamp(), numberOf(dp)
					out = append(out, s)
				}
				switch m.Type() {
				case pmetric.MetricTypeSum:
					for _, dp := range m.Sum().DataPoints().All() {
						number(dp)
					}
				case pmetric.MetricTypeGauge:
					for _, dp := range m.Gauge().DataPoints().All() {
						number(dp)
					}
				case pmetric.MetricTypeExponentialHistogram:
					for _, dp := range m.ExponentialHistogram().DataPoints().All() {
						s := base
						s.attributes, s.extras = text(dp.Attributes()), extrasOf(dp.Attributes())
						s.start, s.end, s.histogram = dp.StartTimestamp(), dp.Timestamp(), dp
						out = append(out, s)
					}
				}
			}
		}
	}
	return out
}

func extrasOf(m pcommon.Map) string {
	var of []string
	for _, k := range []string{flowattr.Phase, flowattr.ErrorType, flowattr.Limit, flowattr.RetransmitType} {
		if v, ok := m.Get(k); ok {
			of = append(of, k+"="+v.AsString())
		}
	}
	return strings.Join(of, ",")
}

// ledger has the totals of each metric and set of extras of a resource.
type ledger struct {
	numbers    map[string]number
	histograms map[string]pmetric.ExponentialHistogramDataPoint
}

func newLedger() *ledger {
	return &ledger{map[string]number{}, map[string]pmetric.ExponentialHistogramDataPoint{}}
}

// book adds the deltas of md; levels are not added over time.
func (l *ledger) book(md pmetric.Metrics) {
	for _, s := range samples(md) {
		k := s.resource + " " + s.metric + " " + s.extras
		switch s.kind {
		case pmetric.MetricTypeSum:
			if old, ok := l.numbers[k]; ok {
				s.number = s.number.add(old)
			}
			l.numbers[k] = s.number
		case pmetric.MetricTypeExponentialHistogram:
			if _, ok := l.histograms[k]; !ok {
				l.histograms[k] = pmetric.NewExponentialHistogramDataPoint()
			}
			exphist.Add(l.histograms[k], s.histogram)
		}
	}
}

func assertSameTotals(t *testing.T, want, got *ledger) {
	t.Helper()
	assert.Equal(t, slices.Sorted(maps.Keys(want.numbers)), slices.Sorted(maps.Keys(got.numbers)))
	for k, n := range want.numbers {
		assert.Equal(t, n, got.numbers[k], "total of %s", k)
	}
	assert.Equal(t, slices.Sorted(maps.Keys(want.histograms)), slices.Sorted(maps.Keys(got.histograms)))
	for k, h := range want.histograms {
		g, ok := got.histograms[k]
		if !ok {
			continue
		}
		assert.Equal(t, h.Count(), g.Count(), "count of %s", k)
		assert.Equal(t, h.Sum(), g.Sum(), "sum of %s", k)
		assert.Equal(t, h.Min(), g.Min(), "min of %s", k)
		assert.Equal(t, h.Max(), g.Max(), "max of %s", k)
		assert.Equal(t, h.Scale(), g.Scale(), "scale of %s", k)
		assert.Equal(t, buckets(h), buckets(g), "buckets of %s", k)
	}
}

func buckets(h pmetric.ExponentialHistogramDataPoint) map[int]uint64 {
	m := map[int]uint64{}
	for i, c := range h.Positive().BucketCounts().All() {
		if c != 0 {
			m[i+int(h.Positive().Offset())] = c
		}
	}
	return m
}

// backend receives what the processor sends and follows each stream by the rules of two
// real ones. deltatocumulative drops a point whose time is not later than the last or
// whose start is before that of its series. The Prometheus exporter adds a delta whose
// start is the time of the last point, and otherwise puts it in the total's place.
type backend struct {
	mu       sync.Mutex
	err      error // what it answers
	received []pmetric.Metrics
	broken   []string // rules that a point broke
	streams  map[string]*followed
	ledger   *ledger
}

type followed struct {
	sample
	seriesStart          pcommon.Timestamp
	cumulative, exported number
	histograms           uint64 // counts
}

var _ consumer.Metrics = (*backend)(nil)

func newBackend() *backend {
	return &backend{streams: map[string]*followed{}, ledger: newLedger()}
}

func (*backend) Capabilities() consumer.Capabilities { return consumer.Capabilities{MutatesData: true} }

// got gives what was received so far.
func (b *backend) got() []pmetric.Metrics {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.received)
}

func (b *backend) ConsumeMetrics(_ context.Context, md pmetric.Metrics) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	b.received = append(b.received, md)
	b.ledger.book(md)
	for _, s := range samples(md) {
		k := s.resource + " " + s.metric + " " + s.attributes
		f, ok := b.streams[k]
		switch {
		case s.start > s.end:
			b.broken = append(b.broken, fmt.Sprintf("starts after its end: %s", k))
		case !ok:
		case s.end <= f.end:
			b.broken = append(b.broken, fmt.Sprintf("is not later than the one before: %s", k))
		case s.start < f.seriesStart:
			b.broken = append(b.broken, fmt.Sprintf("starts before its series: %s", k))
		case s.start != f.end && s.kind != pmetric.MetricTypeGauge:
			b.broken = append(b.broken, fmt.Sprintf("does not start where the one before ended (%d, %d): %s", s.start, f.end, k))
		}
		if !ok {
			f = &followed{sample: s, seriesStart: s.start, cumulative: s.number, exported: s.number}
			if s.kind == pmetric.MetricTypeExponentialHistogram {
				f.histograms = s.histogram.Count()
			}
			b.streams[k] = f
			continue
		}
		aligned := s.start == f.end
		if s.kind == pmetric.MetricTypeExponentialHistogram {
			f.histograms += s.histogram.Count()
		} else if s.kind == pmetric.MetricTypeSum {
			if s.end > f.end && s.start >= f.seriesStart {
				f.cumulative = f.cumulative.add(s.number)
			}
			if aligned {
				f.exported = f.exported.add(s.number)
			} else {
				f.exported = s.number
			}
		}
		f.sample = s
	}
	return nil
}

// totals gives what the two backends show in the end, by metric and extras of a resource.
func (b *backend) totals() (cumulative, exported map[string]number) {
	cumulative, exported = map[string]number{}, map[string]number{}
	add := func(m map[string]number, k string, n number) {
		if old, ok := m[k]; ok {
			n = n.add(old)
		}
		m[k] = n
	}
	for _, f := range b.streams {
		if f.kind == pmetric.MetricTypeSum {
			k := f.resource + " " + f.metric + " " + f.extras
			add(cumulative, k, f.cumulative)
			add(exported, k, f.exported)
		}
	}
	return cumulative, exported
}

// levels gives the sums of the gauges as they stand.
func (b *backend) levels() map[string]int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	of := map[string]int64{}
	for _, f := range b.streams {
		if f.kind == pmetric.MetricTypeGauge {
			of[f.resource+" "+f.metric+" "+f.extras] += f.number.int()
		}
	}
	maps.DeleteFunc(of, func(_ string, n int64) bool { return n == 0 })
	return of
}

func levelsOf(md pmetric.Metrics) map[string]int64 {
	of := map[string]int64{}
	for _, s := range samples(md) {
		if s.kind == pmetric.MetricTypeGauge {
			of[s.resource+" "+s.metric+" "+s.extras] += s.number.int()
		}
	}
	maps.DeleteFunc(of, func(_ string, n int64) bool { return n == 0 })
	return of
}

func assertUnbroken(t *testing.T, b *backend) {
	t.Helper()
	for _, rule := range b.broken {
		t.Error("a point " + rule)
	}
}
