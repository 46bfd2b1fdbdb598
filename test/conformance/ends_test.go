// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conformance

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/hosts"
)

func TestFailedConnectionsAreCountedAsWhatTheyWere(t *testing.T) {
	const n = 7
	for _, tt := range []struct {
		name    string
		fault   netlab.Fault
		timeout time.Duration // of the application
		errno   syscall.Errno
		want    string
	}{
		{"refused", netlab.Refused{}, 0, syscall.ECONNREFUSED, flowattr.ErrorRefused},
		{"unreachable", netlab.Unreachable{}, 0, syscall.EHOSTUNREACH, flowattr.ErrorUnreachable},
		{"timed out", netlab.Blackhole{}, 0, syscall.ETIMEDOUT, flowattr.ErrorTimedOut},
		{"given up by the application", netlab.Blackhole{}, 300 * time.Millisecond, 0, flowattr.ErrorAborted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newTwoHosts(t)
			require.NoError(t, h.client.Sysctl("net.ipv4.tcp_syn_retries", "1"))
			require.NoError(t, h.client.Sysctl("net.ipv4.tcp_syn_linear_timeouts", "0"))
			client, server := h.observed(t)
			_, to := h.serve(t, netlab.ServerConfig{})
			_, err := h.server.Link().Fault(tt.fault, netlab.Both)
			require.NoError(t, err)
			// An answer that comes back within connect() itself, as only one machine can give it, meets a
			// socket in use: the kernel keeps an ICMP error then as a hint, and the application closes.
			_, err = h.client.Link().Fault(netlab.Delay{Delay: 5 * time.Millisecond}, netlab.Both)
			require.NoError(t, err)
			oracle, before := hosts.Watch(t, h.client), count(t, h.client)
			report, err := h.client.RunClient(t.Context(), netlab.ClientConfig{Targets: to, Connections: n, Concurrency: n, Timeout: tt.timeout})
			require.NoError(t, err)
			require.Equal(t, n, report.Failed)
			for _, c := range report.Conns {
				require.Equal(t, tt.errno, c.Errno, c.Err)
			}
			kernel := oracle.Ended(t, n)
			nstat := count(t, h.client).since(before)
			points := client.points(t)
			assert.Equal(t, nstat["TcpActiveOpens"], collector.Sum(points, flowattr.MetricConnectionsAttempted))
			assert.Equal(t, n, collector.Sum(points, flowattr.MetricConnectionsAttempted))
			assert.Equal(t, n, collector.Sum(points, flowattr.MetricConnectionsFailed, flowattr.ErrorType, tt.want))
			assert.Equal(t, n, collector.Sum(points, flowattr.MetricConnectionsFailed))
			for _, metric := range []string{flowattr.MetricConnectionsOpened, flowattr.MetricConnectionsClosed, flowattr.MetricConnectDuration, flowattr.MetricSent, flowattr.MetricSegmentsSent} {
				assert.Zero(t, collector.Sum(points, metric), metric)
			}
			// SYNs that were sent again, all of them while connecting.
			assert.EqualValues(t, kernel.TotalRetrans, collector.Sum(points, flowattr.MetricRetransmissions, flowattr.Phase, flowattr.PhaseConnect))
			equalKernel(t, kernel, points, "client")
			assert.Empty(t, server.points(t), "the server has seen none of it")
		})
	}
}

func TestResetConnectionsAreCountedAtBothEnds(t *testing.T) {
	const n = 5
	for _, tt := range []struct {
		name           string
		mode           netlab.CloseMode
		client, server string
	}{
		{"by the client", netlab.ResetByClient, flowattr.ErrorAborted, flowattr.ErrorReset},
		{"by the server", netlab.ResetByServer, flowattr.ErrorReset, flowattr.ErrorAborted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newTwoHosts(t)
			client, server := h.observed(t)
			app, to := h.serve(t, netlab.ServerConfig{})
			report := hosts.RunAll(t, h.client, []netlab.ClientConfig{{
				Targets: to, Connections: n, Upload: netlab.Exactly(1000), Download: netlab.Exactly(1000), Close: tt.mode,
			}})
			at, err := app.Stop(t.Context())
			require.NoError(t, err)
			clientPoints, serverPoints := client.points(t), server.points(t)
			for _, end := range []struct {
				points []collector.Point
				want   string
			}{{clientPoints, tt.client}, {serverPoints, tt.server}} {
				assert.Equal(t, n, collector.Sum(end.points, flowattr.MetricConnectionsOpened))
				assert.Equal(t, n, collector.Sum(end.points, flowattr.MetricConnectionsClosed, flowattr.ErrorType, end.want))
				assert.Equal(t, n, collector.Sum(end.points, flowattr.MetricConnectionsClosed))
			}
			assert.EqualValues(t, report.Written, collector.Sum(serverPoints, flowattr.MetricReceived))
			assert.EqualValues(t, at.Written, collector.Sum(clientPoints, flowattr.MetricReceived))
		})
	}
}

func TestAConnectionWhosePathDiesTimesOut(t *testing.T) {
	const n = 4
	h := newTwoHosts(t)
	require.NoError(t, h.client.Sysctl("net.ipv4.tcp_retries2", "3")) // 3 s instead of 15 minutes
	client, server := h.observed(t)
	_, to := h.serve(t, netlab.ServerConfig{})
	oracle := hosts.Watch(t, h.client)
	app, err := h.client.StartClient(t.Context(), netlab.ClientConfig{
		Targets: to, Connections: n, Stepwise: true, Upload: netlab.Exactly(1000), Download: netlab.Exactly(1000),
	})
	require.NoError(t, err)
	before, err := app.Exchange(t.Context())
	require.NoError(t, err)
	_, err = h.server.Link().Fault(netlab.Blackhole{}, netlab.Both)
	require.NoError(t, err)
	report, err := app.Exchange(t.Context())
	require.NoError(t, err)
	require.Equal(t, n, report.Severed)
	for _, c := range report.Conns {
		require.Equal(t, syscall.ETIMEDOUT, c.Errno, c.Err)
	}
	report, err = app.Stop(t.Context())
	require.NoError(t, err)
	kernel := oracle.Ended(t, n)
	points := client.points(t)
	assert.Equal(t, n, collector.Sum(points, flowattr.MetricConnectionsClosed, flowattr.ErrorType, flowattr.ErrorTimedOut))
	assert.Equal(t, n, collector.Sum(points, flowattr.MetricConnectionsClosed))
	equalApp(t, before.Written, before.Read, points, "client") // what was acknowledged, and no more
	equalKernel(t, kernel, points, "client")
	assert.GreaterOrEqual(t, collector.Sum(points, flowattr.MetricTimeouts, flowattr.Phase, flowattr.PhaseEstablished), 3*n)
	// Its server has heard nothing: to it they are open.
	of := server.points(t)
	assert.Zero(t, collector.Sum(of, flowattr.MetricConnectionsClosed))
	assert.Equal(t, n, newest(of, flowattr.MetricConnectionsOpen))
}

func TestConnectionsOpenBeforeTheStartAreAdopted(t *testing.T) {
	const n = 12
	h := newTwoHosts(t)
	server, to := h.serve(t, netlab.ServerConfig{})
	to = append(to, targetsOn(h.server.Addr6(), server.Port())...)
	app, err := h.client.StartClient(t.Context(), netlab.ClientConfig{
		Targets: to, Connections: n, Stepwise: true, Upload: netlab.Size{Min: 1, Max: 100_000}, Download: netlab.Size{Min: 1, Max: 100_000},
	})
	require.NoError(t, err)
	before, err := app.Exchange(t.Context())
	require.NoError(t, err)

	clientSubject, serverSubject := h.observed(t)
	// Adoption is off the start path; its first round shows the connections as open.
	require.Eventually(t, func() bool {
		return newest(clientSubject.sofar(t), flowattr.MetricConnectionsOpen) == n && newest(serverSubject.sofar(t), flowattr.MetricConnectionsOpen) == n
	}, 20*time.Second, 100*time.Millisecond)

	_, err = app.Exchange(t.Context())
	require.NoError(t, err)
	after, err := app.Stop(t.Context())
	require.NoError(t, err)
	_, err = server.Stop(t.Context())
	require.NoError(t, err)
	written, read := after.Written-before.Written, after.Read-before.Read
	clientPoints, serverPoints := clientSubject.points(t), serverSubject.points(t)
	equalApp(t, written, read, ofRole(clientPoints, "client"), "client")
	equalApp(t, read, written, ofRole(serverPoints, "server"), "server")
	for _, points := range [][]collector.Point{clientPoints, serverPoints} {
		assert.Equal(t, n, collector.Sum(points, flowattr.MetricConnectionsClosed, flowattr.ErrorType, ""))
		assert.Zero(t, collector.Sum(points, flowattr.MetricConnectionsOpened))
		assert.Zero(t, collector.Sum(points, flowattr.MetricConnectionsAttempted))
		assert.NotZero(t, collector.Sum(points, flowattr.MetricRTT))
	}
}
