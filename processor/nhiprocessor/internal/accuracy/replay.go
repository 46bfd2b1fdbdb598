// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package accuracy

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// ScoreTrace plays a directory through the processor that factory makes and scores what it
// says, and beside it each of the other methods on the same points. The configuration is the
// default one, but for the window, which truth.json names.
func ScoreTrace(dir string, factory processor.Factory, others []Maker) ([]*Score, error) {
	data, err := os.ReadFile(filepath.Join(dir, truthFile))
	if err != nil {
		return nil, err
	}
	var truth TraceTruth
	if err := json.Unmarshal(data, &truth); err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(dir, truthFile), err)
	}
	if truth.WindowSeconds < 1 || len(truth.Windows) == 0 {
		return nil, fmt.Errorf("%s: 'window_seconds' and 'windows' are needed", filepath.Join(dir, truthFile))
	}
	window := time.Duration(truth.WindowSeconds) * time.Second
	if err := truth.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, truthFile), err)
	}
	r := &replay{window: window, said: map[int64]map[string]Answer{}, read: map[int64]*rebuilt{}, flows: map[string]*Flow{}, hosts: map[string]*Host{}}
	if err := r.run(dir, factory); err != nil {
		return nil, err
	}

	if err := truth.heard(r.said); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, truthFile), err)
	}

	methods := make([]Method, len(others))
	scores := make([]*Score, len(others)+1)
	latencies := make([]map[string]*latency, len(scores))
	for i := range scores {
		scores[i], latencies[i] = NewScore(), map[string]*latency{}
	}
	for i := range others {
		methods[i] = others[i]()
	}
	for _, w := range truth.Windows {
		answers := []map[string]Answer{r.said[w.End]}
		for _, m := range methods {
			answers = append(answers, m.Decide(r.read[w.End].observed()))
		}
		for name := range r.said[w.End] {
			t := w.Monitors[name].truth()
			for i := range scores {
				a := answers[i][name]
				scores[i].Count(t, a)
				l := latencies[i][name]
				if l == nil {
					l = &latency{}
					latencies[i][name] = l
				}
				l.follow(scores[i], t, a)
			}
		}
		for name, s := range w.Monitors {
			if _, said := r.said[w.End][name]; !said {
				for i := range scores {
					scores[i].Count(s.truth(), Answer{Insufficient: true})
				}
			}
		}
	}
	return scores, nil
}

// replay feeds a trace to a processor and reads its verdicts.
type replay struct {
	window time.Duration
	mu     sync.Mutex
	last   int64 // end of the newest window that was decided
	said   map[int64]map[string]Answer
	read   map[int64]*rebuilt
	flows  map[string]*Flow
	hosts  map[string]*Host
}

func (r *replay) run(dir string, factory processor.Factory) error {
	cfg := factory.CreateDefaultConfig()
	if err := confmap.NewFromStringMap(map[string]any{"window": r.window.String()}).Unmarshal(cfg); err != nil {
		return err
	}
	sink, err := consumer.NewMetrics(r.consume)
	if err != nil {
		return err
	}
	ctx := context.Background()
	p, err := factory.CreateMetrics(ctx, processortest.NewNopSettings(factory.Type()), cfg, sink)
	if err != nil {
		return err
	}
	if err := p.Start(ctx, componenttest.NewNopHost()); err != nil {
		return err
	}
	err = r.feed(ctx, filepath.Join(dir, pointsFile), p)
	return errors.Join(err, p.Shutdown(ctx))
}

// decisionsBehind is how many windows the stream may be ahead of the verdicts. The processor
// holds some open windows; a replay is not to run away from it.
const decisionsBehind = 3

func (r *replay) feed(ctx context.Context, path string, p consumer.Metrics) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	var first, newest int64
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if len(line) > 1 {
			md, bad := (&pmetric.JSONUnmarshaler{}).UnmarshalMetrics(line)
			if bad != nil {
				return fmt.Errorf("%s, line %d: %w", path, n, bad)
			}
			newest = max(newest, r.rebuild(md))
			if first == 0 {
				first = newest
			}
			if err := p.ConsumeMetrics(ctx, md); err != nil {
				return err
			}
			r.await(newest-decisionsBehind*int64(r.window), first)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	// What is over is decided by the clock once the stream is silent.
	r.await(newest+int64(r.window), first)
	return nil
}

// await waits until a window was decided, for as long as a silent stream needs at most.
func (r *replay) await(end, first int64) {
	for range 2000 {
		r.mu.Lock()
		last := r.last
		r.mu.Unlock()
		if last >= end-int64(r.window) || end <= first {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// consume reads the processor's own batches.
func (r *replay) consume(_ context.Context, md pmetric.Metrics) error {
	if md.ResourceMetrics().Len() != 1 {
		return nil
	}
	v, ok := md.ResourceMetrics().At(0).Resource().Attributes().Get("service.name")
	if !ok || v.Str() != "flowmonitor-nhi" {
		return nil
	}
	end := int64(0)
	answers := map[string]Answer{}
	var suspects []string
	ms := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics()
	for i := range ms.Len() {
		m := ms.At(i)
		if m.Type() != pmetric.MetricTypeGauge {
			continue
		}
		for j := range m.Gauge().DataPoints().Len() {
			p := m.Gauge().DataPoints().At(j)
			if p.IntValue() != 1 {
				continue
			}
			at := p.Attributes()
			switch m.Name() {
			case flowattr.MetricMonitorHealthState:
				end = int64(p.Timestamp())
				a := answers[text(at, flowattr.MonitorName)]
				a.Degraded = text(at, flowattr.HealthState) == flowattr.StateDegraded
				a.Insufficient = text(at, flowattr.HealthState) == flowattr.StateInsufficientData
				answers[text(at, flowattr.MonitorName)] = a
			case flowattr.MetricMonitorHealthCause:
				a := answers[text(at, flowattr.MonitorName)]
				a.Cause = text(at, flowattr.HealthCause)
				answers[text(at, flowattr.MonitorName)] = a
			case flowattr.MetricComponentHealthIndicator:
				if id := text(at, flowattr.ComponentID); id != "" {
					suspects = append(suspects, text(at, flowattr.ComponentType)+"/"+id)
				}
				suspects = append(suspects, list(at, flowattr.ComponentSet)...)
			}
		}
	}
	for name, a := range answers {
		if a.Degraded {
			a.Names = suspects
			answers[name] = a
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if end > 0 {
		r.said[end] = answers
		r.last = max(r.last, end)
	}
	return nil
}

func text(m pcommon.Map, key string) string {
	v, _ := m.Get(key)
	return v.Str()
}

func list(m pcommon.Map, key string) (out []string) {
	v, ok := m.Get(key)
	if !ok || v.Type() != pcommon.ValueTypeSlice {
		return nil
	}
	for i := range v.Slice().Len() {
		out = append(out, v.Slice().At(i).Str())
	}
	return out
}

// rebuilt is the observations that points tell of, for the other methods.
type rebuilt struct {
	index map[*Flow]int
	all   []Observed
}

func (b *rebuilt) observed() []Observed {
	if b == nil {
		return nil
	}
	return b.all
}

// rebuild adds up segments and retransmissions and gives the newest time.
func (r *replay) rebuild(md pmetric.Metrics) (newest int64) {
	for i := range md.ResourceMetrics().Len() {
		for j := range md.ResourceMetrics().At(i).ScopeMetrics().Len() {
			ms := md.ResourceMetrics().At(i).ScopeMetrics().At(j).Metrics()
			for k := range ms.Len() {
				m := ms.At(k)
				if m.Name() != flowattr.MetricSegmentsSent && m.Name() != flowattr.MetricRetransmissions {
					continue
				}
				for d := range m.Sum().DataPoints().Len() {
					p := m.Sum().DataPoints().At(d)
					newest = max(newest, int64(p.Timestamp()))
					r.observe(m.Name(), p)
				}
			}
		}
	}
	return newest
}

func (r *replay) observe(metric string, p pmetric.NumberDataPoint) {
	at := p.Attributes()
	if text(at, flowattr.Phase) == flowattr.PhaseConnect {
		return
	}
	host := func(prefix, address string) *Host {
		name := text(at, prefix+flowattr.HostID)
		if name == "" {
			name = text(at, address)
		}
		h := r.hosts[name]
		if h == nil {
			h = &Host{ID: name, Address: text(at, address)}
			if prefix == flowattr.RemotePrefix {
				h.Service = text(at, flowattr.RemoteAWSService)
			}
			r.hosts[name] = h
		}
		return h
	}
	path := list(at, flowattr.Path)
	monitors := list(at, flowattr.Monitors)
	local, remote := host(flowattr.LocalPrefix, flowattr.NetworkLocalAddress), host(flowattr.RemotePrefix, flowattr.NetworkPeerAddress)
	key := local.ID + "\x00" + remote.ID + "\x00" + strings.Join(path, " ") + "\x00" + strings.Join(monitors, " ")
	f := r.flows[key]
	if f == nil {
		// Every observation is a flow of its own, seen at its client.
		f = &Flow{Client: local, Server: remote, Monitors: [2][]string{monitors, nil}}
		for _, c := range path {
			switch kind, _, _ := strings.Cut(c, "/"); kind {
			case flowattr.ComponentENI, flowattr.ComponentInstance, flowattr.ComponentAddress, flowattr.ComponentService:
			default:
				f.Components = append(f.Components, c)
			}
		}
		r.flows[key] = f
	}
	end := (int64(p.Timestamp()) + int64(r.window) - 1) / int64(r.window) * int64(r.window)
	b := r.read[end]
	if b == nil {
		b = &rebuilt{index: map[*Flow]int{}}
		r.read[end] = b
	}
	n, known := b.index[f]
	if !known {
		n = len(b.all)
		b.index[f] = n
		b.all = append(b.all, Observed{Flow: f, AtClient: true})
	}
	if metric == flowattr.MetricSegmentsSent {
		b.all[n].Segments += int(p.IntValue())
	} else {
		b.all[n].Lost += int(p.IntValue())
	}
}
