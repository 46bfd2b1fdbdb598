// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package soak

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

const (
	// short is what the test takes with make test, and cycleLength how long all faults in turn take in a long run.
	short, cycleLength = 36 * time.Second, 5 * time.Minute
	// mayGrow is what a process may have gained in memory from a quarter of its life to its end, by the line through its
	// samples. The sawtooth of the garbage collector is half of the heap, of 20 to 40 MiB; a process of less than
	// fledged has had few teeth, and a heap that still finds its size.
	mayGrow, mayGrowYoung, fledged = 4 << 20, 16 << 20, 10 * time.Minute
	// mayVary is by how many more descriptors, threads and goroutines a process may have late than early: connections
	// come and go, and the runtime starts a thread where another one waits in the kernel.
	mayVary = 12
	// heldRounds is what the README of examples/gateway promises: rounds of each of its agents that a gateway loses when
	// it is killed.
	heldRounds = 1
)

// TestTotalsAreExactAndMemoryIsFlatThroughFaults is make soak; with make test it is 36 s long.
func TestTotalsAreExactAndMemoryIsFlatThroughFaults(t *testing.T) {
	length, cycle := short, short
	if s := os.Getenv("FLOWMONITOR_SOAK"); s != "" {
		var err error
		length, err = time.ParseDuration(s)
		require.NoError(t, err, "FLOWMONITOR_SOAK")
		cycle = min(length, cycleLength)
	}
	f := &faults{fleet: newFleet(t)}
	f.start(t)
	began := time.Now()
	seen := observe(t.Context(), f.running)
	kernel := map[string]int64{}
	for _, n := range f.watched {
		kernel[n.Name()] = retransmitted(t, n)
	}
	l := startLoad(t, f.fleet)
	f.caughtUp(t)
	for time.Since(began) < length {
		f.cycle(t, cycle)
	}
	apps := l.end(t)
	out := &outcome{began: began, length: time.Since(began), cycles: f.cycles, apps: apps}

	// Agents say all that applications did.
	for host, app := range apps {
		id := "i-" + host
		require.Eventually(t, func() bool { return f.witness.Total(id, flowattr.MetricConnectionsClosed) >= int64(app.Opened) }, patience, 100*time.Millisecond)
		time.Sleep(2 * time.Second) // a round more, in which nothing is left to come
		assert.EqualValues(t, app.Written, f.witness.Total(id, flowattr.MetricSent), "%s: bytes sent", host)
		assert.EqualValues(t, app.Read, f.witness.Total(id, flowattr.MetricReceived), "%s: bytes received", host)
		assert.EqualValues(t, app.Attempted, f.witness.Total(id, flowattr.MetricConnectionsAttempted), "%s: connections attempted", host)
		assert.EqualValues(t, app.Opened, f.witness.Total(id, flowattr.MetricConnectionsOpened), "%s: connections opened", host)
		assert.EqualValues(t, app.Failed, f.witness.Total(id, flowattr.MetricConnectionsFailed), "%s: connections failed", host)
		assert.Zero(t, app.Severed, "%s: connections severed", host)
	}
	for _, n := range f.watched {
		out.retransmissions(t, n.Name(), retransmitted(t, n)-kernel[n.Name()], f.witness.Total("i-"+n.Name(), flowattr.MetricRetransmissions))
	}
	out.account(t, f)
	out.processes = seen.end()
	out.goroutines(t, f)
	out.flat(t)
	if into := os.Getenv("FLOWMONITOR_SOAK_INTO"); into != "" {
		require.NoError(t, out.write(into, t.Failed()))
	}
	t.Log("\n" + out.String())
}

// sumOf adds up what applications counted.
func sumOf(apps map[string]netlab.Report) (sum netlab.Report) {
	for _, r := range apps {
		sum.Attempted += r.Attempted
		sum.Opened += r.Opened
		sum.Failed += r.Failed
		sum.Written += r.Written
		sum.Read += r.Read
	}
	return sum
}
