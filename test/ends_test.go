// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package test

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
)

func TestFailedConnectionsAreCountedAsWhatTheyWere(t *testing.T) {
	const n = 7
	for _, tt := range []struct {
		name  string
		fault netlab.Fault
		errno syscall.Errno
		want  string
	}{
		{"refused", netlab.Refused{}, syscall.ECONNREFUSED, flowattr.ErrorRefused},
		{"unreachable", netlab.Unreachable{}, syscall.EHOSTUNREACH, flowattr.ErrorUnreachable},
		{"timed out", netlab.Blackhole{}, syscall.ETIMEDOUT, flowattr.ErrorTimedOut},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newTwoHosts(t)
			require.NoError(t, h.client.Sysctl("net.ipv4.tcp_syn_retries", "1"))
			require.NoError(t, h.client.Sysctl("net.ipv4.tcp_syn_linear_timeouts", "0"))
			process := collector.Start(t, h.receivers(""))
			server, err := h.server.StartServer(t.Context(), netlab.ServerConfig{Listen: netip.MustParseAddrPort("0.0.0.0:0")})
			require.NoError(t, err)
			_, err = h.server.Link().Fault(tt.fault, netlab.Both)
			require.NoError(t, err)
			// An answer that comes back within connect() itself, as only one machine can give it, meets a
			// socket in use: the kernel keeps an ICMP error then as a hint, and the application closes.
			_, err = h.client.Link().Fault(netlab.Delay{Delay: 5 * time.Millisecond}, netlab.Both)
			require.NoError(t, err)
			app, err := h.client.RunClient(t.Context(), netlab.ClientConfig{
				Targets:     []netip.AddrPort{netip.AddrPortFrom(h.server.Addr4(), server.Port())},
				Connections: n, Concurrency: n,
			})
			require.NoError(t, err)
			for _, c := range app.Conns {
				require.Equal(t, tt.errno, c.Errno)
			}
			process.Stop(t)
			points := ofHost(collector.Points(process.Read(t)), "client")
			assert.Equal(t, n, collector.Sum(points, flowattr.MetricConnectionsAttempted))
			assert.Zero(t, collector.Sum(points, flowattr.MetricConnectionsOpened))
			assert.Equal(t, n, collector.Sum(points, flowattr.MetricConnectionsFailed, flowattr.ErrorType, tt.want))
			assert.Equal(t, n, collector.Sum(points, flowattr.MetricConnectionsFailed))
			assert.Zero(t, collector.Sum(points, flowattr.MetricSent))
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
			process := collector.Start(t, h.receivers(""))
			server, err := h.server.StartServer(t.Context(), netlab.ServerConfig{Listen: netip.MustParseAddrPort("0.0.0.0:0")})
			require.NoError(t, err)
			app := runAll(t, h.client, []netlab.ClientConfig{{
				Targets:     []netip.AddrPort{netip.AddrPortFrom(h.server.Addr4(), server.Port())},
				Connections: n, Upload: netlab.Exactly(1000), Download: netlab.Exactly(1000), Close: tt.mode,
			}})
			_, err = server.Stop(t.Context())
			require.NoError(t, err)
			process.Stop(t)
			points := collector.Points(process.Read(t))
			for host, want := range map[string]string{"client": tt.client, "server": tt.server} {
				of := ofHost(points, host)
				assert.Equal(t, n, collector.Sum(of, flowattr.MetricConnectionsClosed, flowattr.ErrorType, want), host)
				assert.Equal(t, n, collector.Sum(of, flowattr.MetricConnectionsClosed), host)
			}
			assert.EqualValues(t, app.Written, collector.Sum(ofHost(points, "server"), flowattr.MetricReceived))
		})
	}
}

func TestConnectionsOpenBeforeTheStartAreAdopted(t *testing.T) {
	const n = 12
	h := newTwoHosts(t)
	server, err := h.server.StartServer(t.Context(), netlab.ServerConfig{Listen: netip.MustParseAddrPort("[::]:0")})
	require.NoError(t, err)
	client, err := h.client.StartClient(t.Context(), netlab.ClientConfig{
		Targets:     []netip.AddrPort{netip.AddrPortFrom(h.server.Addr4(), server.Port()), netip.AddrPortFrom(h.server.Addr6(), server.Port())},
		Connections: n, Stepwise: true, Upload: netlab.Size{Min: 1, Max: 100_000}, Download: netlab.Size{Min: 1, Max: 100_000},
	})
	require.NoError(t, err)
	before, err := client.Exchange(t.Context())
	require.NoError(t, err)

	process := collector.Start(t, h.receivers(""))
	// Adoption is off the start path; its first round shows the connections as open.
	require.Eventually(t, func() bool {
		points := collector.Points(process.Read(t))
		return open(points, "client") == n && open(points, "server") == n
	}, 20*time.Second, 100*time.Millisecond)

	_, err = client.Exchange(t.Context())
	require.NoError(t, err)
	after, err := client.Stop(t.Context())
	require.NoError(t, err)
	_, err = server.Stop(t.Context())
	require.NoError(t, err)
	process.Stop(t)

	points := collector.Points(process.Read(t))
	for host, role := range map[string]string{"client": "client", "server": "server"} {
		of := ofHost(points, host)
		written, read := after.Written-before.Written, after.Read-before.Read
		if host == "server" {
			written, read = read, written
		}
		assert.EqualValues(t, written, collector.Sum(of, flowattr.MetricSent, flowattr.Role, role), host)
		assert.EqualValues(t, read, collector.Sum(of, flowattr.MetricReceived, flowattr.Role, role), host)
		assert.Equal(t, n, collector.Sum(of, flowattr.MetricConnectionsClosed, flowattr.ErrorType, ""), host)
		assert.Zero(t, collector.Sum(of, flowattr.MetricConnectionsOpened), host)
		assert.NotZero(t, collector.Sum(of, flowattr.MetricRTT), host)
	}
}

// open is the number of open connections in the newest round of a host.
func open(points []collector.Point, host string) (n int) {
	newest := map[string]int{}
	for _, p := range ofHost(points, host) {
		if p.Metric == flowattr.MetricConnectionsOpen {
			newest[p.Attribute(flowattr.NetworkType)+p.Attribute(flowattr.Phase)] = int(p.Value)
		}
	}
	for _, v := range newest {
		n += v
	}
	return n
}
