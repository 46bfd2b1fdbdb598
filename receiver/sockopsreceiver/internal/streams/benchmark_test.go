// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package streams

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
)

const benchmarkFlows = 10_000

// busy is what a typical flow of a busy host counts in a round: 11 points.
func busy() *bpf.Flow {
	return &bpf.Flow{
		Sent: 1e6, Received: 1e5, SegmentsSent: 700, SegmentsReceived: 90,
		Retransmissions: [3]uint64{0, 3, 0},
		Attempted:       2, Opened: 2, Closed: [5]uint32{2},
		Open: [3]uint32{0, 4, 0}, Active: 5,
		Rtt: histogramOf(120, 130, 140, 200, 250, 600),
	}
}

// BenchmarkRound is a whole round of 10,000 flows that report every time: taken from the
// kernel, written, delivered.
func BenchmarkRound(b *testing.B) {
	table := New(Settings{MaxFlows: 16384, IdleTimeout: time.Hour})
	f := busy()
	var keys []*bpf.FlowKey
	for n := range benchmarkFlows {
		keys = append(keys, client(n))
	}
	now := at
	b.ReportAllocs()
	for b.Loop() {
		for _, k := range keys {
			table.Add(k, f, nil)
		}
		since := now
		now += 30e9
		if n := table.Write(pmetric.NewMetricSlice(), Round{Now: now, Since: since, Levels: true}); n != 11*benchmarkFlows {
			b.Fatal(n)
		}
		table.End(now, Delivered)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchmarkFlows, "ns/flow")
}

// BenchmarkAdd is the part of a round that is not writing: nothing is allocated.
func BenchmarkAdd(b *testing.B) {
	table := New(Settings{MaxFlows: 16384, IdleTimeout: time.Hour})
	f := busy()
	var keys []*bpf.FlowKey
	for n := range benchmarkFlows {
		keys = append(keys, client(n))
	}
	now := at
	b.ReportAllocs()
	for b.Loop() {
		for _, k := range keys {
			table.Add(k, f, nil)
		}
		now += 30e9
		table.End(now, Delivered)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchmarkFlows, "ns/flow")
}

// BenchmarkSilent is a round of a table full of flows that report nothing.
func BenchmarkSilent(b *testing.B) {
	table := New(Settings{MaxFlows: 16384, IdleTimeout: 1 << 62})
	for n := range benchmarkFlows {
		table.Add(client(n), busy(), nil)
	}
	now := at
	b.ReportAllocs()
	for b.Loop() {
		now++
		table.Write(pmetric.NewMetricSlice(), Round{Now: now, Since: now - 1, Levels: true})
		table.End(now, Delivered)
	}
}

func TestASteadyLoadAllocatesNothingButThePoints(t *testing.T) {
	table := New(settings())
	f := busy()
	var keys []*bpf.FlowKey
	for n := range 50 {
		keys = append(keys, client(n))
	}
	now := at
	require.Zero(t, testing.AllocsPerRun(10, func() { // the first run is not measured
		for _, k := range keys {
			table.Add(k, f, nil)
		}
		now += 1e9
		table.End(now, Delivered)
	}))
}
