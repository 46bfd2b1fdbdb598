// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/hosts"
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

// churnConnections is how many connections the churn has: `make test-churn` asks for 500,000.
func churnConnections(t testing.TB) int {
	t.Helper()
	wanted := os.Getenv("FLOWMONITOR_CHURN")
	if wanted == "" {
		return 20_000
	}
	n, err := strconv.Atoi(wanted)
	require.NoError(t, err, "FLOWMONITOR_CHURN")
	return n
}

// TestTotalsAreExactThroughATableThatIsTooSmall has short connections to 1,200 servers pass
// through a table of 1,000 flows, which a collector harvests every second: what does not fit is
// in the overflow flows, and nothing is missing.
func TestTotalsAreExactThroughATableThatIsTooSmall(t *testing.T) {
	const addresses, ports, maxFlows = 60, 20, 1000
	n := churnConnections(t)
	// Of 500,000 connections, 4,000 a second on the machine that this was written on.
	patience := 4*time.Minute + time.Duration(n)*2*time.Millisecond

	var h twoHosts
	newLab(t, func(lab *netlab.Lab) {
		router := lab.Router("router")
		h.client = router.Host("client", "10.0.0.1")
		var all []string
		for i := range addresses {
			all = append(all, fmt.Sprintf("10.0.1.%d", i+1))
		}
		h.server = router.Host("server", all...)
	})
	_, err := h.server.Link().Fault(netlab.Loss{Rate: 0.001}, netlab.Both)
	require.NoError(t, err)
	// Hundreds of thousands rest in TIME_WAIT for a minute. Past this bound the kernel forgets an
	// end before its time, and answers the other one's FIN with an RST.
	for _, n := range []*netlab.Node{h.client, h.server} {
		require.NoError(t, n.Sysctl("net.ipv4.tcp_max_tw_buckets", "1000000"))
	}
	var targets []netip.AddrPort
	for range ports {
		server, err := h.server.StartServer(t.Context(), netlab.ServerConfig{Listen: netip.MustParseAddrPort("0.0.0.0:0"), Summary: true})
		require.NoError(t, err)
		for _, a := range h.server.Addrs() {
			targets = append(targets, netip.AddrPortFrom(a, server.Port()))
		}
	}
	// Netlink alone: ss has been compared with it often enough, and prints 400 bytes a connection.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	atClient, err := h.client.WatchDestroyed(ctx)
	require.NoError(t, err)
	atServer, err := h.server.WatchDestroyed(ctx)
	require.NoError(t, err)
	process := collector.Start(t, h.receivers(fmt.Sprintf(", max_flows: %d", maxFlows)))

	began := time.Now()
	var clients []netlab.ClientConfig
	for i, mode := range []netlab.CloseMode{netlab.CloseByClient, netlab.CloseByServer} {
		clients = append(clients, netlab.ClientConfig{
			Targets: targets, Connections: n / 2, Concurrency: 32, Close: mode, Seed: uint64(i + 1),
			Upload: netlab.Size{Max: 3000}, Download: netlab.Size{Max: 3000},
		})
	}
	app := hosts.RunFor(t, patience, h.client, clients)
	t.Logf("%d connections in %v", n, time.Since(began).Round(time.Second))
	require.Equal(t, n, app.Opened)
	require.Zero(t, app.Severed)
	kernelClient, kernelServer := all(t, ctx, atClient, n), all(t, ctx, atServer, n)
	process.Stop(t)

	points := collector.Points(process.Read(t))
	client, server := ofHost(points, "client"), ofHost(points, "server")
	for _, end := range []struct {
		name           string
		points         []collector.Point
		kernel         netlab.Totals
		sent, received int64
		attempted      int
	}{
		{"client", client, kernelClient, app.Written, app.Read, n},
		{"server", server, kernelServer, app.Read, app.Written, 0},
	} {
		of := func(metric string, attributes ...string) int { return collector.Sum(end.points, metric, attributes...) }
		assert.EqualValues(t, end.sent, of(flowattr.MetricSent), "%s: sent", end.name)
		assert.EqualValues(t, end.received, of(flowattr.MetricReceived), "%s: received", end.name)
		assert.EqualValues(t, end.kernel.DataSegsOut, of(flowattr.MetricSegmentsSent), "%s: segments sent", end.name)
		assert.EqualValues(t, end.kernel.DataSegsIn, of(flowattr.MetricSegmentsReceived), "%s: segments received", end.name)
		assert.EqualValues(t, end.kernel.TotalRetrans, of(flowattr.MetricRetransmissions), "%s: retransmissions", end.name)
		assert.EqualValues(t, end.kernel.TotalRTO, of(flowattr.MetricTimeouts), "%s: timeouts", end.name)
		assert.Equal(t, end.attempted, of(flowattr.MetricConnectionsAttempted), "%s: attempted", end.name)
		assert.Equal(t, end.attempted, of(flowattr.MetricConnectDuration), "%s: connect times", end.name)
		assert.Equal(t, n, of(flowattr.MetricConnectionsOpened), "%s: opened", end.name)
		assert.Equal(t, n, of(flowattr.MetricConnectionsClosed, flowattr.ErrorType, ""), "%s: closed in order", end.name)
		assert.Equal(t, n, of(flowattr.MetricConnectionsClosed), "%s: closed", end.name)
		overflow := of(flowattr.MetricConnectionsOpened, flowattr.Overflow, "true")
		assert.NotZero(t, overflow, "%s: the table was full", end.name)
		assert.Less(t, overflow, n/2, "%s: most connections have a flow of their own", end.name)
	}
	assert.NotZero(t, kernelClient.TotalRetrans)
}

// all waits for the ends of exactly n connections and sums up their counters.
func all(t testing.TB, ctx context.Context, watch *netlab.DestroyWatch, n int) netlab.Totals {
	t.Helper()
	_, err := watch.Wait(ctx, n)
	require.NoError(t, err)
	destroyed, err := watch.Close() // reports overruns
	require.NoError(t, err)
	var connections []netlab.Destroyed
	for _, d := range destroyed {
		if !d.Listener() && !d.ThrownAway() {
			connections = append(connections, d)
		}
	}
	require.Equal(t, n, len(connections), "connections that ended")
	return netlab.Sum(connections)
}
