// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/otel-flowmonitor/flowmonitor/test/bench/load"
)

// The number of pairs is fixed before anything is measured. It follows from how far pairs
// scatter on a virtual machine of two cores: a tenth, of which 60 leave 2 % at the median.
const (
	throughputPairs = 60
	ratePairs       = 40
	latencyPairs    = 60
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
			To: targets(pacedPort), Workers: workers, Rate: pace, Duration: 2 * time.Second,
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
		with       []contender
		sample     func() (float64, error)
		goal       *target
	}{
		{"throughput of 8 streams", "GB/s", throughputPairs, []contender{theMonitor}, throughput, boundAtLeast(0.97)},
		// The reference shows what such programs cost when connections are all that a machine does.
		{"connections a second", "1/s", ratePairs, []contender{theMonitor, theReference}, rate, boundAtLeast(0.97)},
		{fmt.Sprintf("p99 of connect, 1 KB each way, close at %s a second", thousands(fmt.Sprint(pace))), "µs", latencyPairs, []contender{theMonitor}, latency, boundAtMost(1.05)},
	} {
		legs := append([]contender{nothing}, what.with...)
		t, err := m.inTurns(legs, pick(m, what.pairs, 2), func(c contender) (float64, error) { return m.under(l, c, what.sample) })
		if err != nil {
			return fmt.Errorf("%s: %w", what.name, err)
		}
		without := t.samples[nothing.name]
		m.samples(what.name+", without", what.unit, without, nil)
		for _, c := range what.with {
			m.samples(what.name+", with "+c.name, what.unit, t.samples[c.name], nil)
			goal := what.goal
			if c.name != theMonitor.name {
				goal = nil
			}
			m.ratio(what.name+", with "+c.name+" ÷ without", t.samples[c.name], without, medianRatioOf, goal)
		}
	}
	return nil
}

// nothing is what the others are compared with. Flow monitor is loaded all the same, and taken
// away again, so that what loading does to the machine is in both.
var nothing = contender{"nothing", func(cgroup string) (io.Closer, error) {
	running, err := theMonitor.start(cgroup)
	if err != nil {
		return nil, err
	}
	return closers{}, running.Close()
}}

// settle is how long the kernel frees what was unloaded, in the background.
const settle = 50 * time.Millisecond

// under takes one sample with a contender at work.
func (m *measurement) under(l *lab, c contender, sample func() (float64, error)) (v float64, err error) {
	running, err := c.start(l.Cgroup())
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, running.Close()) }()
	time.Sleep(settle)
	return sample()
}
