// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package test

import (
	"context"
	"net/netip"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

// flows sums up what harvests hand over.
type flows struct {
	sent, received, segmentsSent, segmentsReceived, retransmissions, timeouts uint64
	attempted, opened, closed, orderly, open                                  uint64
}

func (f *flows) add(_ *bpf.FlowKey, v *bpf.Flow, _ *bpf.Detail) {
	f.sent += v.Sent
	f.received += v.Received
	f.segmentsSent += v.SegmentsSent
	f.segmentsReceived += v.SegmentsReceived
	f.attempted += uint64(v.Attempted)
	f.opened += uint64(v.Opened)
	f.orderly += uint64(v.Closed[bpf.ClosedOrderly])
	for i := range v.Retransmissions {
		f.retransmissions += v.Retransmissions[i]
		f.timeouts += v.Timeouts[i]
		f.open += uint64(v.Open[i])
	}
	for _, n := range v.Closed {
		f.closed += uint64(n)
	}
}

func (f *flows) equal(t testing.TB, kernel netlab.Totals) {
	t.Helper()
	assert.Equal(t, kernel.DataSegsOut, f.segmentsSent, "segments sent")
	assert.Equal(t, kernel.DataSegsIn, f.segmentsReceived, "segments received")
	assert.Equal(t, kernel.TotalRetrans, f.retransmissions, "retransmissions")
	assert.Equal(t, kernel.TotalRTO, f.timeouts, "timeouts")
	assert.EqualValues(t, kernel.Sockets, f.opened, "opened")
	assert.EqualValues(t, kernel.Sockets, f.orderly, "closed")
	assert.Equal(t, f.closed, f.orderly)
}

// TestManyShortConnectionsUnderHarvestsThatNeverPause is below the collector, whose rounds
// last a second at least: here the walk of a harvest runs all the time, beside the
// callbacks of 20,000 connections, some of whose segments are lost.
func TestManyShortConnectionsUnderHarvestsThatNeverPause(t *testing.T) {
	const n = 20_000
	h := newTwoHosts(t)
	_, err := h.server.Link().Fault(netlab.Loss{Rate: 0.002}, netlab.Both)
	require.NoError(t, err)
	atClient, atServer := watch(t, h.client), watch(t, h.server)

	ctx, stop := context.WithCancel(t.Context())
	var harvesting sync.WaitGroup
	harvest := func(host *netlab.Node) (*bpf.Sockops, *flows) {
		program, err := bpf.Load(bpf.Options{CgroupPath: host.CgroupPath(), MaxFlows: 1000, MaxSockets: 1 << 20})
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, program.Close()) })
		sum := &flows{}
		harvesting.Go(func() {
			for ctx.Err() == nil {
				if !assert.NoError(t, program.Harvest(sum.add)) {
					return
				}
			}
		})
		return program, sum
	}
	clientProgram, client := harvest(h.client)
	serverProgram, server := harvest(h.server)

	listener, err := h.server.StartServer(t.Context(), netlab.ServerConfig{Listen: netip.MustParseAddrPort("0.0.0.0:0"), Summary: true})
	require.NoError(t, err)
	target := []netip.AddrPort{netip.AddrPortFrom(h.server.Addr4(), listener.Port())}
	app := runAll(t, h.client, []netlab.ClientConfig{
		{Targets: target, Connections: n / 2, Concurrency: 32, Upload: netlab.Size{Max: 5000}, Download: netlab.Size{Max: 5000}, Seed: 1, Close: netlab.CloseByClient},
		{Targets: target, Connections: n / 2, Concurrency: 32, Upload: netlab.Size{Max: 5000}, Download: netlab.Size{Max: 5000}, Seed: 2, Close: netlab.CloseByServer},
	})
	require.Equal(t, n, app.Opened)
	kernelClient, kernelServer := atClient.ended(t, n), atServer.ended(t, n)
	stop()
	harvesting.Wait()
	require.NoError(t, clientProgram.Harvest(client.add))
	require.NoError(t, serverProgram.Harvest(server.add))

	assert.EqualValues(t, app.Written, client.sent)
	assert.EqualValues(t, app.Written, server.received)
	assert.EqualValues(t, app.Read, server.sent)
	assert.EqualValues(t, app.Read, client.received)
	assert.EqualValues(t, n, client.attempted)
	client.equal(t, kernelClient)
	server.equal(t, kernelServer)
	assert.NotZero(t, kernelClient.TotalRetrans)
}
