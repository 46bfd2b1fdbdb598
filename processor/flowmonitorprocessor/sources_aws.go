// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ec2"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/imds"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ipranges"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/parts"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/snapshot"
)

// startEC2 begins with what the snapshot has of the accounts that are configured now.
func (s *sources) startEC2(ctx context.Context) {
	t := &s.p.config.Topology
	if !t.EC2.HasValue() {
		return
	}
	c := t.EC2.Get()
	accounts := c.accounts()
	count := s.p.telemetry
	s.ec2 = ec2.New(ec2.Options{
		Accounts: accounts, Endpoint: c.Endpoint, STSEndpoint: c.STSEndpoint, RefreshInterval: t.RefreshInterval,
		RequestRate: c.RequestRate, MaxParallel: c.MaxParallel, LookupDelay: lookupDelay, Logger: s.p.logger,
		Put: s.put, Result: s.answered, Trouble: s.troubled,
		Request: func(operation, result string) {
			count.ProcessorFlowmonitorAPIRequests.Add(s.background, 1, metric.WithAttributes(attribute.String("operation", operation), attribute.String("result", result)))
		},
		Lookups: func(result string, n int) {
			count.ProcessorFlowmonitorLookups.Add(s.background, int64(n), metric.WithAttributes(attribute.String("result", result)))
		},
	})
	for _, p := range ec2.Expected(accounts) {
		s.expect(p)
	}
	if list := s.restore(ctx); len(list) > 0 {
		s.ec2.Restore(list)
		for _, p := range list {
			s.parts.Put(p)
		}
	}
	s.wg.Go(func() { s.ec2.Run(s.background) })
}

// expect waits for a part.
func (s *sources) expect(p parts.Part) {
	s.mu.Lock() // other sources run already
	defer s.mu.Unlock()
	p.Current = time.Now()
	s.expected = append(s.expected, p)
	s.waiting[p.Key] = true
}

// restore reads the snapshot of the parts that are expected. One that is damaged is said and ignored.
func (s *sources) restore(ctx context.Context) []parts.Part {
	path := s.p.config.Topology.SnapshotPath
	if path == "" {
		return nil
	}
	list, err := snapshot.Load(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // the first start
	}
	s.count(ctx, sourceSnapshot, err)
	if err != nil {
		s.p.logger.Warn("The snapshot of the topology is not used; flows are resolved as the sources answer.", zap.Error(fmt.Errorf("'topology::snapshot_path': %w", err)))
		return nil
	}
	list = slices.DeleteFunc(list, func(p parts.Part) bool { return !s.waiting[p.Key] })
	s.p.logger.Info("The snapshot of the topology is in use until the sources answer.", zap.String("path", path), zap.Int("accounts_and_regions", len(list)))
	return list
}

func (s *sources) startIMDS() {
	t := &s.p.config.Topology
	if !t.IMDS.HasValue() {
		return
	}
	s.expect(parts.Part{Key: imds.Key})
	source := imds.New(imds.Options{Endpoint: t.IMDS.Get().Endpoint, Interval: t.RefreshInterval, Put: s.put, Result: s.answered})
	s.wg.Go(func() { source.Run(s.background) })
}

// startRanges refreshes the AWS ranges. The ones in the binary stay in use until newer ones
// are there.
func (s *sources) startRanges() {
	t := &s.p.config.Topology
	if !t.IPRanges.Refresh {
		return
	}
	r := ipranges.NewRefresher(ipranges.RefreshOptions{URL: t.IPRanges.Endpoint, Pause: ipranges.Pause(t.RefreshInterval),
		Use: func(table *ipranges.Table) {
			s.mu.Lock()
			s.ranges = table
			s.mu.Unlock()
			s.reconsider()
			signal(s.stale)
			s.p.logger.Info("Newer AWS ranges are in use.", zap.String("created", table.Created()))
		},
		Result: func(err error) {
			if err != nil {
				err = fmt.Errorf("'topology::ip_ranges::refresh': %w", err)
			}
			s.result(sourceRanges, sourceRanges, err)
		}}, ipranges.Shipped())
	s.wg.Go(func() { r.Run(s.background) })
}

// Variables, so that tests need not wait as long.
var (
	// saveDelay is the least time between two snapshots: parts that change one after the
	// other need one.
	saveDelay = 5 * time.Second

	// lookupDelay is how long misses are gathered; zero: as long as the source does.
	lookupDelay time.Duration
)

// startSnapshots writes the snapshot after changes, and every refresh interval, because
// what was confirmed is as young as that.
func (s *sources) startSnapshots() {
	path := s.p.config.Topology.SnapshotPath
	if path == "" {
		return
	}
	s.wg.Go(func() {
		tick := time.NewTicker(s.p.config.Topology.RefreshInterval)
		defer tick.Stop()
		for {
			select {
			case <-s.background.Done():
				return
			case <-s.save:
			case <-tick.C:
			}
			begun := time.Now()
			s.writeSnapshot(path)
			if !sleep(s.background, max(saveDelay, rest*time.Since(begun))) {
				return
			}
		}
	})
}

// writeSnapshot writes what every part last said. A host's own part is left out: it
// answers at once or not at all, and the file may be read on another host.
func (s *sources) writeSnapshot(path string) {
	list := slices.DeleteFunc(s.parts.List(), func(p parts.Part) bool { return p.Source == parts.IMDS })
	if len(list) == 0 {
		return // nothing has answered yet: what is on disk may be better
	}
	err := snapshot.Save(path, list)
	s.p.telemetry.ProcessorFlowmonitorSnapshotWrites.Add(s.background, 1, metric.WithAttributes(attribute.String("result", okOrFailed(err))))
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.mend(sourceSnapshot)
		return
	}
	err = fmt.Errorf("'topology::snapshot_path': %w", err)
	if before := s.fail(sourceSnapshot, err); before == nil {
		s.p.logger.Warn("The snapshot of the topology cannot be written.", zap.Error(err))
	}
}
