// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conformance

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/hosts"
)

// hit waits until a fault has struck.
func hit(t testing.TB, in *netlab.Injection) {
	t.Helper()
	require.Eventually(t, func() bool {
		c, err := in.Counts()
		require.NoError(t, err)
		return c.Hit > 0
	}, 20*time.Second, 5*time.Millisecond)
}

func TestALostSYNIsARetransmissionOfPhaseConnect(t *testing.T) {
	const n = 6
	h := newTwoHosts(t)
	client, server := h.observed(t)
	_, to := h.serve(t, netlab.ServerConfig{})
	atClient, atServer := hosts.Watch(t, h.client), hosts.Watch(t, h.server)
	loss, err := h.server.Link().Fault(netlab.Blackhole{}, netlab.ToA) // to the server
	require.NoError(t, err)
	app, err := h.client.StartClient(t.Context(), netlab.ClientConfig{Targets: to, Connections: n, Concurrency: n, Upload: netlab.Exactly(100)})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		c, err := loss.Counts()
		require.NoError(t, err)
		return c.Hit == n
	}, 20*time.Second, 5*time.Millisecond)
	require.NoError(t, loss.Clear())
	report, err := app.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, n, report.Opened)
	kernelClient, kernelServer := atClient.Ended(t, n), atServer.Ended(t, n)
	require.EqualValues(t, n, kernelClient.TotalRetrans, "each SYN was sent twice")
	batches := client.stop(t)
	points := withoutProbes(collector.Points(batches))
	assert.Equal(t, n, collector.Sum(points, flowattr.MetricRetransmissions, flowattr.Phase, flowattr.PhaseConnect))
	assert.Equal(t, n, collector.Sum(points, flowattr.MetricTimeouts, flowattr.Phase, flowattr.PhaseConnect))
	equalKernel(t, kernelClient, points, "client")
	equalKernel(t, kernelServer, server.points(t), "server")

	// It shows in the times too: what the applications waited for connect().
	connect := histogramOf(batches, flowattr.MetricConnectDuration)
	var waited time.Duration
	for _, c := range report.Conns {
		waited += c.Connect
	}
	assert.EqualValues(t, n, connect.count)
	assert.InEpsilon(t, waited, connect.sum, 0.05)
	assert.Greater(t, connect.min, 900*time.Millisecond)
}

func TestAnInterruptionIsOfPhaseEstablished(t *testing.T) {
	const n = 4
	h := newTwoHosts(t)
	client, server := h.observed(t)
	_, good := h.serve(t, netlab.ServerConfig{})
	bad, toBad := h.serve(t, netlab.ServerConfig{})
	atClient, atServer := hosts.Watch(t, h.client), hosts.Watch(t, h.server)
	app, err := h.client.StartClient(t.Context(), netlab.ClientConfig{
		Targets: append(good, toBad...), Connections: 2 * n, Stepwise: true, Upload: netlab.Exactly(20_000), Download: netlab.Exactly(20_000),
	})
	require.NoError(t, err)
	_, err = app.Exchange(t.Context())
	require.NoError(t, err)

	loss, err := h.server.Link().Fault(netlab.Blackhole{Port: bad.Port()}, netlab.Both)
	require.NoError(t, err)
	exchanged := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, err := app.Exchange(ctx)
		exchanged <- err
	}()
	hit(t, loss)
	// Long enough that the timers of all of them expire.
	require.Eventually(t, func() bool {
		return count(t, h.client)["TcpExtTCPTimeouts"] >= 2*n
	}, 30*time.Second, 20*time.Millisecond)
	require.NoError(t, loss.Clear())
	require.NoError(t, <-exchanged)
	report, err := app.Stop(t.Context())
	require.NoError(t, err)
	require.Zero(t, report.Severed)
	kernelClient, kernelServer := atClient.Ended(t, 2*n), atServer.Ended(t, 2*n)
	clientPoints, serverPoints := client.points(t), server.points(t)
	equalApp(t, report.Written, report.Read, clientPoints, "client")
	equalKernel(t, kernelClient, clientPoints, "client")
	equalKernel(t, kernelServer, serverPoints, "server")
	orderly(t, 2*n, clientPoints, serverPoints)
	assert.EqualValues(t, kernelClient.TotalRTO, collector.Sum(clientPoints, flowattr.MetricTimeouts, flowattr.Phase, flowattr.PhaseEstablished))
	assert.GreaterOrEqual(t, collector.Sum(clientPoints, flowattr.MetricTimeouts), 2*n)
	// Every connection on the bad path, in at least one round; none on the good one.
	of := func(port uint16) int {
		return collector.Sum(clientPoints, flowattr.MetricConnectionsRetransmitting, flowattr.NetworkPeerPort, portName(port))
	}
	assert.GreaterOrEqual(t, of(bad.Port()), n)
	assert.Zero(t, of(good[0].Port()))
}

func TestWhatIsSentAgainAfterTheCloseIsOfPhaseClose(t *testing.T) {
	const n = 60
	h := newTwoHosts(t)
	client, server := h.observed(t)
	_, to := h.serve(t, netlab.ServerConfig{})
	_, err := h.server.Link().Fault(netlab.Loss{Rate: 0.2}, netlab.FromA)
	require.NoError(t, err)
	// Without it the first losses are known before write() returns.
	_, err = h.client.Link().Fault(netlab.Delay{Delay: 5 * time.Millisecond}, netlab.Both)
	require.NoError(t, err)
	atClient, atServer := hosts.Watch(t, h.client), hosts.Watch(t, h.server)
	report := hosts.RunAll(t, h.client, []netlab.ClientConfig{{
		Targets: to, Connections: n, Concurrency: 20, Upload: netlab.Exactly(10), Download: netlab.Exactly(15_000), Close: netlab.CloseByServer, Seed: 1,
	}})
	require.Equal(t, n, report.Opened)
	kernelClient, kernelServer := atClient.Ended(t, n), atServer.Ended(t, n)
	clientPoints, serverPoints := client.points(t), server.points(t)
	equalApp(t, report.Read, report.Written, serverPoints, "server")
	equalKernel(t, kernelClient, clientPoints, "client")
	equalKernel(t, kernelServer, serverPoints, "server")
	orderly(t, n, clientPoints, serverPoints)
	// A server that closes right after its last write has yet to send most of it.
	inClose := collector.Sum(serverPoints, flowattr.MetricRetransmissions, flowattr.Phase, flowattr.PhaseClose)
	assert.Greater(t, inClose, int(kernelServer.TotalRetrans)/2)
	assert.Zero(t, collector.Sum(clientPoints, flowattr.MetricRetransmissions, flowattr.Phase, flowattr.PhaseEstablished), "the way to the server is good")
}
