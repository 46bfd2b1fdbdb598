// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conformance

import (
	"fmt"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/hosts"
)

func portName(port uint16) string { return strconv.Itoa(int(port)) }

func targetsOn(a netip.Addr, port uint16) []netip.AddrPort {
	return targets(netip.AddrPortFrom(a, port))
}

// newest is the sum over all streams of a gauge of their last values.
func newest(points []collector.Point, metric string) (sum int) {
	values := map[string]int{}
	for _, p := range points {
		if p.Metric == metric {
			values[fmt.Sprint(p.Attributes.AsRaw())] = int(p.Value)
		}
	}
	for _, v := range values {
		sum += v
	}
	return sum
}

func TestIdleConnectionsStayOpenAndAreNotActive(t *testing.T) {
	const n = 10
	h := newTwoHosts(t)
	client, server := h.observed(t)
	_, to := h.serve(t, netlab.ServerConfig{})
	app, err := h.client.StartClient(t.Context(), netlab.ClientConfig{
		Targets: to, Connections: n, Stepwise: true, Upload: netlab.Exactly(1000), Download: netlab.Exactly(1000),
	})
	require.NoError(t, err)
	subjects := []*subject{client, server}
	var active [2]int
	for step := range 3 {
		_, err = app.Exchange(t.Context())
		require.NoError(t, err)
		for i, s := range subjects {
			// Until the exchange was reported, and then for some rounds in which nothing happens.
			require.Eventually(t, func() bool {
				return collector.Sum(s.sofar(t), flowattr.MetricConnectionsActive) >= active[i]+n
			}, 20*time.Second, 50*time.Millisecond)
		}
		for i, s := range subjects {
			before := rounds(s.sofar(t))
			require.Eventually(t, func() bool { return rounds(s.sofar(t)) >= before+2 }, 20*time.Second, 50*time.Millisecond)
			points := s.sofar(t)
			assert.Equal(t, n, newest(points, flowattr.MetricConnectionsOpen), "step %d", step)
			// An exchange may lie in two rounds.
			now := collector.Sum(points, flowattr.MetricConnectionsActive)
			assert.LessOrEqual(t, now, active[i]+2*n, "step %d", step)
			active[i] = now
		}
	}
	_, err = app.Stop(t.Context())
	require.NoError(t, err)
	for i, s := range subjects {
		points := s.points(t)
		assert.Equal(t, n, collector.Sum(points, flowattr.MetricConnectionsOpened), "they kept their identity")
		assert.Zero(t, newest(points, flowattr.MetricConnectionsOpen), "a flow that vanished has one 0")
		assert.LessOrEqual(t, collector.Sum(points, flowattr.MetricConnectionsActive), active[i]+n)
		assert.Zero(t, collector.Sum(points, flowattr.MetricConnectionsRetransmitting))
	}
}

// rounds is how many there were: open connections are reported in each.
func rounds(points []collector.Point) int {
	ends := map[any]bool{}
	for _, p := range points {
		if p.Metric == flowattr.MetricConnectionsOpen {
			ends[p.End] = true
		}
	}
	return len(ends)
}

func TestTotalsOfASlowReader(t *testing.T) {
	const n = 3
	h := newTwoHosts(t)
	client, server := h.observed(t)
	_, to := h.serve(t, netlab.ServerConfig{ReceiveBuffer: 16 << 10})
	atClient, atServer := hosts.Watch(t, h.client), hosts.Watch(t, h.server)
	before := count(t, h.server)
	report := hosts.RunAll(t, h.client, []netlab.ClientConfig{{
		Targets: to, Connections: n, Concurrency: n, Upload: netlab.Exactly(400_000), ServerReadRate: 150_000,
	}})
	require.Equal(t, n, report.Opened)
	require.NotZero(t, count(t, h.server).since(before)["TcpExtTCPToZeroWindowAdv"], "the window was closed")
	kernelClient, kernelServer := atClient.Ended(t, n), atServer.Ended(t, n)
	clientPoints, serverPoints := client.points(t), server.points(t)
	equalApp(t, report.Written, report.Read, clientPoints, "client")
	equalApp(t, report.Read, report.Written, serverPoints, "server")
	equalKernel(t, kernelClient, clientPoints, "client")
	equalKernel(t, kernelServer, serverPoints, "server")
	orderly(t, n, clientPoints, serverPoints)
	assert.Greater(t, collector.Sum(clientPoints, flowattr.MetricConnectionsActive), n, "they went on for several rounds")
}

func TestDropsOfAFullListenerAreTheKernels(t *testing.T) {
	const n = 6
	h := newTwoHosts(t)
	require.NoError(t, h.client.Sysctl("net.ipv4.tcp_syn_retries", "1"))
	_, server := h.observed(t)
	app, to := h.serve(t, netlab.ServerConfig{NoAccept: true, Backlog: 1})
	before := count(t, h.server)
	report, err := h.client.RunClient(t.Context(), netlab.ClientConfig{
		Targets: to, Connections: n, Concurrency: n, Timeout: 4 * time.Second, Upload: netlab.Exactly(10), Download: netlab.Exactly(10),
	})
	require.NoError(t, err)
	require.NotZero(t, report.Failed)
	drops := count(t, h.server).since(before)["TcpExtListenDrops"]
	require.NotZero(t, drops)
	points := server.points(t)
	assert.Equal(t, drops, collector.Sum(points, flowattr.MetricListenDrops, flowattr.NetworkLocalPort, portName(app.Port())))
	assert.Equal(t, drops, collector.Sum(points, flowattr.MetricListenDrops))
}
