// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conformance

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/hosts"
)

// equalApp compares one end with what its application wrote and read.
func equalApp(t testing.TB, written, read int64, points []collector.Point, end string) {
	t.Helper()
	assert.EqualValues(t, written, collector.Sum(points, flowattr.MetricSent), "%s: sent", end)
	assert.EqualValues(t, read, collector.Sum(points, flowattr.MetricReceived), "%s: received", end)
}

// equalKernel compares one end with the sums of the final TCP_INFO of its sockets.
func equalKernel(t testing.TB, kernel netlab.Totals, points []collector.Point, end string) {
	t.Helper()
	assert.EqualValues(t, kernel.DataSegsOut, collector.Sum(points, flowattr.MetricSegmentsSent), "%s: segments sent", end)
	assert.EqualValues(t, kernel.DataSegsIn, collector.Sum(points, flowattr.MetricSegmentsReceived), "%s: segments received", end)
	assert.EqualValues(t, kernel.TotalRetrans, collector.Sum(points, flowattr.MetricRetransmissions), "%s: retransmissions", end)
	assert.EqualValues(t, kernel.TotalRTO, collector.Sum(points, flowattr.MetricTimeouts), "%s: timeouts", end)
}

// orderly expects n connections that began and ended as they should.
func orderly(t testing.TB, n int, client, server []collector.Point) {
	t.Helper()
	assert.Equal(t, n, collector.Sum(client, flowattr.MetricConnectionsAttempted))
	assert.Zero(t, collector.Sum(server, flowattr.MetricConnectionsAttempted))
	assert.Equal(t, n, collector.Sum(client, flowattr.MetricConnectDuration))
	assert.Zero(t, collector.Sum(server, flowattr.MetricConnectDuration))
	for _, points := range [][]collector.Point{client, server} {
		assert.Equal(t, n, collector.Sum(points, flowattr.MetricConnectionsOpened))
		assert.Equal(t, n, collector.Sum(points, flowattr.MetricConnectionsClosed, flowattr.ErrorType, ""))
		assert.Equal(t, n, collector.Sum(points, flowattr.MetricConnectionsClosed))
		assert.Zero(t, collector.Sum(points, flowattr.MetricConnectionsFailed))
	}
}

func TestTotalsEqualTheApplicationsAndTheKernels(t *testing.T) {
	for _, family := range []struct {
		name   string
		listen netip.Addr
		mapped bool
		kind   string
	}{
		{"IPv4", netip.MustParseAddr("0.0.0.0"), false, flowattr.TypeIPv4},
		{"IPv6", netip.MustParseAddr("::"), false, flowattr.TypeIPv6},
		{"IPv4-mapped", netip.MustParseAddr("::"), true, flowattr.TypeIPv4},
	} {
		for _, loss := range []float64{0, 0.03} {
			t.Run(fmt.Sprintf("%s with loss of %v", family.name, loss), func(t *testing.T) {
				h := newTwoHosts(t)
				client, server := h.observed(t)
				if loss > 0 {
					_, err := h.server.Link().Fault(netlab.Loss{Rate: loss}, netlab.Both)
					require.NoError(t, err)
				}
				app, _ := h.serve(t, netlab.ServerConfig{Listen: netip.AddrPortFrom(family.listen, 0)})
				address := h.server.Addr4()
				if family.kind == flowattr.TypeIPv6 {
					address = h.server.Addr6()
				}
				to := targets(netip.AddrPortFrom(address, app.Port()))
				atClient, atServer := hosts.Watch(t, h.client), hosts.Watch(t, h.server)
				clientBefore, serverBefore := count(t, h.client), count(t, h.server)

				report := hosts.RunAll(t, h.client, []netlab.ClientConfig{
					// Short ones, closed by either end, and long ones that go on over several rounds.
					{Targets: to, Mapped: family.mapped, Connections: 100, Concurrency: 10, Upload: netlab.Size{Min: 0, Max: 300_000}, Download: netlab.Size{Min: 0, Max: 300_000}, Seed: 1, Close: netlab.CloseByClient},
					{Targets: to, Mapped: family.mapped, Connections: 80, Concurrency: 10, Upload: netlab.Size{Min: 1, Max: 100_000}, Download: netlab.Size{Min: 1, Max: 1_000_000}, Seed: 2, Close: netlab.CloseByServer},
					{Targets: to, Mapped: family.mapped, Connections: 20, Concurrency: 20, Exchanges: 40, Upload: netlab.Size{Min: 1, Max: 50_000}, Download: netlab.Size{Min: 1, Max: 50_000}, Duplex: true, Seed: 3},
				})
				const n = 200
				require.Equal(t, n, report.Opened)
				require.Zero(t, report.Severed)
				kernelClient, kernelServer := atClient.Ended(t, n), atServer.Ended(t, n)
				nstatClient, nstatServer := count(t, h.client).since(clientBefore), count(t, h.server).since(serverBefore)
				clientPoints, serverPoints := client.points(t), server.points(t)

				equalApp(t, report.Written, report.Read, clientPoints, "client")
				equalApp(t, report.Read, report.Written, serverPoints, "server")
				equalKernel(t, kernelClient, clientPoints, "client")
				equalKernel(t, kernelServer, serverPoints, "server")
				orderly(t, n, clientPoints, serverPoints)
				if loss > 0 {
					assert.NotZero(t, kernelClient.TotalRetrans+kernelServer.TotalRetrans, "the loss was felt")
				}
				// The kernel's own counters of the two network namespaces.
				assert.Equal(t, nstatClient["TcpActiveOpens"], collector.Sum(clientPoints, flowattr.MetricConnectionsAttempted))
				// Of servers it counts a socket more that it throws away at once, when two CPUs have an ACK of the same handshake
				// at a time (Linux 6.18, inet_csk_complete_hashdance; once in some 50,000 connections).
				assert.EqualValues(t, n, collector.Sum(serverPoints, flowattr.MetricConnectionsOpened))
				assert.InDelta(t, n+1, nstatServer["TcpPassiveOpens"], 1)
				assert.Equal(t, nstatClient["TcpRetransSegs"], collector.Sum(clientPoints, flowattr.MetricRetransmissions))
				assert.Equal(t, nstatServer["TcpRetransSegs"], collector.Sum(serverPoints, flowattr.MetricRetransmissions)+
					collector.Sum(serverPoints, flowattr.MetricSynAckRetransmissions))
				for _, p := range append(clientPoints, serverPoints...) {
					if kind := p.Attribute(flowattr.NetworkType); kind != "" {
						require.Equal(t, family.kind, kind)
					}
				}
			})
		}
	}
}

func TestALoopbackConnectionIsTwoFlowsOfOneHost(t *testing.T) {
	const n = 50
	h := newTwoHosts(t)
	subject := observe(t, h.client)[0]
	app, err := h.client.StartServer(t.Context(), netlab.ServerConfig{Listen: netip.MustParseAddrPort("127.0.0.1:0")})
	require.NoError(t, err)
	oracle := hosts.Watch(t, h.client)
	report := hosts.RunAll(t, h.client, []netlab.ClientConfig{
		{Targets: targets(app.Addr()), Connections: n, Concurrency: 5, Upload: netlab.Size{Max: 100_000}, Download: netlab.Size{Max: 100_000}, Seed: 1},
	})
	require.Equal(t, n, report.Opened)
	kernel := oracle.Ended(t, 2*n)
	points := subject.points(t)
	client, server := ofRole(points, "client"), ofRole(points, "server")
	equalApp(t, report.Written, report.Read, client, "client")
	equalApp(t, report.Read, report.Written, server, "server")
	equalKernel(t, kernel, points, "both ends")
	orderly(t, n, client, server)
	for _, p := range append(client, server...) {
		require.Equal(t, "127.0.0.1", p.Attribute(flowattr.NetworkLocalAddress))
		require.Equal(t, "127.0.0.1", p.Attribute(flowattr.NetworkPeerAddress))
	}
}

func ofRole(points []collector.Point, role string) (kept []collector.Point) {
	for _, p := range points {
		if p.Attribute(flowattr.Role) == role {
			kept = append(kept, p)
		}
	}
	return kept
}

func TestSubflowsOfMultipathTCPAreConnections(t *testing.T) {
	const n = 20
	h := newTwoHosts(t)
	client, server := h.observed(t)
	_, to := h.serve(t, netlab.ServerConfig{Listen: netip.MustParseAddrPort("0.0.0.0:0"), Multipath: true})
	oracle, before, serverBefore := hosts.Watch(t, h.client), count(t, h.client), count(t, h.server)
	report := hosts.RunAll(t, h.client, []netlab.ClientConfig{
		{Targets: to, Multipath: true, Connections: n, Concurrency: 5, Upload: netlab.Size{Max: 100_000}, Download: netlab.Size{Max: 100_000}, Seed: 1},
	})
	require.Equal(t, n, report.Opened)
	require.Equal(t, n, count(t, h.client).since(before)["MPTcpExtMPCapableSYNACKRX"], "Multipath TCP was spoken")
	kernel := oracle.Ended(t, n)
	retransmitted := count(t, h.server).since(serverBefore)["TcpRetransSegs"]
	clientPoints, serverPoints := client.points(t), server.points(t)
	// With a single subflow each, its payload is the application's.
	equalApp(t, report.Written, report.Read, clientPoints, "client")
	equalApp(t, report.Read, report.Written, serverPoints, "server")
	equalKernel(t, kernel, clientPoints, "client")
	// A server's subflow is disconnected before it is destroyed: its TCP_INFO is zeroed by then.
	assert.Equal(t, retransmitted, collector.Sum(serverPoints, flowattr.MetricRetransmissions)+
		collector.Sum(serverPoints, flowattr.MetricSynAckRetransmissions))
	assert.Equal(t, n, collector.Sum(clientPoints, flowattr.MetricConnectionsAttempted))
	assert.Equal(t, n, collector.Sum(clientPoints, flowattr.MetricConnectionsOpened))
	assert.Equal(t, n, collector.Sum(serverPoints, flowattr.MetricConnectionsOpened))
	assert.Equal(t, n, collector.Sum(clientPoints, flowattr.MetricConnectionsClosed))
	assert.Equal(t, n, collector.Sum(serverPoints, flowattr.MetricConnectionsClosed))
}

func TestDataOfAFastOpenIsPayload(t *testing.T) {
	const n = 30
	h := newTwoHosts(t)
	for _, node := range []*netlab.Node{h.client, h.server} {
		require.NoError(t, node.Sysctl("net.ipv4.tcp_fastopen", "3"))
	}
	client, server := h.observed(t)
	_, to := h.serve(t, netlab.ServerConfig{Listen: netip.MustParseAddrPort("0.0.0.0:0"), FastOpen: true})
	atClient, atServer := hosts.Watch(t, h.client), hosts.Watch(t, h.server)
	before := count(t, h.server)
	// One at a time: the first gets the cookie for the others.
	report := hosts.RunAll(t, h.client, []netlab.ClientConfig{
		{Targets: to, FastOpen: true, Connections: n, Upload: netlab.Size{Max: 50_000}, Download: netlab.Size{Max: 50_000}, Seed: 1},
	})
	require.Equal(t, n, report.Opened)
	require.Equal(t, n-1, count(t, h.server).since(before)["TcpExtTCPFastOpenPassive"], "data came with the SYN")
	kernelClient, kernelServer := atClient.Ended(t, n), atServer.Ended(t, n)
	clientPoints, serverPoints := client.points(t), server.points(t)
	equalApp(t, report.Written, report.Read, clientPoints, "client")
	equalApp(t, report.Read, report.Written, serverPoints, "server")
	equalKernel(t, kernelClient, clientPoints, "client")
	equalKernel(t, kernelServer, serverPoints, "server")
	orderly(t, n, clientPoints, serverPoints)
}
