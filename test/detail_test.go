// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package test

import (
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
)

const everyDetail = ", detail: [limits, retransmit_type, zero_windows, ecn, netns]"

// nstat gives the counters of a host's network namespace since it was made.
func nstat(t testing.TB, n *netlab.Node) map[string]int {
	t.Helper()
	out, err := exec.Command("nsenter", "--net="+n.NetnsPath(), "nstat", "--zeros", "--ignore", "--noupdate").Output()
	require.NoError(t, err)
	counters := map[string]int{}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] != "#kernel" {
			counters[f[0]], err = strconv.Atoi(f[1])
			require.NoError(t, err, line)
		}
	}
	return counters
}

// transfer runs clients to their end, and gives what the kernel and what the collector
// counted of it.
func (h twoHosts) transfer(t *testing.T, n int, configs ...netlab.ClientConfig) (client, server netlab.Totals, points []collector.Point) {
	t.Helper()
	atClient, atServer := watch(t, h.client), watch(t, h.server)
	process := collector.Start(t, h.receivers(everyDetail))
	app, err := h.server.StartServer(t.Context(), netlab.ServerConfig{Listen: netip.MustParseAddrPort("0.0.0.0:0")})
	require.NoError(t, err)
	for i := range configs {
		configs[i].Targets = []netip.AddrPort{netip.AddrPortFrom(h.server.Addr4(), app.Port())}
	}
	runAll(t, h.client, configs)
	client, server = atClient.ended(t, n), atServer.ended(t, n)
	process.Stop(t)
	return client, server, collector.Points(process.Read(t))
}

func TestRetransmissionsByTypeAreAllOfThem(t *testing.T) {
	h := newTwoHosts(t)
	_, err := h.server.Link().Fault(netlab.Loss{Rate: 0.03}, netlab.Both)
	require.NoError(t, err)
	clientKernel, serverKernel, points := h.transfer(t, 120,
		netlab.ClientConfig{Connections: 100, Concurrency: 10, Upload: netlab.Size{Min: 0, Max: 300_000}, Download: netlab.Size{Min: 1, Max: 1_000_000}, Seed: 1},
		netlab.ClientConfig{Connections: 20, Concurrency: 20, Exchanges: 40, Upload: netlab.Size{Min: 1, Max: 50_000}, Download: netlab.Size{Min: 1, Max: 50_000}, Seed: 2})

	for _, side := range []struct {
		host   string
		node   *netlab.Node
		kernel netlab.Totals
	}{{"client", h.client, clientKernel}, {"server", h.server, serverKernel}} {
		of := ofHost(points, side.host)
		byType := func(kind string) int {
			return collector.Sum(of, flowattr.MetricRetransmissions, flowattr.RetransmitType, kind)
		}
		fast, probe, timeout, spurious := byType(flowattr.RetransmitFast), byType(flowattr.RetransmitTailLossProbe), byType(flowattr.RetransmitTimeout), byType(flowattr.RetransmitSpurious)
		ns := nstat(t, side.node)
		t.Logf("%s: fast %d, probe %d, timeout %d, spurious %d; %v retransmitted, kernel: fast %d, slow start %d, probes %d, timeouts %d, DSACKs %d", side.host,
			fast, probe, timeout, spurious, side.kernel.TotalRetrans, ns["TcpExtTCPFastRetrans"], ns["TcpExtTCPSlowStartRetrans"], ns["TcpExtTCPLossProbes"], ns["TcpExtTCPTimeouts"], side.kernel.DSACKs)

		assert.EqualValues(t, side.kernel.TotalRetrans, collector.Sum(of, flowattr.MetricRetransmissions))
		assert.EqualValues(t, side.kernel.TotalRetrans, fast+probe+timeout+spurious, "none is left untold")
		// A DSACK that comes in a later round than what it is about finds it counted.
		assert.LessOrEqual(t, spurious, int(side.kernel.DSACKs))
		assert.GreaterOrEqual(t, 2*spurious, int(side.kernel.DSACKs))
		// The kernel does not know at first which ones are spurious.
		assert.LessOrEqual(t, fast, ns["TcpExtTCPFastRetrans"])
		assert.GreaterOrEqual(t, fast+spurious, ns["TcpExtTCPFastRetrans"])
		assert.LessOrEqual(t, probe, ns["TcpExtTCPLossProbes"], "of which some carry new data")
		assert.GreaterOrEqual(t, timeout+spurious, ns["TcpExtTCPSlowStartRetrans"])
		assert.NotZero(t, fast)
	}
	for _, p := range points {
		if p.Metric != flowattr.MetricSynAckRetransmissions {
			assert.NotEmpty(t, p.Attribute(flowattr.Netns), p.Metric)
		}
	}
}

func TestWhatASenderWaitsForIsWhatTheKernelSays(t *testing.T) {
	h := newTwoHosts(t)
	clientKernel, serverKernel, points := h.transfer(t, 15,
		// One end reads at a fraction of what the other could send: its window closes.
		netlab.ClientConfig{Connections: 3, Concurrency: 3, Upload: netlab.Size{Min: 3_000_000, Max: 3_000_000}, ServerReadRate: 1_000_000, Seed: 1},
		netlab.ClientConfig{Connections: 2, Concurrency: 2, Download: netlab.Size{Min: 300_000, Max: 300_000}, ReadRate: 100_000, ReceiveBuffer: 16 << 10, Seed: 1},
		netlab.ClientConfig{Connections: 10, Concurrency: 2, Upload: netlab.Size{Min: 1, Max: 1_000_000}, Download: netlab.Size{Min: 1, Max: 1_000_000}, Seed: 2})

	for host, kernel := range map[string]netlab.Totals{"client": clientKernel, "server": serverKernel} {
		of := ofHost(points, host)
		limited := func(by string) time.Duration {
			var seconds float64
			for _, p := range of {
				if p.Metric == flowattr.MetricTime && p.Attribute(flowattr.Limit) == by {
					seconds += p.Value
				}
			}
			return time.Duration(seconds * float64(time.Second))
		}
		micros := func(us uint64) time.Duration { return time.Duration(us) * time.Microsecond }
		// Both are sums of whole jiffies, read at CLOSE and a moment later.
		const jiffies = 15 * 2 * 4 * time.Millisecond
		busy, window, buffer := limited(flowattr.LimitBusy), limited(flowattr.LimitReceiverWindow), limited(flowattr.LimitSendBuffer)
		t.Logf("%s: busy %v, receiver's window %v, send buffer %v; kernel: %v, %v, %v", host, busy, window, buffer, micros(kernel.Busy), micros(kernel.ReceiverWindowLimited), micros(kernel.SendBufferLimited))
		assert.InDelta(t, micros(kernel.Busy), busy+window+buffer, float64(jiffies))
		assert.InDelta(t, micros(kernel.ReceiverWindowLimited), window, float64(jiffies))
		assert.InDelta(t, micros(kernel.SendBufferLimited), buffer, float64(jiffies))
		assert.Greater(t, window, 4*time.Second, "two or three transfers of three seconds to a slow reader")
	}
	closed := nstat(t, h.client)["TcpExtTCPToZeroWindowAdv"]
	seen := collector.Sum(ofHost(points, "server"), flowattr.MetricZeroWindows)
	t.Logf("closed windows: %d announced, %d seen", closed, seen)
	assert.NotZero(t, seen)
	// Acknowledgements that wait for the socket are merged: only the last window of them is seen.
	assert.LessOrEqual(t, seen, closed)
}

func TestCongestionMarksAreThoseThatThePeerEchoes(t *testing.T) {
	h := newTwoHosts(t)
	for _, n := range []*netlab.Node{h.client, h.server} {
		require.NoError(t, n.Sysctl("net.ipv4.tcp_ecn", "1"))
	}
	// A router under load marks one in twenty packets of those that may be marked.
	out, err := h.server.Command(t.Context(), "nft", "add table inet marks; add chain inet marks in { type filter hook prerouting priority mangle; }; "+
		"add rule inet marks in ip ecn ect0 numgen random mod 20 == 0 ip ecn set ce").CombinedOutput()
	require.NoError(t, err, string(out))
	clientKernel, _, points := h.transfer(t, 20,
		netlab.ClientConfig{Connections: 20, Concurrency: 5, Upload: netlab.Size{Min: 100_000, Max: 1_000_000}, Seed: 1})
	assert.NotZero(t, clientKernel.DeliveredCE)
	assert.EqualValues(t, clientKernel.DeliveredCE, collector.Sum(ofHost(points, "client"), flowattr.MetricECNMarks))
	assert.Zero(t, collector.Sum(ofHost(points, "server"), flowattr.MetricECNMarks), "its path is not marked")
}

func TestSYNACKsOfHandshakesThatNeverCompleteAreCountedByNamespace(t *testing.T) {
	h := newTwoHosts(t)
	require.NoError(t, h.server.Sysctl("net.ipv4.tcp_synack_retries", "2"))
	require.NoError(t, h.client.Sysctl("net.ipv4.tcp_syn_retries", "2"))
	_, err := h.client.Fault(netlab.Blackhole{}, netlab.In)
	require.NoError(t, err)
	process := collector.Start(t, h.receivers(everyDetail))
	app, err := h.server.StartServer(t.Context(), netlab.ServerConfig{Listen: netip.MustParseAddrPort("0.0.0.0:0")})
	require.NoError(t, err)
	const n = 10
	r := runAll(t, h.client, []netlab.ClientConfig{{
		Targets: []netip.AddrPort{netip.AddrPortFrom(h.server.Addr4(), app.Port())}, Connections: n, Concurrency: n, Upload: netlab.Exactly(1),
	}})
	require.Equal(t, n, r.Failed)
	process.Stop(t)
	points := ofHost(collector.Points(process.Read(t)), "server")
	kernel := nstat(t, h.server)
	assert.GreaterOrEqual(t, kernel["TcpExtTCPSynRetrans"], 2*n)
	assert.Equal(t, kernel["TcpExtTCPSynRetrans"], collector.Sum(points, flowattr.MetricSynAckRetransmissions))
	assert.Equal(t, kernel["TcpRetransSegs"], collector.Sum(points, flowattr.MetricSynAckRetransmissions))
	assert.Zero(t, collector.Sum(points, flowattr.MetricRetransmissions))
	for _, p := range points {
		if p.Metric == flowattr.MetricSynAckRetransmissions {
			assert.Equal(t, 1, p.Attributes.Len(), "the network namespace alone: %v", p.Attributes.AsRaw())
		}
	}
}
