// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/file"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ipranges"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/monitors"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/watch"
)

// Names of what is read, as in the attribute "source" of the reloads.
const (
	sourceTopology = "topology"
	sourceMonitors = "monitors"
	sourceRanges   = "ip_ranges"
)

// sources reads what the answers are made from, watches it, and puts a new engine in
// place when it changes. What is bad leaves what was there before in use.
type sources struct {
	p      *flowMonitor
	cancel context.CancelFunc
	wg     sync.WaitGroup
	once   sync.Once
	now    func() time.Time

	mu       sync.Mutex
	host     component.Host
	ranges   *ipranges.Table
	topology *topology.Topology // kept to compile again with new ranges; nil when those cannot change
	index    *topology.Index
	fileSet  []monitors.Definition
	current  time.Time        // when the topology was last known to be current; zero without one
	failing  map[string]error // by source
	missing  string           // what was last said about monitors without resources
}

func newSources(p *flowMonitor) *sources {
	return &sources{p: p, cancel: func() {}, now: time.Now, failing: map[string]error{}}
}

// reader is a file that is read and watched.
type reader struct {
	source, key, path string
	load              func(data []byte) error // under the lock; changes nothing when it fails
}

func (s *sources) readers() []reader {
	c := s.p.config
	var list []reader
	// In this order at the start: monitors are checked against the ranges.
	if path := c.Topology.IPRanges.Path; path != "" {
		list = append(list, reader{sourceRanges, "topology::ip_ranges::path", path, s.loadRanges})
	}
	if c.Topology.File.HasValue() {
		list = append(list, reader{sourceTopology, "topology::file::path", c.Topology.File.Get().Path, s.loadTopology})
	}
	if path := c.MonitorsFile; path != "" {
		list = append(list, reader{sourceMonitors, "monitors_file", path, s.loadMonitors})
	}
	return list
}

// start reads everything once; what is bad then is an error. The watching goes on in
// the background until shutdown.
func (s *sources) start(ctx context.Context, host component.Host) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.host = host
	s.index = topology.Build(&topology.Topology{}, nil)
	if s.p.config.Topology.IPRanges.Path == "" {
		s.ranges = ipranges.Shipped()
	}
	var errs []error
	var files []*watch.File
	for _, r := range s.readers() {
		f := watch.New(r.path, s.p.config.Topology.RefreshInterval, func(data []byte, err error) bool { return s.reload(r, data, err) }, func() { s.confirm(r.source) })
		data, err := f.Read()
		if err == nil {
			if err = r.load(data); err != nil {
				err = fmt.Errorf("%s: %w", r.path, err)
			}
		}
		s.count(ctx, r.source, err)
		if err != nil {
			errs = append(errs, fmt.Errorf("'%s': %w", r.key, err))
		}
		files = append(files, f)
	}
	if s.p.config.Topology.IPRanges.Path != "" && s.ranges != nil {
		errs = append(errs, checkMonitors(s.p.config.definitions(), s.ranges)...)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	s.renew()
	background, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	for _, f := range files {
		s.wg.Go(func() {
			f.Run(background, func(err error) { s.p.logger.Warn("A file cannot be watched.", zap.Error(err)) })
		})
	}
	return nil
}

// shutdown ends the watching. It may be called without start, and again.
func (s *sources) shutdown(ctx context.Context) error {
	s.once.Do(func() {
		s.mu.Lock()
		cancel := s.cancel
		s.mu.Unlock()
		cancel()
	})
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *sources) loadRanges(data []byte) error {
	ranges, err := ipranges.Read(data)
	if err != nil {
		return err
	}
	s.ranges = ranges
	if s.topology != nil {
		s.index = topology.Build(s.topology, ranges.Blocks)
	}
	return nil
}

func (s *sources) loadTopology(data []byte) error {
	t, err := file.Topology(data)
	if err != nil {
		return err
	}
	s.index = topology.Build(t, s.blocks())
	s.current = s.now()
	if s.p.config.Topology.IPRanges.Path != "" {
		s.topology = t
	}
	return nil
}

func (s *sources) blocks() topology.ServiceBlocks {
	if s.ranges == nil {
		return nil // the ranges failed, and with them the start
	}
	return s.ranges.Blocks
}

func (s *sources) loadMonitors(data []byte) error {
	var taken []string
	for _, m := range s.p.config.Monitors {
		taken = append(taken, m.Name)
	}
	list, err := file.Monitors(data, s.ranges, taken)
	if err != nil {
		return err
	}
	s.fileSet = list
	return nil
}

// renew puts an engine in place that answers by what is loaded now.
func (s *sources) renew() {
	c := s.p.config
	set := monitors.New(slices.Concat(c.definitions(), s.fileSet))
	e := newEngine(s.index, s.ranges, set, c.Attributes, c.MaxCachedFlows)
	s.p.engine.Store(e)
	if said := fmt.Sprint(e.missing); said != s.missing {
		s.missing = said
		if len(e.missing) > 0 {
			s.p.logger.Warn("Monitors name resources that the topology does not have; they stay in force and match nothing there.",
				zap.Any("monitors", e.missing))
		}
	}
}

// reload takes a changed file.
func (s *sources) reload(r reader, data []byte, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		err = r.load(data)
	}
	s.count(context.Background(), r.source, err)
	if err != nil {
		err = fmt.Errorf("'%s': %w", r.key, err)
		s.failing[r.source] = err
		// Warn: at Error the collector's logger adds a stack, which helps nobody here.
		s.p.logger.Warn("A changed file is not used; what was in use before stays in use.", zap.String("path", r.path), zap.Error(err))
		componentstatus.ReportStatus(s.host, componentstatus.NewRecoverableErrorEvent(err))
		return false
	}
	s.renew()
	s.p.logger.Info("A changed file is in use.", zap.String("path", r.path))
	if s.failing[r.source] != nil {
		delete(s.failing, r.source)
		if len(s.failing) == 0 {
			componentstatus.ReportStatus(s.host, componentstatus.NewEvent(componentstatus.StatusOK))
		}
	}
	return true
}

// confirm notes that a source was looked at and found unchanged.
func (s *sources) confirm(source string) {
	if source != sourceTopology {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = s.now()
}

func (s *sources) count(ctx context.Context, source string, err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	s.p.telemetry.ProcessorFlowmonitorReloads.Add(ctx, 1, metric.WithAttributes(
		attribute.String("source", source), attribute.String("result", result)))
}

// age tells how long ago the topology in use was last known to be current.
func (s *sources) age() (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.IsZero() {
		return 0, false
	}
	return s.now().Sub(s.current), true
}
