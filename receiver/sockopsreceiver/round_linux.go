// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package sockopsreceiver

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/metadata"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/streams"
)

// round harvests once and delivers what there is. What goes wrong is counted and
// reported here; the error is for the last round, which has no next one to mend it.
func (l *loop) round(ctx context.Context, last bool) error {
	began := time.Now()
	_, left := l.source.Left()
	l.beginTranslation()
	again, harvest := l.harvest(ctx, last)
	l.endTranslation(harvest == nil, !left && !again)
	l.reportHarvest(ctx, harvest)

	l.settle()
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	l.resource.CopyTo(rm.Resource())
	sm := rm.ScopeMetrics().AppendEmpty()
	sm.Scope().SetName(metadata.ScopeName)
	sm.Scope().SetVersion(l.version)
	// A harvest that failed midway has handed over sums all the same.
	points := l.table.Write(sm.Metrics(), streams.Round{Now: l.end, Since: l.whole, Levels: harvest == nil && !again})

	outcome, refusal := streams.Delivered, error(nil)
	if points > 0 {
		l.offer()
		outcome, refusal = l.deliver(ctx, md, points, last)
	}
	settled := l.settleRound(outcome, refusal)
	if settled != nil {
		l.logger.Warn("What became of the round could not be noted in the kernel. It may count twice.", zap.Error(settled))
	}
	if harvest == nil {
		l.whole = l.end
	}
	if !again {
		l.figures.flows.Store(int64(l.table.Harvested()))
	}
	l.observe(ctx, l.table.End(l.end, outcome))
	l.telemetry.ReceiverSockopsRoundDuration.Record(ctx, time.Since(began).Seconds())
	return errors.Join(harvest, refusal, settled)
}

// reportHarvest makes a failed harvest, and the next one that does not fail, known.
func (l *loop) reportHarvest(ctx context.Context, err error) {
	switch {
	case err != nil:
		l.telemetry.ReceiverSockopsHarvestFailures.Add(ctx, 1)
		l.logger.Warn("The harvest failed. What it did not hand over comes with the next one.", zap.Error(err))
		componentstatus.ReportStatus(l.host, componentstatus.NewRecoverableErrorEvent(err))
	case l.failing:
		componentstatus.ReportStatus(l.host, componentstatus.NewEvent(componentstatus.StatusOK))
	}
	l.failing = err != nil
}

// deliver hands a round to the pipeline. md must not be touched afterwards.
func (l *loop) deliver(ctx context.Context, md pmetric.Metrics, points int, last bool) (streams.Outcome, error) {
	ctx = l.obsreport.StartMetricsOp(ctx)
	err := l.next.ConsumeMetrics(ctx, md)
	l.obsreport.EndMetricsOp(ctx, metadata.Type.String(), points, err)
	if err == nil {
		return streams.Delivered, nil
	}
	// Totals come again with the next round, whatever became of this one.
	permanent := consumererror.IsPermanent(err) && l.config.Temporality == TemporalityDelta
	if last && !l.pinned() || permanent {
		l.telemetry.ReceiverSockopsPointsLost.Add(ctx, int64(points))
		l.logger.Warn("The pipeline refused a round, which is lost.", zap.Int("points", points), zap.Error(err))
		return streams.Lost, err
	}
	l.telemetry.ReceiverSockopsPointsRetried.Add(ctx, int64(points))
	l.logger.Warn("The pipeline refused a round. What it counted goes out with the next one.", zap.Int("points", points), zap.Error(err))
	return streams.Refused, err
}

// observe brings the receiver's own metrics up to date, after a round that took flows
// from the kernel.
func (l *loop) observe(ctx context.Context, f streams.Forgotten) {
	l.telemetry.ReceiverSockopsStreamsForgotten.Add(ctx, int64(f.Idle), metric.WithAttributeSet(reasonIdle))
	l.telemetry.ReceiverSockopsStreamsForgotten.Add(ctx, int64(f.Capacity), metric.WithAttributeSet(reasonCapacity))
	l.telemetry.ReceiverSockopsFlowsWithoutContainer.Add(ctx, l.containers.noCgroup, metric.WithAttributeSet(reasonNoCgroup))
	l.telemetry.ReceiverSockopsFlowsWithoutContainer.Add(ctx, l.containers.noNames, metric.WithAttributeSet(reasonNoNames))
	l.figures.cgroups.Store(int64(l.containers.cache.Len()))
	l.figures.remembered.Store(int64(l.table.Len()))

	st, err := l.source.Stats()
	if err != nil {
		l.logger.Warn("What the kernel could not count is unknown.", zap.Error(err))
		return
	}
	l.figures.overflowed.Store(int64(st.Overflowed + l.table.Overflows()))
	l.figures.unseen.Store(int64(st.Unseen))
	l.figures.refused.Store(int64(st.Refused))
	l.figures.lost.Store(int64(st.Lost))
	l.figures.sockets.Store(int64(st.Sockets))
	l.figures.traced.Store(int64(st.Traced))
	l.figures.smoothed.Store(int64(st.SmoothedRTT))
	l.shortages.say(l.logger, l.config, st, time.Now())
}
