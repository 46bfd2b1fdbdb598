// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"time"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/test/bench/load"
)

// harvest is the time of a harvest over many open sockets in 1,000 flows: idle ones, and
// ones that have all sent something since the harvest before.
func harvest(m *measurement) error {
	sizes := pick(m, []int{10_000, 50_000, 100_000, 200_000}, []int{2_000, 10_000, 20_000})
	rounds := pick(m, 10, 3)
	l, err := m.oneHost()
	if err != nil {
		return err
	}
	defer l.Close()
	kernel, err := bpf.Load(bpf.Options{CgroupPath: l.Cgroup(), MaxFlows: 16384, MaxSockets: 1 << 19, Containers: true})
	if err != nil {
		return err
	}
	defer kernel.Close()
	c, err := m.crowd(l, 1000)
	if err != nil {
		return err
	}
	defer c.Close()

	states := []struct {
		name   string
		before func() error
	}{
		{"idle", func() error { return nil }},
		{"active", c.touch},
	}
	var x []float64
	y := map[string][]float64{}
	for _, n := range sizes {
		if err := c.grow(n); err != nil {
			return fmt.Errorf("%d sockets: %w", n, err)
		}
		// What the opening counted, and the listeners' end.
		if err := kernel.Harvest(func(*bpf.FlowKey, *bpf.Flow, *bpf.Detail) {}); err != nil {
			return err
		}
		x = append(x, float64(n))
		for _, s := range states {
			var samples []float64
			for range rounds {
				if err := s.before(); err != nil {
					return err
				}
				took, err := timeHarvest(kernel, n)
				if err != nil {
					return err
				}
				samples = append(samples, took.Seconds()*1000)
				if m.ctx.Err() != nil {
					return m.ctx.Err()
				}
			}
			m.samples(fmt.Sprintf("harvest of %s %s sockets", thousands(fmt.Sprint(n)), s.name), "ms", samples, nil)
			y[s.name] = append(y[s.name], median(samples))
			if n == sizes[len(sizes)-1] {
				perSocket := make([]float64, len(samples))
				for i, ms := range samples {
					perSocket[i] = ms * 1000 / float64(n)
				}
				m.samples(fmt.Sprintf("a socket of %s %s ones", thousands(fmt.Sprint(n)), s.name), "µs", perSocket, m.whole(atMost(1.5).noisy()))
			}
		}
	}
	for _, s := range states {
		offset, slope, r2 := line(x, y[s.name])
		m.add(figure{What: "line through the medians, " + s.name + ": each further socket", Unit: "µs", Value: slope * 1000, Target: m.whole(atMost(1.5).noisy())})
		m.add(figure{What: "line through the medians, " + s.name + ": without any socket", Unit: "ms", Value: offset})
		m.add(figure{What: "line through the medians, " + s.name + ": share of the variance that it explains (R²)", Value: r2, Target: m.whole(&target{Least: 0.98, Noisy: true})})
	}
	return kernel.Close()
}

// whole drops a target in a short run: it is for the sizes of a full one.
func (m *measurement) whole(t *target) *target {
	if m.short {
		return nil
	}
	return t
}

// timeHarvest times one, on a thread that goes before all other processes, and takes care that
// it saw the sockets: a walk in passes misses as many as are freed before its place between two of
// them, as the listeners of the crowd are some time after their end, until the next harvest.
func timeHarvest(kernel *bpf.Sockops, sockets int) (took time.Duration, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err = load.Realtime(); err != nil {
			return
		}
		seen := 0
		began := time.Now()
		err = kernel.Harvest(func(_ *bpf.FlowKey, f *bpf.Flow, _ *bpf.Detail) {
			for _, n := range f.Open {
				seen += int(n)
			}
		})
		took = time.Since(began)
		if err == nil && seen < sockets*99/100 {
			err = fmt.Errorf("the harvest saw %d sockets of %d", seen, sockets)
		}
	}()
	<-done
	return took, err
}
