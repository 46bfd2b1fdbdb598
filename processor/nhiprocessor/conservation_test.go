// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nhiprocessor

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/fleet"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/metadata"
)

// ledger is a consumer that refuses some batches and adds up what it takes.
type ledger struct {
	t      *testing.T
	mu     sync.Mutex
	refuse func(own bool) bool
	others func() bool      // an error that says not to come again, with the batch taken; nil: never
	flows  map[string]*sums // by monitor, of flow points
	own    map[string]*sums // by monitor, of the processor's own points
	ends   map[[2]string]pcommon.Timestamp
	points int
}

type sums struct{ data, retransmissions, timeouts, samples int64 }

func (*ledger) Capabilities() consumer.Capabilities { return consumer.Capabilities{MutatesData: true} }

func (l *ledger) ConsumeMetrics(_ context.Context, md pmetric.Metrics) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := isOwn(md)
	if l.refuse(own) {
		return errors.New("not now")
	}
	for i := range md.ResourceMetrics().Len() {
		for j := range md.ResourceMetrics().At(i).ScopeMetrics().Len() {
			ms := md.ResourceMetrics().At(i).ScopeMetrics().At(j).Metrics()
			for k := range ms.Len() {
				if own {
					l.addOwn(ms.At(k))
				} else {
					l.addFlows(ms.At(k))
				}
			}
		}
	}
	if !own && l.others != nil && l.others() {
		return consumererror.NewPermanent(errors.New("never again"))
	}
	return nil
}

func value(p pmetric.NumberDataPoint) int64 {
	if p.ValueType() == pmetric.NumberDataPointValueTypeDouble {
		return int64(p.DoubleValue())
	}
	return p.IntValue()
}

func (l *ledger) addFlows(m pmetric.Metric) {
	monitors := func(attributes pcommon.Map, add func(*sums)) {
		if v, ok := attributes.Get(flowattr.Monitors); ok {
			for i := range v.Slice().Len() {
				add(entry(l.flows, v.Slice().At(i).Str()))
			}
		}
	}
	switch m.Type() {
	case pmetric.MetricTypeSum:
		for i := range m.Sum().DataPoints().Len() {
			p := m.Sum().DataPoints().At(i)
			l.points++
			monitors(p.Attributes(), func(s *sums) {
				switch m.Name() {
				case flowattr.MetricSent, flowattr.MetricReceived:
					s.data += value(p)
				case flowattr.MetricRetransmissions:
					s.retransmissions += value(p)
				case flowattr.MetricTimeouts:
					s.timeouts += value(p)
				}
			})
		}
	case pmetric.MetricTypeExponentialHistogram:
		for i := range m.ExponentialHistogram().DataPoints().Len() {
			p := m.ExponentialHistogram().DataPoints().At(i)
			monitors(p.Attributes(), func(s *sums) {
				if m.Name() == flowattr.MetricRTT {
					s.samples += int64(p.Count())
				}
			})
		}
	}
}

func (l *ledger) addOwn(m pmetric.Metric) {
	stream := func(attributes pcommon.Map, start, end pcommon.Timestamp) string {
		name, _ := attributes.Get(flowattr.MonitorName)
		key := [2]string{m.Name(), name.Str()}
		if before, ok := l.ends[key]; ok {
			assert.Equal(l.t, before, start, "%v starts where the point before it ended", key)
		}
		assert.Less(l.t, start, end, "%v moves on", key)
		l.ends[key] = end
		return name.Str()
	}
	switch m.Type() {
	case pmetric.MetricTypeSum:
		for i := range m.Sum().DataPoints().Len() {
			p := m.Sum().DataPoints().At(i)
			s := entry(l.own, stream(p.Attributes(), p.StartTimestamp(), p.Timestamp()))
			switch m.Name() {
			case flowattr.MetricMonitorDataTransferred:
				s.data += p.IntValue()
			case flowattr.MetricMonitorRetransmissions:
				s.retransmissions += p.IntValue()
			case flowattr.MetricMonitorTimeouts:
				s.timeouts += p.IntValue()
			}
		}
	case pmetric.MetricTypeExponentialHistogram:
		for i := range m.ExponentialHistogram().DataPoints().Len() {
			p := m.ExponentialHistogram().DataPoints().At(i)
			s := entry(l.own, stream(p.Attributes(), p.StartTimestamp(), p.Timestamp()))
			s.samples += int64(p.Count())
		}
	}
}

func entry(m map[string]*sums, name string) *sums {
	s := m[name]
	if s == nil {
		s = &sums{}
		m[name] = s
	}
	return s
}

// Whatever comes (late, early, undated, in several threads, more than the limits, with
// consumers that refuse), the sums of a monitor are those of the flow points that went on.
func TestMonitorSumsAreExactlyThoseOfTheirFlows(t *testing.T) {
	for _, tt := range []struct {
		name      string
		configure func(*Config)
		refusals  float64 // share of batches
		others    float64 // share of batches that are refused for good
	}{
		{"in a quiet place", nil, 0, 0},
		{"by the wall clock", func(c *Config) { c.Evaluation = evaluationWallClock }, 0, 0},
		{"with a consumer that refuses every third batch", nil, 0.34, 0},
		{"with a consumer that takes what it refuses for good", nil, 0, 0.34},
		{"with too few places for flows", func(c *Config) { c.MaxFlows = 7 }, 0.1, 0.1},
		{"with too few places for components", func(c *Config) { c.MaxComponents = 2 }, 0, 0},
		{"without lateness", func(c *Config) { c.Lateness = 0 }, 0.1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(3, 3))
				l := &ledger{t: t, flows: map[string]*sums{}, own: map[string]*sums{}, ends: map[[2]string]pcommon.Timestamp{}}
				moods := rand.New(rand.NewPCG(4, 4)) // under the ledger's lock
				l.refuse = func(bool) bool { return moods.Float64() < tt.refusals }
				l.others = func() bool { return moods.Float64() < tt.others }
				cfg := createDefaultConfig().(*Config)
				cfg.Window, cfg.Lateness = 5*time.Second, 2*time.Second
				if tt.configure != nil {
					tt.configure(cfg)
				}
				p, err := NewFactory().CreateMetrics(t.Context(), processortest.NewNopSettings(metadata.Type), cfg, l)
				require.NoError(t, err)
				require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))

				f, zones := fleet.ThreeAZs(1, 2, 0.5)
				f.Background = fleet.Loss{Rate: 0.05, Burst: 2}
				for _, flow := range f.Flows {
					flow.Monitors = append(flow.Monitors, "all")
				}
				for round := range 60 {
					start := time.Now()
					time.Sleep(2 * time.Second)
					if round == 30 {
						time.Sleep(time.Minute)
					}
					if round == 40 { // another set of hosts replaces one
						for i, h := range zones[0] {
							h.ID = []string{"i-new1", "i-new2"}[i%2]
						}
					}
					md := disturb(fleet.Points(f.Window(), start, time.Now()), rng)
					var wg sync.WaitGroup
					for i := range md.ResourceMetrics().Len() {
						part := pmetric.NewMetrics()
						md.ResourceMetrics().At(i).CopyTo(part.ResourceMetrics().AppendEmpty())
						wg.Go(func() {
							for { // the caller tries again until it is taken
								again := pmetric.NewMetrics()
								part.CopyTo(again)
								if err := p.ConsumeMetrics(t.Context(), again); err == nil || consumererror.IsPermanent(err) {
									return
								}
							}
						})
					}
					wg.Wait()
				}
				l.mu.Lock()
				l.refuse = func(bool) bool { return false }
				l.mu.Unlock()
				require.NoError(t, p.Shutdown(t.Context()))

				require.Len(t, l.flows, 7)
				assert.Positive(t, l.flows["all"].timeouts)
				assert.Equal(t, l.flows, l.own)
			})
		})
	}
}

// disturb dates some points wrongly, and makes doubles of some counts.
func disturb(md pmetric.Metrics, rng *rand.Rand) pmetric.Metrics {
	date := func(set func(pcommon.Timestamp), at pcommon.Timestamp) {
		switch rng.IntN(20) {
		case 0:
			set(at - pcommon.Timestamp(time.Minute))
		case 1:
			set(at + pcommon.Timestamp(time.Hour))
		case 2:
			set(0)
		case 3:
			set(at + pcommon.Timestamp(3*time.Second))
		case 4:
			set(1<<63 + 5)
		}
	}
	for i := range md.ResourceMetrics().Len() {
		ms := md.ResourceMetrics().At(i).ScopeMetrics().At(0).Metrics()
		for k := range ms.Len() {
			switch m := ms.At(k); m.Type() {
			case pmetric.MetricTypeSum:
				for j := range m.Sum().DataPoints().Len() {
					p := m.Sum().DataPoints().At(j)
					date(p.SetTimestamp, p.Timestamp())
					if rng.IntN(10) == 0 {
						p.SetDoubleValue(float64(p.IntValue()))
					}
				}
			case pmetric.MetricTypeExponentialHistogram:
				for j := range m.ExponentialHistogram().DataPoints().Len() {
					p := m.ExponentialHistogram().DataPoints().At(j)
					date(p.SetTimestamp, p.Timestamp())
				}
			}
		}
	}
	return md
}
