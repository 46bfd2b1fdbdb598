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

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ec2"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ipranges"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/monitors"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/parts"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// Names of what is read, as in the attribute "source" of the reloads.
const (
	sourceTopology = "topology"
	sourceMonitors = "monitors"
	sourceRanges   = "ip_ranges"
	sourceSnapshot = "snapshot"
	sourceEC2      = parts.EC2
	sourceIMDS     = parts.IMDS
)

// sources reads what the answers are made from, again and again, and puts a new engine in
// place when it changes. What is bad leaves what was there before in use.
type sources struct {
	p          *flowMonitor
	background context.Context // ends with shutdown
	cancel     context.CancelFunc
	wg         sync.WaitGroup
	once       sync.Once

	parts parts.Set     // of the topology
	ec2   *ec2.Source   // nil without that source
	stale chan struct{} // has a value when a part is newer than the index
	save  chan struct{} // has a value when the snapshot is older than the index

	building sync.Mutex // whoever makes an index or an engine

	mu      sync.Mutex
	host    component.Host
	ranges  *ipranges.Table
	index   *topology.Index
	fileSet []monitors.Definition
	refused bool               // the monitors file is not in use: newer ranges may know its services
	failing map[string]error   // by what fails
	waiting map[parts.Key]bool // parts that have not answered yet
	// expected are all parts of services; Current is since when.
	expected []parts.Part
	missing  string // what was last said about monitors without resources
}

func newSources(p *flowMonitor) *sources {
	background, cancel := context.WithCancel(context.Background())
	return &sources{p: p, background: background, cancel: cancel, failing: map[string]error{}, waiting: map[parts.Key]bool{},
		stale: make(chan struct{}, 1), save: make(chan struct{}, 1)}
}

// start reads files and the snapshot once; what is bad in a file is an error then. The
// other sources, which may take their time, are read in the background until shutdown.
func (s *sources) start(ctx context.Context, host component.Host) error {
	s.host = host
	if s.p.config.Topology.IPRanges.Path == "" {
		s.ranges = ipranges.Shipped()
	}
	files, errs := s.readFiles(ctx)
	if s.p.config.Topology.IPRanges.Path != "" && s.ranges != nil {
		errs = append(errs, checkMonitors(s.p.config.definitions(), s.ranges)...)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	s.startEC2(ctx)
	s.startIMDS()
	s.compile()
	for _, f := range files {
		s.wg.Go(func() {
			f.Run(s.background, func(err error) { s.p.logger.Warn("A file cannot be watched.", zap.Error(err)) })
		})
	}
	s.startRanges()
	s.wg.Go(s.follow)
	s.startSnapshots()
	return nil
}

// shutdown ends the reading. It may be called without start, and again.
func (s *sources) shutdown(ctx context.Context) error {
	s.once.Do(s.cancel)
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// put takes a part that a source has read.
func (s *sources) put(p parts.Part) parts.Part {
	kept, changed := s.parts.Put(p)
	if changed {
		signal(s.stale)
	}
	return kept
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

const (
	// settle gathers parts that come together, such as those of many accounts at the start.
	settle = 100 * time.Millisecond

	// rest is how many times longer than the last compilation the next one waits: however
	// large the topology and however often it changes, no more than a tenth of a core goes
	// into it.
	rest = 9
)

// follow compiles the topology anew when parts have changed.
func (s *sources) follow() {
	var took time.Duration
	for {
		select {
		case <-s.background.Done():
			return
		case <-s.stale:
		}
		if !sleep(s.background, max(settle, rest*took)) {
			return
		}
		begun := time.Now()
		s.compile()
		took = time.Since(begun)
	}
}

// sleep tells whether the time has passed; not when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// compile makes an index of all parts, off the stream, and an engine with it.
func (s *sources) compile() {
	s.building.Lock()
	defer s.building.Unlock()
	s.mu.Lock()
	ranges := s.ranges
	s.mu.Unlock()
	index := topology.Build(s.parts.Merge(), ranges.Blocks)
	s.mu.Lock()
	s.index = index
	s.mu.Unlock()
	if !s.changes() {
		s.parts.Forget(fileKey) // a changed file gives it anew
	}
	s.renew()
	signal(s.save)
}

// changes tells whether an index can be made of a part that was compiled before: together
// with another source, or with other ranges.
func (s *sources) changes() bool {
	t := &s.p.config.Topology
	return t.EC2.HasValue() || t.IMDS.HasValue() || t.SnapshotPath != "" || t.IPRanges.Refresh || t.IPRanges.Path != ""
}

// renew puts an engine in place that answers by what is loaded now. Its caller holds
// s.building.
func (s *sources) renew() {
	c := s.p.config
	s.mu.Lock()
	index, ranges, set := s.index, s.ranges, monitors.New(slices.Concat(c.definitions(), s.fileSet))
	s.mu.Unlock()
	e := newEngine(index, ranges, set, c.Attributes, c.MaxCachedFlows)
	if s.ec2 != nil {
		e.note = s.ec2.Note
	}
	s.p.engine.Store(e)
	s.sayMissing(e)
}

// sayMissing tells, once, which monitors name what the topology does not have; not before
// every source had its chance.
func (s *sources) sayMissing(e *engine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	said := fmt.Sprint(e.missing)
	if len(s.waiting) > 0 || said == s.missing {
		return
	}
	s.missing = said
	if len(e.missing) > 0 {
		s.p.logger.Warn("Monitors name resources that the topology does not have; they stay in force and match nothing there.",
			zap.Any("monitors", e.missing))
	}
}

// answered notes what became of reading a part from a service.
func (s *sources) answered(k parts.Key, err error) {
	s.result(k.Source, k.Source+" "+k.Name, err)
	s.mu.Lock()
	waited := s.waiting[k]
	delete(s.waiting, k)
	s.mu.Unlock()
	if waited {
		signal(s.stale) // also where nothing changed: the last one to answer may complete what was to be said
	}
}

// troubled notes that a part is asked for again and again, before that ends in a result.
func (s *sources) troubled(k parts.Key, err error) {
	s.mu.Lock()
	before := s.fail(k.Source+" "+k.Name, err)
	s.mu.Unlock()
	if before == nil {
		s.p.logger.Warn("A source does not answer and is asked again; what it gave before stays in use.", zap.String("source", k.Source), zap.Error(err))
	}
}

// result notes what became of asking a service, and tells the log where that changes: its
// errors have a number of their own each time. what names the part of the source.
func (s *sources) result(source, what string, err error) {
	switch before := s.noted(source, what, err); {
	case err != nil && before == nil:
		s.p.logger.Warn("A source cannot be read; what it gave before stays in use.", zap.String("source", source), zap.Error(err))
	case err == nil && before != nil:
		s.p.logger.Info("A source can be read again.", zap.String("source", what))
	}
}

// noted counts what became of reading a source, reports the component's status, and gives
// what was wrong before.
func (s *sources) noted(source, what string, err error) (before error) {
	s.count(s.background, source, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		return s.fail(what, err)
	}
	return s.mend(what)
}

// fail notes what is wrong, and gives what was wrong before. Its caller holds s.mu.
func (s *sources) fail(what string, err error) (before error) {
	before = s.failing[what]
	s.failing[what] = err
	componentstatus.ReportStatus(s.host, componentstatus.NewRecoverableErrorEvent(err))
	return before
}

// mend notes that something is right, and gives what was wrong before. Its caller holds s.mu.
func (s *sources) mend(what string) (before error) {
	before = s.failing[what]
	delete(s.failing, what)
	if before != nil && len(s.failing) == 0 {
		componentstatus.ReportStatus(s.host, componentstatus.NewEvent(componentstatus.StatusOK))
	}
	return before
}

func (s *sources) count(ctx context.Context, source string, err error) {
	s.p.telemetry.ProcessorFlowmonitorReloads.Add(ctx, 1, metric.WithAttributes(
		attribute.String("source", source), attribute.String("result", okOrFailed(err))))
}

// ages gives the parts that were read, and those that should have been.
func (s *sources) ages() []parts.Part {
	list := s.parts.List()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.expected {
		if _, read := s.parts.Get(e.Key); !read {
			list = append(list, e)
		}
	}
	return list
}

func okOrFailed(err error) string {
	if err != nil {
		return "failed"
	}
	return "ok"
}

// failures gives the number of files, and of accounts and Regions, that cannot be read.
func (s *sources) failures() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.failing)
}
