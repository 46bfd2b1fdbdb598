// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/otel-flowmonitor/flowmonitor/test/bench/load"
)

// The number of pairs is fixed before anything is measured. It follows from the scatter of
// this kind of machine: …
const (
	throughputPairs = 6
	ratePairs       = 6
	latencyPairs    = 6
)

// pace is the fixed rate of the latencies, in connections a second: about a quarter of what
// two cores can do, so that a connection waits for its own work and not in a queue.
const pace = 2000

// application is what an application notices: throughput, connection rate and latency, in
// interleaved pairs with and without flow monitor.
func application(m *measurement) error {
	l, err := m.oneHost()
	if err != nil {
		return err
	}
	defer l.Close()
	t, err := m.traffic(l)
	if err != nil {
		return err
	}
	defer t.Close()
	loopback := netip.MustParseAddr("127.0.0.1")

	throughput := func() (float64, error) {
		a, err := t.client.Do(load.Order{Streams: &load.Streams{
			To: netip.AddrPortFrom(loopback, sinkPort), Number: streams, Write: 64 << 10, Duration: time.Second,
		}})
		return float64(a.Bytes) / gb / a.Elapsed.Seconds(), err
	}
	rate := func() (float64, error) {
		a, err := t.client.Do(load.Order{Connections: &load.Connections{
			To: targets(replyPort), Workers: 8, Duration: time.Second,
		}})
		return float64(a.Count) / a.Elapsed.Seconds(), err
	}
	latency := func() (float64, error) {
		a, err := t.client.Do(load.Order{Paced: &load.Paced{
			To: targets(replyPort), Workers: workers, Rate: pace, Duration: 2 * time.Second,
		}})
		us := make([]float64, len(a.Latencies))
		for i, d := range a.Latencies {
			us[i] = float64(d) / float64(time.Microsecond)
		}
		return quantile(us, 0.99), err
	}
	for _, what := range []struct {
		name, unit string
		pairs      int
		sample     func() (float64, error)
		goal       *target
	}{
		{"throughput of 8 streams", "GB/s", throughputPairs, throughput, boundAtLeast(0.97)},
		{"connections a second", "1/s", ratePairs, rate, boundAtLeast(0.97)},
		{fmt.Sprintf("p99 of connect, 1 KB each way, close at %d a second", pace), "µs", latencyPairs, latency, boundAtMost(1.05)},
	} {
		var with, without []float64
		for i := range pick(m, what.pairs, 2) {
			for j := range 2 {
				watched := (i+j)%2 == 0
				v, err := m.watched(l, watched, what.sample)
				if err != nil {
					return fmt.Errorf("%s: %w", what.name, err)
				}
				if watched {
					with = append(with, v)
				} else {
					without = append(without, v)
				}
			}
			if m.ctx.Err() != nil {
				return m.ctx.Err()
			}
		}
		m.samples(what.name+", without", what.unit, without, nil)
		m.samples(what.name+", with", what.unit, with, nil)
		m.ratio(what.name+", with ÷ without", with, without, what.goal)
	}
	return nil
}

// watched takes one sample, with flow monitor or without. It is loaded either way, so that
// what loading does to the machine is in both.
func (m *measurement) watched(l *lab, watched bool, sample func() (float64, error)) (v float64, err error) {
	running, err := theMonitor.start(l.Cgroup())
	if err != nil {
		return 0, err
	}
	if !watched {
		if err := running.Close(); err != nil {
			return 0, err
		}
		return sample()
	}
	defer func() { err = errors.Join(err, running.Close()) }()
	return sample()
}
