// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nhiprocessor

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/fleet"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/metadata"
)

// stage is a processor of one role and what it hands on.
type stage struct {
	processor.Metrics
	sink *consumertest.MetricsSink
	read int
}

func newStage(t *testing.T, role string) *stage {
	s := &stage{sink: &consumertest.MetricsSink{}}
	cfg := createDefaultConfig().(*Config)
	cfg.Window, cfg.Lateness, cfg.Role, cfg.Instance = 5*time.Second, 2*time.Second, role, "test"
	require.NoError(t, cfg.Validate())
	var err error
	s.Metrics, err = NewFactory().CreateMetrics(t.Context(), processortest.NewNopSettings(metadata.Type), cfg, s.sink)
	require.NoError(t, err)
	require.NoError(t, s.Start(t.Context(), componenttest.NewNopHost()))
	return s
}

// own gives what the stage itself wrote since the last call.
func (s *stage) own() (out []pmetric.Metrics) {
	all := s.sink.AllMetrics()
	for _, md := range all[s.read:] {
		if isOwn(md) {
			out = append(out, md)
		}
	}
	s.read = len(all)
	return out
}

// The verdict over the evidence of several collectors is the verdict over all flows in one,
// whatever the batches: split by host, sent twice, out of order, late.
func TestMergedEvidenceLeadsToTheSameVerdict(t *testing.T) {
	loss := fleet.Loss{Rate: 0.05, Burst: 2}
	for _, tt := range []struct {
		name  string
		fleet func() *fleet.Fleet
	}{
		{"of a faulty gateway", func() *fleet.Fleet {
			f, _, _ := fleet.TwoVPCs(1, 4, 2)
			f.Faults = []fleet.Fault{fleet.On("transit_gateway/tgw-1", loss)}
			for _, flow := range f.Flows {
				flow.Monitors = append(flow.Monitors, "all") // some flows match two monitors
			}
			return f
		}},
		{"of a faulty host that others know by its address", func() *fleet.Fleet {
			f, clients, _ := fleet.TwoVPCs(2, 4, 2)
			for _, h := range f.Hosts {
				h.Nameless = true
			}
			f.Faults = []fleet.Fault{fleet.AtHost(clients[1], loss)}
			return f
		}},
		{"of a service", func() *fleet.Fleet {
			f, _ := fleet.Services(3, 5, 5, 1)
			f.Faults = []fleet.Fault{fleet.OfService("S3", loss)}
			return f
		}},
		{"of flows to the Internet", func() *fleet.Fleet {
			f, _, _ := fleet.TwoVPCs(4, 3, 1)
			for i, flow := range f.Flows {
				if i%2 == 0 {
					flow.Category = flowattr.CategoryInternet
				}
				flow.Reset = 0.2
			}
			return f
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(5, 5))
				one, verdict := newStage(t, roleBoth), newStage(t, roleVerdict)
				collectors := []*stage{newStage(t, roleEvidence), newStage(t, roleEvidence), newStage(t, roleEvidence)}
				f := tt.fleet()
				hand := func() {
					var batches []pmetric.Metrics
					for _, c := range collectors {
						batches = append(batches, c.own()...)
					}
					rng.Shuffle(len(batches), func(i, j int) { batches[i], batches[j] = batches[j], batches[i] })
					for _, md := range batches {
						text, err := (&pmetric.JSONMarshaler{}).MarshalMetrics(md)
						require.NoError(t, err)
						assert.NotContains(t, string(text), `"`+flowattr.Monitors+`"`, "evidence names monitors like all points of monitors")
						require.NoError(t, verdict.ConsumeMetrics(t.Context(), md))
					}
				}
				var kept []pmetric.Metrics
				for range 40 {
					start := time.Now()
					time.Sleep(2 * time.Second)
					var parts []pmetric.Metrics
					md := fleet.Points(f.Window(), start, time.Now())
					for i := range md.ResourceMetrics().Len() {
						part := pmetric.NewMetrics()
						md.ResourceMetrics().At(i).CopyTo(part.ResourceMetrics().AppendEmpty())
						parts = append(parts, part)
						switch rng.IntN(20) {
						case 0: // once more
							again := pmetric.NewMetrics()
							part.CopyTo(again)
							parts = append(parts, again)
						case 1: // far too late
							kept = append(kept, part)
							parts = parts[:len(parts)-1]
						}
					}
					if len(kept) > 3 {
						parts, kept = append(parts, kept...), nil
					}
					rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
					for _, part := range parts {
						h, _ := part.ResourceMetrics().At(0).Resource().Attributes().Get(flowattr.HostID)
						c := collectors[int(h.Str()[len(h.Str())-1])%len(collectors)] // a host's flows go one way
						copied := pmetric.NewMetrics()
						part.CopyTo(copied)
						require.NoError(t, c.ConsumeMetrics(t.Context(), copied))
						require.NoError(t, one.ConsumeMetrics(t.Context(), part))
					}
					synctest.Wait()
					hand()
				}
				for range 30 {
					time.Sleep(time.Second)
					synctest.Wait()
					hand()
				}
				for _, c := range collectors {
					require.NoError(t, c.Shutdown(t.Context()))
				}
				hand()
				require.NoError(t, one.Shutdown(t.Context()))
				require.NoError(t, verdict.Shutdown(t.Context()))

				want, got := summary(t, one.own()), summary(t, verdict.own())
				same := 0
				for end, w := range want.at {
					if g, ok := got.at[end]; ok {
						same++
						assert.Equal(t, w, g, "at %s", end)
					}
				}
				assert.GreaterOrEqual(t, same, 15)
				assert.Equal(t, want.total, got.total, "no sum is lost or counted twice")
				assert.NotEmpty(t, want.total)
			})
		})
	}
}

// verdictsOf is what a stage said: at each end of a window, and its sums in all.
type verdictsOf struct {
	at    map[time.Time]map[string]string
	total map[string]int64
}

func summary(t *testing.T, batches []pmetric.Metrics) verdictsOf {
	out := verdictsOf{at: map[time.Time]map[string]string{}, total: map[string]int64{}}
	for _, md := range batches {
		s := read(t, md)
		if !s.end.IsZero() {
			at := map[string]string{}
			for name, m := range s.monitors {
				at[name] = m.state + " " + m.cause
			}
			for _, name := range slices.Sorted(maps.Keys(s.components)) {
				c := s.components[name]
				at[name] = time.Duration(c.confidence*1e9).String() + " " + time.Duration(c.evidence[flowattr.MetricComponentSegments]).String()
			}
			out.at[s.end] = at
		}
		ms := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics()
		for i := range ms.Len() {
			if !strings.HasPrefix(ms.At(i).Name(), "flow.monitor.") {
				continue // evidence that passed through
			}
			add := func(attributes pcommon.Map, n int64) {
				name, _ := attributes.Get(flowattr.MonitorName)
				out.total[ms.At(i).Name()+" "+name.Str()] += n
			}
			switch m := ms.At(i); m.Type() {
			case pmetric.MetricTypeSum:
				for j := range m.Sum().DataPoints().Len() {
					add(m.Sum().DataPoints().At(j).Attributes(), m.Sum().DataPoints().At(j).IntValue())
				}
			case pmetric.MetricTypeExponentialHistogram:
				for j := range m.ExponentialHistogram().DataPoints().Len() {
					p := m.ExponentialHistogram().DataPoints().At(j)
					add(p.Attributes(), int64(p.Count())+int64(p.Sum()*1024))
				}
			}
		}
	}
	return out
}
