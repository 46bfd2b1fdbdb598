// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nhiprocessor

import (
	"context"
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"

	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/verdict"
)

// Windows of a silent stream are looked for this often: a tenth of the window, so that a
// verdict is never late by more, but not more often than costs nothing.
const (
	ticksPerWindow   = 10
	minTick, maxTick = 100 * time.Millisecond, time.Second
)

// run decides windows as they become due, until ctx is done.
func (p *nhi) run(ctx context.Context) {
	ticker := time.NewTicker(min(max(p.config.Window/ticksPerWindow, minTick), maxTick))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_ = p.sendPending(ctx) // counted, and kept
		case <-p.wake:
		}
		for ctx.Err() == nil && p.decideNext(ctx) {
		}
	}
}

// decideNext decides one window and hands the verdicts on. It is false when none is due.
func (p *nhi) decideNext(ctx context.Context) bool {
	w, start, end, due := p.take(time.Now())
	if !due {
		return false
	}
	if p.config.Role == roleEvidence {
		_ = p.sendEvidence(ctx, w, start, end) // counted, and kept
		return true
	}
	began := time.Now()
	p.writer.Add(w, start)
	d := p.judge.Decide(w, end)
	w.Release()
	p.telemetry.decided(ctx, time.Since(began), d, p.judge.Known())
	p.tell(d, end)
	_ = p.send(ctx, d, end) // counted; the sums go into the next batch
	return true
}

// send writes a batch and hands it on. Without a decision it holds sums only.
func (p *nhi) send(ctx context.Context, d *verdict.Decision, end time.Time) error {
	md := p.writer.Batch(d, end)
	if md.DataPointCount() == 0 {
		p.writer.Delivered(end)
		return nil
	}
	if err := p.next.ConsumeMetrics(ctx, md); err != nil {
		p.telemetry.failed(ctx)
		p.log.Debug("verdicts were refused; their sums go into the next batch", zap.Error(err))
		return err
	}
	p.writer.Delivered(end)
	return nil
}

// flush decides what is due and hands on the sums of what is not over yet.
func (p *nhi) flush(ctx context.Context) error {
	for ctx.Err() == nil && p.decideNext(ctx) {
	}
	if p.config.Role == roleEvidence {
		return p.flushEvidence(ctx)
	}
	rest, start := p.takeRest()
	p.writer.Add(rest, start)
	// The points end now: the window that they belong to is not over.
	end := time.Now()
	if !end.After(start) {
		end = start.Add(time.Nanosecond)
	}
	return p.send(ctx, nil, end)
}

// flushEvidence hands on the windows that are not over, each as the window that it is. What is refused
// now is lost, and counted.
func (p *nhi) flushEvidence(ctx context.Context) (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		index, holds := p.lowest()
		if !holds {
			break
		}
		w := p.open[index]
		delete(p.open, index)
		_ = p.sendEvidence(ctx, w, p.schedule.Start(index), p.schedule.End(index))
	}
	err = p.sendPending(ctx)
	p.keep(ctx, 0)
	return err
}

// Evidence is kept for a consumer that does not take it, of maxPending windows: as many as may be open at once when
// no lateness is allowed for; and of no more points than pendingPoints for each flow that may be held. A point takes
// 820 bytes: an outage of the stage behind takes 215 MB at most by default.
const (
	maxPending    = 8
	pendingPoints = 2
)

// part is evidence on its way out.
type part struct {
	md     pmetric.Metrics
	window uint64 // that it is of, in the order in which they were sent
}

// sendEvidence hands on what a window holds, after what was refused before. A part is made once those
// before it were taken: a window is many times its size on the wire.
func (p *nhi) sendEvidence(ctx context.Context, w *evidence.Window, start, end time.Time) (err error) {
	err = p.sendPending(ctx)
	said := uint64(0)
	for md := range p.writer.Evidence(w, start, end) {
		said = 1
		p.pending = append(p.pending, part{md, p.sent})
		p.held += md.DataPointCount()
		if err == nil {
			err = p.sendPending(ctx)
		}
		p.keep(ctx, maxPending)
	}
	w.Release()
	p.telemetry.ProcessorNhiWindowsDecided.Add(ctx, 1)
	p.sent += said
	p.keep(ctx, maxPending)
	return err
}

// keep drops the oldest parts of what was refused, but for those of some windows, as far as there is room for them.
func (p *nhi) keep(ctx context.Context, windows uint64) {
	for len(p.pending) > 0 && (p.sent-p.pending[0].window > windows || p.held > pendingPoints*p.config.MaxFlows) {
		p.telemetry.ProcessorNhiPointsUncounted.Add(ctx, int64(p.dropFirst()), p.telemetry.uncounted[undelivered])
	}
}

// dropFirst forgets the oldest part, and says how many points it had.
func (p *nhi) dropFirst() (points int) {
	points = p.pending[0].md.DataPointCount()
	p.held -= points
	p.pending[0] = part{} // the array is held by those behind it
	p.pending = p.pending[1:]
	return points
}

// sendPending hands on parts until one is refused.
func (p *nhi) sendPending(ctx context.Context) error {
	for len(p.pending) > 0 {
		// The consumer may change what it is given, also when it refuses it.
		md := pmetric.NewMetrics()
		p.pending[0].md.CopyTo(md)
		if err := p.next.ConsumeMetrics(ctx, md); err != nil {
			p.telemetry.failed(ctx)
			return err
		}
		p.dropFirst()
	}
	return nil
}

// tell logs each change of a verdict on the window that ended at end, with what it is put down to.
func (p *nhi) tell(d *verdict.Decision, end time.Time) {
	for i := range d.Monitors {
		m := &d.Monitors[i]
		if !m.Changed {
			continue
		}
		level := zapcore.InfoLevel
		if m.State == flowattr.StateDegraded {
			level = zapcore.WarnLevel
		}
		fields := []zap.Field{zap.String("monitor", m.Name), zap.String("state", m.State), zap.String("cause", m.Cause), zap.Time("window_end", end)}
		if len(m.Names) > 0 {
			fields = append(fields, zap.Strings("components", m.Names))
		}
		if len(m.Alternatives) > 0 {
			fields = append(fields, zap.Any("alternatives", m.Alternatives))
		}
		if m.State == flowattr.StateInsufficientData {
			fields = append(fields, zap.Stringer("lack", m.Lack))
		}
		p.log.Log(level, "verdict changed", fields...)
	}
}
