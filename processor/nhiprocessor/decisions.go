// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nhiprocessor

import (
	"context"
	"time"

	"go.uber.org/zap"

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
	began := time.Now()
	p.writer.Add(w, start)
	d := p.judge.Decide(w, end)
	w.Release()
	p.telemetry.decided(ctx, time.Since(began), d, p.judge.Known())
	p.tell(d)
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
	var rest *evidence.Window
	rest, start := p.takeRest()
	p.writer.Add(rest, start)
	// The points end now: the window that they belong to is not over.
	end := time.Now()
	if !end.After(start) {
		end = start.Add(time.Nanosecond)
	}
	return p.send(ctx, nil, end)
}

// tell logs each change of a verdict, with what it is put down to.
func (p *nhi) tell(d *verdict.Decision) {
	for i := range d.Monitors {
		m := &d.Monitors[i]
		if m.Changed {
			p.log.Info("verdict changed", zap.String("monitor", m.Name), zap.String("state", m.State),
				zap.String("cause", m.Cause), zap.Strings("components", m.Names), zap.Stringer("lack", m.Lack))
		}
	}
}
