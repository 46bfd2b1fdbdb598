// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package sockopsreceiver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"go.uber.org/zap"
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/identity"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/metadata"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/streams"
)

// sockopsReceiver is the receiver between the collector's calls: Start loads the kernel
// side and sets off the loop, which does all the rest until Shutdown.
type sockopsReceiver struct {
	config   *Config
	settings receiver.Settings
	next     consumer.Metrics
	surroundings
	random    *rand.Rand // jitter; tests seed it
	obsreport *receiverhelper.ObsReport
	telemetry *metadata.TelemetryBuilder

	loop     *loop              // nil unless started
	stop     context.CancelFunc // ends the rounds
	abort    context.CancelFunc // ends a call to the pipeline
	shutdown sync.Once
}

// surroundings are what the receiver finds on a host; tests have their own.
type surroundings struct {
	load     func(*Config) (source, error)
	instance func(context.Context) (identity.Instance, error)
	audit    func(*Config, source) auditor
	wall     func() time.Time
	track    func(*Config) tracker
	drop     func(keep ...cap.Value) error // capabilities
	features func() (has, lacks []bpf.Feature, err error)
}

func newReceiver(set receiver.Settings, cfg *Config, next consumer.Metrics, on surroundings) (*sockopsReceiver, error) {
	obsreport, err := receiverhelper.NewObsReport(receiverhelper.ObsReportSettings{
		ReceiverID:             set.ID,
		ReceiverCreateSettings: set,
	})
	if err != nil {
		return nil, err
	}
	telemetry, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	return &sockopsReceiver{
		config:       cfg,
		settings:     set,
		next:         next,
		surroundings: on,
		random:       rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		obsreport:    obsreport,
		telemetry:    telemetry,
	}, nil
}

// Start loads the kernel side: once it has returned, every new connection is counted.
// Those open before are taken over in the background.
func (r *sockopsReceiver) Start(starting context.Context, host component.Host) error {
	clock := newClock(r.wall) // before anything is counted
	src, err := r.load(r.config)
	if err != nil {
		return fmt.Errorf("count TCP connections: %w", err)
	}
	containers := newContainers(src.CgroupNames)
	r.loop = &loop{
		config:     r.config,
		version:    r.settings.BuildInfo.Version,
		next:       r.next,
		random:     r.random,
		host:       host,
		logger:     r.settings.Logger,
		obsreport:  r.obsreport,
		telemetry:  r.telemetry,
		source:     src,
		clock:      clock,
		containers: containers,
		whole:      clock.last,
		audit:      r.audit(r.config, src),
		drop:       r.drop,
		done:       make(chan struct{}),
	}
	settings := streams.Settings{
		MaxFlows:    r.config.MaxFlows,
		IdleTimeout: r.config.IdleTimeout,
		Cumulative:  r.config.Temporality == TemporalityCumulative,
		Netns:       slices.Contains(r.config.Detail, DetailNetns),
		Jiffy:       src.Jiffy,
	}
	if r.config.Container {
		settings.Container = containers.of
	}
	if r.config.NAT {
		_, left := src.Left() // by a process with other options, it may be
		r.loop.nat = startTranslation(src, r.track(r.config), left || src.Continuity().Resumed, r.settings.Logger)
		settings.Translate = r.loop.nat.translator.Translate
	}
	r.loop.table = streams.New(settings)
	beginCounters(starting, r.telemetry, r.loop.audit != nil)
	r.loop.resume(context.Background())
	if err := r.loop.figures.register(r.telemetry, r.config.MaxFlows, r.config.MaxSockets); err != nil {
		r.loop.logger.Warn("Some of the receiver's own metrics are missing.", zap.Error(err))
	}
	has, lacks, err := r.features()
	if err == nil {
		err = showFeatures(r.telemetry, r.loop.logger, has, lacks)
	}
	if err != nil {
		r.loop.logger.Warn("Which features the kernel has is not shown.", zap.Error(err))
	}
	if r.loop.nat != nil {
		if err := r.loop.nat.register(r.telemetry, r.config.MaxNATConnections); err != nil {
			r.loop.logger.Warn("Some of the receiver's own metrics about translation are missing.", zap.Error(err))
		}
	}

	// Not Start's context: that one ends with the start.
	var ctx, stopping context.Context
	ctx, r.abort = context.WithCancel(context.Background())
	stopping, r.stop = context.WithCancel(ctx)
	r.loop.identity = r.identify(stopping)
	go r.loop.run(ctx, stopping)
	return nil
}

// abortGrace is how long Shutdown waits after its own context has ended: enough for a
// pipeline that heeds its context, and for the kernel side to be freed (below 1 s).
const abortGrace = 2 * time.Second

// Shutdown harvests a last time, hands the round to the pipeline, and stops counting. If
// ctx ends before, the call to the pipeline is cut short. Safe to call again, and without
// Start.
func (r *sockopsReceiver) Shutdown(ctx context.Context) (err error) {
	r.shutdown.Do(func() {
		if r.loop != nil {
			err = r.finish(ctx)
		}
		r.telemetry.Shutdown()
	})
	return err
}

func (r *sockopsReceiver) finish(ctx context.Context) error {
	defer r.abort()
	r.stop()
	select {
	case <-r.loop.done:
		return r.loop.result
	case <-ctx.Done():
		r.abort()
	}
	select {
	case <-r.loop.done:
		return r.loop.result
	case <-time.After(abortGrace):
		return fmt.Errorf("the last round is still with the pipeline: %w", ctx.Err())
	}
}
