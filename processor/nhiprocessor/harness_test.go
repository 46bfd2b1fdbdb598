// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nhiprocessor

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/fleet"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/metadatatest"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/report"
)

// bench is a processor under test, within a synctest bubble, so that time is the test's.
type bench struct {
	t         *testing.T
	telemetry *componenttest.Telemetry
	processor processor.Metrics
	sink      *consumertest.MetricsSink
	round     time.Duration
	read      int // batches of the sink that were looked at
}

// newBench starts a processor with the demo's times, windows of 5 s and rounds of 2 s,
// unless configure says otherwise.
func newBench(t *testing.T, configure func(*Config)) *bench {
	b := &bench{t: t, telemetry: componenttest.NewTelemetry(), sink: &consumertest.MetricsSink{}, round: 2 * time.Second}
	cfg := createDefaultConfig().(*Config)
	cfg.Window, cfg.Lateness, cfg.Instance = 5*time.Second, 2*time.Second, "test"
	if configure != nil {
		configure(cfg)
	}
	require.NoError(t, cfg.Validate())
	var err error
	b.processor, err = NewFactory().CreateMetrics(t.Context(), metadatatest.NewSettings(b.telemetry), cfg, b.sink)
	require.NoError(t, err)
	require.NoError(t, b.processor.Start(t.Context(), componenttest.NewNopHost()))
	return b
}

func (b *bench) stop() {
	require.NoError(b.t, b.processor.Shutdown(b.t.Context()))
	require.NoError(b.t, b.telemetry.Shutdown(b.t.Context()))
}

func (b *bench) consume(md pmetric.Metrics) {
	require.NoError(b.t, b.processor.ConsumeMetrics(b.t.Context(), md))
}

// play runs a fleet for some rounds.
func (b *bench) play(f *fleet.Fleet, rounds int) {
	for range rounds {
		start := time.Now()
		time.Sleep(b.round)
		b.consume(fleet.Points(f.Window(), start, time.Now()))
	}
}

// settle lets what is held become due.
func (b *bench) settle() { time.Sleep(30 * time.Second) }

// said is what one batch says.
type said struct {
	end        time.Time
	monitors   map[string]*monitorSaid
	components map[string]componentSaid // by "type/id", or a set's joined by " "
}

type monitorSaid struct {
	state, cause string
	indicator    *int64 // nil: no value
	noValue      bool   // a point without a recorded value
}

type componentSaid struct {
	indicator  int64
	confidence float64
	evidence   map[string]int64
}

// own gives the batches that the processor itself wrote since the last call.
func (b *bench) own() (out []pmetric.Metrics) {
	all := b.sink.AllMetrics()
	for _, md := range all[b.read:] {
		if isOwn(md) {
			out = append(out, md)
		}
	}
	b.read = len(all)
	return out
}

func isOwn(md pmetric.Metrics) bool {
	if md.ResourceMetrics().Len() != 1 {
		return false
	}
	v, ok := md.ResourceMetrics().At(0).Resource().Attributes().Get("service.name")
	return ok && v.Str() == report.ServiceName
}

// verdicts gives what was said since the last call.
func (b *bench) verdicts() (out []said) {
	for _, md := range b.own() {
		out = append(out, read(b.t, md))
	}
	return out
}

func read(t *testing.T, md pmetric.Metrics) said {
	s := said{monitors: map[string]*monitorSaid{}, components: map[string]componentSaid{}}
	metrics := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics()
	for i := range metrics.Len() {
		m := metrics.At(i)
		if m.Type() != pmetric.MetricTypeGauge {
			continue
		}
		for j := range m.Gauge().DataPoints().Len() {
			p := m.Gauge().DataPoints().At(j)
			s.end = p.Timestamp().AsTime()
			if name, ok := p.Attributes().Get(flowattr.MonitorName); ok {
				mon := s.monitors[name.Str()]
				if mon == nil {
					mon = &monitorSaid{}
					s.monitors[name.Str()] = mon
				}
				mon.read(t, m.Name(), p)
				continue
			}
			name := componentName(p.Attributes())
			c, ok := s.components[name]
			if !ok {
				c.evidence = map[string]int64{}
			}
			switch m.Name() {
			case flowattr.MetricComponentHealthIndicator:
				c.indicator = p.IntValue()
			case flowattr.MetricComponentConfidence:
				c.confidence = p.DoubleValue()
			default:
				c.evidence[m.Name()] = p.IntValue()
			}
			s.components[name] = c
		}
	}
	return s
}

func (s *monitorSaid) read(t *testing.T, metric string, p pmetric.NumberDataPoint) {
	switch metric {
	case flowattr.MetricMonitorHealthIndicator:
		if p.Flags().NoRecordedValue() {
			s.noValue = true
			return
		}
		v := p.IntValue()
		s.indicator = &v
	case flowattr.MetricMonitorHealthState:
		s.state = present(t, s.state, p, flowattr.HealthState)
	case flowattr.MetricMonitorHealthCause:
		s.cause = present(t, s.cause, p, flowattr.HealthCause)
	}
}

// present reads one of several points of which exactly one is 1.
func present(t *testing.T, before string, p pmetric.NumberDataPoint, key string) string {
	v, _ := p.Attributes().Get(key)
	if p.IntValue() == 0 {
		return before
	}
	require.Empty(t, before, "two values of %s are present", key)
	return v.Str()
}

func componentName(m pcommon.Map) string {
	if set, ok := m.Get(flowattr.ComponentSet); ok {
		var names []string
		for i := range set.Slice().Len() {
			names = append(names, set.Slice().At(i).Str())
		}
		return strings.Join(names, " ")
	}
	kind, _ := m.Get(flowattr.ComponentType)
	id, _ := m.Get(flowattr.ComponentID)
	return kind.Str() + "/" + id.Str()
}

// suspects are the components that are suspected.
func (s said) suspects() (out []string) {
	for name, c := range s.components {
		if c.indicator == 1 {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
