// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/file"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ipranges"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/parts"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/snapshot"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/watch"
)

var fileKey = parts.Key{Source: parts.File}

// reader is a file that is read and watched.
type reader struct {
	source, key, path string
	load              func(data []byte) error // changes nothing when it fails
	confirm           func()                  // it was looked at and found unchanged
	index             bool                    // a change of it needs a new index
}

func (s *sources) readers() []reader {
	c := s.p.config
	var list []reader
	// In this order at the start: monitors are checked against the ranges.
	if path := c.Topology.IPRanges.Path; path != "" {
		list = append(list, reader{sourceRanges, "topology::ip_ranges::path", path, s.loadRanges, func() {}, true})
	}
	if c.Topology.File.HasValue() {
		t := &topologyFile{s: s}
		list = append(list, reader{sourceTopology, "topology::file::path", c.Topology.File.Get().Path, t.load, t.confirm, true})
	}
	if path := c.MonitorsFile; path != "" {
		list = append(list, reader{sourceMonitors, "monitors_file", path, s.loadMonitors, func() {}, false})
	}
	return list
}

// readFiles reads every file once, and gives the watches of them.
func (s *sources) readFiles(ctx context.Context) (files []*watch.File, errs []error) {
	for _, r := range s.readers() {
		f := watch.New(r.path, s.p.config.Topology.RefreshInterval, func(data []byte, err error) bool { return s.reload(r, data, err) }, r.confirm)
		data, err := f.Read() // its error names the file
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
	return files, errs
}

// reload takes a changed file.
func (s *sources) reload(r reader, data []byte, err error) bool {
	if err == nil {
		if err = r.load(data); err != nil {
			err = fmt.Errorf("%s: %w", r.path, err)
		}
	}
	if err != nil {
		err = fmt.Errorf("'%s': %w", r.key, err)
		s.noted(r.source, r.key, err)
		// Warn: at Error the collector's logger adds a stack, which helps nobody here.
		s.p.logger.Warn("A changed file is not used; what was in use before stays in use.", zap.Error(err))
		return false
	}
	if r.source == sourceRanges {
		s.reconsider()
	}
	if r.index {
		s.compile()
	} else {
		s.building.Lock()
		s.renew()
		s.building.Unlock()
	}
	s.p.logger.Info("A changed file is in use.", zap.String("path", r.path))
	s.noted(r.source, r.key, nil)
	return true
}

func (s *sources) loadRanges(data []byte) error {
	ranges, err := ipranges.Read(data)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ranges = ranges
	return nil
}

// topologyFile is a topology file, or a snapshot that somebody brought here.
type topologyFile struct {
	s      *sources
	copied bool // it is a snapshot: as old as it says, however often it is looked at
}

func (f *topologyFile) load(data []byte) error {
	if snapshot.Is(data) {
		return f.loadSnapshot(data)
	}
	t, err := file.Topology(data)
	if err != nil {
		return err
	}
	f.copied = false
	f.s.parts.Put(parts.Part{Key: fileKey, Own: t, Shared: &topology.Topology{}, Current: time.Now()})
	return nil
}

func (f *topologyFile) loadSnapshot(data []byte) error {
	list, err := snapshot.Read(bytes.NewReader(data))
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return fmt.Errorf("the snapshot is empty")
	}
	oldest := list[0].Current
	for _, p := range list {
		if p.Current.Before(oldest) {
			oldest = p.Current
		}
	}
	f.copied = true
	f.s.parts.Put(parts.Part{Key: fileKey, Own: parts.Merge(list), Shared: &topology.Topology{}, Current: oldest})
	return nil
}

func (f *topologyFile) confirm() {
	if !f.copied {
		f.s.parts.Confirm(fileKey, time.Now())
	}
}

func (s *sources) loadMonitors(data []byte) error {
	var taken []string
	for _, m := range s.p.config.Monitors {
		taken = append(taken, m.Name)
	}
	s.mu.Lock()
	ranges := s.ranges
	s.mu.Unlock()
	list, err := file.Monitors(data, ranges, taken)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused = err != nil; s.refused {
		return err
	}
	s.fileSet = list
	return nil
}

// reconsider reads a monitors file again that was refused, once there are other ranges: they may
// know its services.
func (s *sources) reconsider() {
	s.mu.Lock()
	refused := s.refused
	s.mu.Unlock()
	if !refused {
		return
	}
	if data, err := watch.Read(s.p.config.MonitorsFile); err != nil || s.loadMonitors(data) != nil {
		return // it was said
	}
	s.p.logger.Info("A changed file is in use: the AWS ranges know its services now.", zap.String("path", s.p.config.MonitorsFile))
	s.noted(sourceMonitors, "monitors_file", nil)
}
