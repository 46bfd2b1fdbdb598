// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package sockopsreceiver

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/metadata"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/streams"
)

// loop runs the rounds. Its goroutine owns all of it but the figures.
type loop struct {
	config    *Config
	version   string // of the distribution
	next      consumer.Metrics
	random    *rand.Rand
	host      component.Host
	logger    *zap.Logger
	obsreport *receiverhelper.ObsReport
	telemetry *metadata.TelemetryBuilder
	figures   figures
	shortages shortages

	source     source
	identity   <-chan pcommon.Resource // nil once the resource is known
	resource   pcommon.Resource
	clock      clock
	whole      pcommon.Timestamp // end of the last round that was harvested whole
	end        pcommon.Timestamp // of the last round
	failing    bool              // the last harvest failed
	table      *streams.Table
	synAcks    synAcks
	containers *containers
	nat        *translation // nil unless asked for

	drop      func(keep ...cap.Value) error // capabilities
	takenOver atomic.Bool                   // what was open before the start is taken over

	audit        auditor // nil: there is none
	auditFailing bool    // the last audit failed

	done   chan struct{} // closed at the end, and then
	result error         // says what went wrong in the last round
}

// run goes from round to round until stopping is done, and frees the source. ctx goes to
// the pipeline; it outlives stopping, so that the last round is delivered.
func (l *loop) run(ctx, stopping context.Context) {
	defer close(l.done)
	timer := time.NewTimer(l.pause())
	defer timer.Stop()
	if l.audit != nil {
		defer l.audit.Close()
	}
	var taking sync.WaitGroup
	taking.Go(func() { l.takeOver(stopping) })
	_ = l.catchUp(ctx, false) // it has said what went wrong
	for {
		select {
		case <-stopping.Done():
			taking.Wait()
			err := l.due(ctx, true)
			if l.pinned() { // the next process delivers what this one could not
				err = nil
			}
			l.result = errors.Join(err, l.source.Close())
			l.closeTranslation()
			return
		case <-timer.C:
			timer.Reset(l.pause()) // first, so that the time of the round is part of the pause
			_ = l.due(ctx, false)
		}
	}
}

// pause is the time from one round to the next: interval ± jitter.
func (l *loop) pause() time.Duration {
	j := l.config.jitter()
	return l.config.CollectionInterval - j + time.Duration(l.random.Int64N(2*int64(j)+1))
}

// takeOver adopts, if that is wanted, and gives up what only that needed. It is done
// beside the rounds: 10,000 network namespaces take half a minute.
func (l *loop) takeOver(stopping context.Context) {
	if l.config.AdoptExisting {
		l.adopt(stopping)
	}
	if l.config.DropCapabilities {
		l.dropCapabilities()
	}
	l.takenOver.Store(true)
}

// adopt takes over the connections that were open before the start.
func (l *loop) adopt(stopping context.Context) {
	st, err := l.source.Adopt(stopping)
	if err != nil && stopping.Err() == nil {
		l.telemetry.ReceiverSockopsAdoptionFailures.Add(stopping, 1)
		l.logger.Warn("Connections that were open before the start may be missing; new ones are counted all the same.", zap.Error(err))
	}
	l.telemetry.ReceiverSockopsAdoptedSockets.Add(stopping, int64(st.Adopted))
	l.telemetry.ReceiverSockopsAdoptionNamespaces.Add(stopping, int64(st.Namespaces-st.NamespacesFailed), metric.WithAttributeSet(outcomeOK))
	l.telemetry.ReceiverSockopsAdoptionNamespaces.Add(stopping, int64(st.NamespacesFailed), metric.WithAttributeSet(outcomeFailed))
}
