// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sockopsreceiver

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
)

// BenchmarkRound is the receiver's share of a round of 10,000 flows, from the harvest's
// flows to a batch of 110,000 points in the hands of the pipeline.
func BenchmarkRound(b *testing.B) {
	const flows = 10_000
	round := make([]counted, flows)
	for i := range round {
		round[i].key = web
		round[i].key.Peer[14], round[i].key.Peer[15] = byte(i>>8), byte(i)
		round[i].flow = bpf.Flow{
			Sent: 1e6, Received: 1e5, SegmentsSent: 700, SegmentsReceived: 90, Retransmissions: [3]uint64{0, 3, 0},
			Attempted: 2, Opened: 2, Closed: [5]uint32{2}, Open: [3]uint32{0, 4, 0}, Active: 5, Rtt: micros(120, 130, 600),
		}
	}
	k := &fakeKernel{rounds: [][]counted{{}}, always: round}
	r := newTestReceiver(b, k, consumertest.NewNop(), func(c *Config) { c.AdoptExisting = false })
	require.NoError(b, r.Start(b.Context(), componenttest.NewNopHost()))
	require.NoError(b, r.Shutdown(b.Context())) // its loop is ours now
	k.closed = 0
	b.ReportAllocs()
	for b.Loop() {
		if err := r.loop.round(b.Context(), false); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/flows, "ns/flow")
}
