// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package sockopsreceiver

import (
	"context"
	"errors"

	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.uber.org/zap"

	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/streams"
)

// With pins the kernel keeps a round until it is settled. So at most one is on its way: while
// the pipeline refuses it, no other is harvested, and the kernel goes on counting.

// pinned says whether the kernel goes on counting when this process ends.
func (l *loop) pinned() bool { return l.config.PinPath != "" }

// resume makes known what earlier processes have left, and begins where they ended.
func (l *loop) resume(ctx context.Context) {
	c := l.source.Continuity()
	if c.Since.IsZero() {
		return
	}
	// Not if the clock was set back meanwhile: an interval does not end before it begins.
	if since := pcommon.NewTimestampFromTime(c.Since); since < l.whole {
		l.whole = since
	}
	if c.Resumed {
		l.logger.Info("The kernel has been counting since the collector ended.", zap.Time("since", c.Since))
	}
	for _, r := range c.Replaced {
		l.telemetry.ReceiverSockopsPinsReplaced.Add(ctx, 1)
		l.telemetry.ReceiverSockopsPinnedFlowsLost.Add(ctx, int64(r.FlowsLost))
		l.logger.Warn("What was pinned does not fit this version or these options, and was replaced. Connections that are open are watched anew.",
			zap.String("path", r.Path), zap.String("reason", r.Reason), zap.Int("flows_lost", r.FlowsLost))
	}
	if c.Uncertain > 0 {
		l.telemetry.ReceiverSockopsRoundsUncertain.Add(ctx, int64(c.Uncertain))
		l.logger.Warn("The collector was killed while the pipeline had a round. It is delivered again: it may count twice.",
			zap.Int("rounds", c.Uncertain))
	}
}

// due delivers first what is waiting, and then the round that is due.
func (l *loop) due(ctx context.Context, last bool) error {
	if err := l.catchUp(ctx, last); err != nil {
		return err
	}
	return l.round(ctx, last)
}

// catchUp delivers what is waiting: the rounds of earlier processes, or one that the
// pipeline has refused.
func (l *loop) catchUp(ctx context.Context, last bool) error {
	for {
		if _, left := l.source.Left(); !left && !l.source.Unsettled() {
			return nil
		}
		if err := l.round(ctx, last); err != nil {
			return err
		}
	}
}

// harvest takes the next round from the kernel, unless the last one is still waiting to be
// delivered: that is then what again says.
func (l *loop) harvest(ctx context.Context, last bool) (again bool, err error) {
	l.containers.nextRound()
	if l.source.Unsettled() {
		return true, nil
	}
	end, left := l.source.Left()
	if left { // counted before the audit began
		err = l.source.Harvest(l.table.Add)
		l.telemetry.ReceiverSockopsRoundsRecovered.Add(ctx, 1)
		l.end = l.clock.at(end, l.whole)
		return false, err
	}
	err = l.harvestAudited(ctx)
	// What another process will go on with need not be told now.
	err = errors.Join(err, l.harvestSynAcks(last && !l.pinned()))
	l.end = l.clock.now()
	return false, err
}

// offer tells the kernel side that the pipeline gets the round now.
func (l *loop) offer() {
	if err := l.source.Offer(l.end.AsTime()); err != nil {
		l.logger.Warn("If the collector is killed now, a round may count twice without being told.", zap.Error(err))
	}
}

// settleRound tells the kernel side what became of the round.
func (l *loop) settleRound(outcome streams.Outcome, refusal error) error {
	// With cumulative temporality what is refused for good comes with the next totals.
	if outcome == streams.Refused && !consumererror.IsPermanent(refusal) {
		return l.source.Settle(l.end.AsTime(), false)
	}
	if err := l.synAcks.tell(l.source); err != nil {
		return err
	}
	return l.source.Settle(l.end.AsTime(), true)
}
