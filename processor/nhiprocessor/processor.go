// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nhiprocessor

import (
	"context"
	"os"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor"
	"go.uber.org/zap"

	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/metadata"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/report"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/verdict"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/window"
)

// monitorMemory is for how long a silent monitor is remembered: as long as receivers
// remember a silent flow by default.
const monitorMemory = time.Hour

// nhi is the processor. ConsumeMetrics is safe for concurrent use; what it gathers belongs
// to mu. Decisions are made by one goroutine, which owns judge and writer.
type nhi struct {
	next      consumer.Metrics
	log       *zap.Logger
	telemetry *telemetry
	config    *Config
	idle      sync.Pool // of *observation

	mu       sync.Mutex
	table    *evidence.Table
	schedule *window.Schedule
	open     map[int64]*evidence.Window
	agents   agents
	maxOpen  int
	stopped  bool

	judge  *verdict.Judge
	writer *report.Writer
	// pending is evidence that no consumer took, oldest first.
	pending []part
	held    int    // points in pending
	sent    uint64 // windows that held evidence

	wake       chan struct{} // a window may be due
	cancel     context.CancelFunc
	done       chan struct{} // closed when the goroutine has ended
	stopping   sync.Once
	cumulative sync.Once // the line about cumulative points
	unenriched sync.Once // the line about flows that flowmonitor did not see
	began      time.Time
	misled     sync.Once // the line about flows at role verdict
}

func newProcessor(set processor.Settings, cfg *Config, next consumer.Metrics) (*nhi, error) {
	instance := cfg.Instance
	if instance == "" {
		var err error
		if instance, err = os.Hostname(); err != nil {
			instance = "unknown"
			set.Logger.Warn("no host name for service.instance.id; set 'instance'", zap.Error(err))
		}
	}
	p := &nhi{
		next: next, log: set.Logger, config: cfg,
		table:    evidence.NewTable(evidence.Limits{Flows: cfg.MaxFlows, Components: cfg.MaxComponents, Monitors: cfg.MaxMonitors}),
		schedule: window.New(cfg.Window, cfg.patience(), cfg.Evaluation == evaluationWallClock),
		open:     map[int64]*evidence.Window{},
		agents:   agents{},
		// Points may be behind and ahead by the lateness; the rest is for a consumer that
		// holds up decisions.
		maxOpen: 2*int(cfg.patience()/cfg.Window) + 8,
		judge:   verdict.NewJudge(verdict.Config{FalseAlarmRate: cfg.FalseAlarmRate, Memory: monitorMemory, Monitors: cfg.MaxMonitors}),
		writer:  report.NewWriter(instance, metadata.ScopeName, set.BuildInfo.Version),
		wake:    make(chan struct{}, 1),
	}
	p.idle.New = func() any { return &observation{verdict: cfg.Role == roleVerdict} }
	var err error
	p.telemetry, err = newTelemetry(set.TelemetrySettings, p)
	return p, err
}

// start begins to decide. It needs nothing of the host, and returns at once.
func (p *nhi) start(starting context.Context, _ component.Host) error {
	p.telemetry.begin(starting)
	p.began = time.Now()
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.done = cancel, make(chan struct{})
	go func() {
		defer close(p.done)
		p.run(ctx)
	}()
	return nil
}

// shutdown ends the decisions and flushes: windows that are over with their verdicts, and
// of the others the sums. It is safe without start and more than once.
func (p *nhi) shutdown(ctx context.Context) (err error) {
	p.stopping.Do(func() {
		p.mu.Lock()
		p.stopped = true
		p.mu.Unlock()
		defer p.telemetry.Shutdown()
		if p.cancel == nil {
			return
		}
		p.cancel()
		select {
		case <-p.done:
			err = p.flush(ctx)
		case <-ctx.Done():
			err = ctx.Err()
		}
	})
	return err
}

// ConsumeMetrics hands the batch on, in the caller's context, and counts it unless the caller
// will send it again: that one counts then. After a permanent error nobody does.
func (p *nhi) ConsumeMetrics(ctx context.Context, md pmetric.Metrics) error {
	o := p.idle.Get().(*observation)
	defer func() {
		o.reset()
		p.idle.Put(o)
	}()
	p.mu.Lock()
	stopped := p.stopped
	if !stopped {
		o.read(md, p.table, p.agents, p.config.MaxFlows) // before md belongs to the next consumer
	}
	p.mu.Unlock()
	err := p.next.ConsumeMetrics(ctx, md)
	if stopped {
		return err
	}
	if err != nil && !consumererror.IsPermanent(err) {
		o.uncounted[undelivered] += int64(len(o.points))
		o.points = o.points[:0]
	}
	p.count(ctx, o)
	return err
}

// count adds an observation to the open windows.
func (p *nhi) count(ctx context.Context, o *observation) {
	var c counted
	if len(o.points) > 0 {
		now := time.Now()
		p.mu.Lock()
		if p.stopped {
			o.uncounted[undelivered] += int64(len(o.points)) // too late for the flush
		} else {
			c = p.place(o, now)
		}
		p.mu.Unlock()
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
	p.telemetry.record(ctx, o, &c)
	if o.uncounted[cumulative] > 0 {
		p.cumulative.Do(func() {
			p.log.Warn("cumulative flow points cannot be counted, they only pass through: give nhi the receiver's deltas (sockops: 'temporality: delta'), before any conversion")
		})
	}
	if o.flows && o.verdict && p.expectsEvidence() {
		p.misled.Do(func() {
			p.log.Warn("only flow points have come for three windows, and no evidence: there are no verdicts; set 'role: evidence' at the nhi processors before this one, or 'role: both' here")
		})
	}
	if o.uncounted[unenriched] > 0 {
		p.unenriched.Do(func() {
			p.log.Warn("flow points without flow.category, flow.path and flow.monitors cannot be judged, they only pass through: put the flowmonitor processor before nhi, with 'attributes' on")
		})
	}
}

// unheard is after how many windows evidence should have come: the first may be in parts, and is over after
// one; the stage before waits for its own lateness, which is seldom more than one.
const unheard = 3

// expectsEvidence says whether none has come although it should have.
func (p *nhi) expectsEvidence() bool {
	if time.Since(p.began) < unheard*p.config.Window {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, some := p.schedule.Next()
	return !some
}
