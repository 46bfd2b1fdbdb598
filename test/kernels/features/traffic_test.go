// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package features

import (
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

const everyDetail = bpf.DetailLimits | bpf.DetailRetransmitType | bpf.DetailZeroWindows | bpf.DetailECN

// Traffic over a cable that loses packets, all options on, against the applications' own
// counts and the kernel's last word on each socket.
func TestCountersAreThoseOfTheKernel(t *testing.T) {
	l := newLab(t)
	delay := l.spoil(t, 0.03, 5*time.Millisecond)
	p := l.watch(t, bpf.Options{Detail: everyDetail, Containers: true})
	atClient, err := l.client.WatchDestroyed(t.Context())
	require.NoError(t, err)
	atServer, err := l.server.WatchDestroyed(t.Context())
	require.NoError(t, err)
	target := []netip.AddrPort{l.serve(t)}

	const short, long = 40, 4
	var app netlab.Report
	var b both
	b.while(t, p, func() {
		for _, c := range []netlab.ClientConfig{
			{Targets: target, Connections: short / 2, Concurrency: 5, Upload: netlab.Size{Min: 0, Max: 50_000}, Download: netlab.Size{Min: 0, Max: 200_000}, Seed: 1, Close: netlab.CloseByClient},
			{Targets: target, Connections: short / 2, Concurrency: 5, Upload: netlab.Size{Min: 1, Max: 50_000}, Download: netlab.Size{Min: 1, Max: 200_000}, Seed: 2, Close: netlab.CloseByServer},
			{Targets: target, Connections: long, Concurrency: long, Exchanges: 20, Upload: netlab.Size{Min: 1, Max: 20_000}, Download: netlab.Size{Min: 1, Max: 20_000}, Duplex: true, Seed: 3},
		} {
			r, err := l.client.RunClient(t.Context(), c)
			require.NoError(t, err)
			app.Opened += r.Opened
			app.Severed += r.Severed
			app.Written += r.Written
			app.Read += r.Read
		}
	})
	const n = short + long
	require.Equal(t, n, app.Opened)
	require.Zero(t, app.Severed)

	kernel := [2]netlab.Totals{destroyed(t, atClient, n), destroyed(t, atServer, n)}

	assert.EqualValues(t, app.Written, b.client.flow.Sent, "client sent")
	assert.EqualValues(t, app.Written, b.server.flow.Received, "server received")
	assert.EqualValues(t, app.Read, b.server.flow.Sent, "server sent")
	assert.EqualValues(t, app.Read, b.client.flow.Received, "client received")
	assert.EqualValues(t, n, b.client.flow.Attempted)
	assert.EqualValues(t, n, b.client.flow.Connect.Count)
	for i, s := range []*sums{&b.client, &b.server} {
		assert.EqualValues(t, n, s.flow.Opened)
		assert.Equal(t, [5]uint32{bpf.ClosedOrderly: n}, s.flow.Closed)
		assert.Zero(t, s.flow.Failed)
		assert.Equal(t, kernel[i].DataSegsOut, s.flow.SegmentsSent, "segments sent")
		assert.Equal(t, kernel[i].DataSegsIn, s.flow.SegmentsReceived, "segments received")
		assert.Equal(t, kernel[i].TotalRetrans, total(s.flow.Retransmissions[:]), "retransmissions")
	}
	assert.NotZero(t, kernel[0].TotalRetrans+kernel[1].TotalRetrans, "the loss was felt")
	found(t, "bytes, segments, connections, retransmissions", "exact (`TCP_INFO`)")

	timeouts(t, &b, kernel, l)
	roundTrips(t, p, &b, delay)
	retransmitTypes(t, &b)
	limits(t, p, &b, kernel)
	containers(t, l, p, &b)
}

// Before 6.7 no socket says how often its timer expired. The namespace does, for all of
// them (none of these connections gave up), and for SYN-ACKs that had no socket yet.
func timeouts(t *testing.T, b *both, kernel [2]netlab.Totals, l lab) {
	how := "exact, but for those of SYN-ACKs (RTO callback)"
	for i, s := range []*sums{&b.client, &b.server} {
		node := []*netlab.Node{l.client, l.server}[i]
		all := netstat(t, node, "netstat", "TcpExt", "TCPTimeouts")
		counted := total(s.flow.Timeouts[:])
		t.Logf("%d timeouts; the sockets' own: %d, the namespace's: %d", counted, kernel[i].TotalRTO, all)
		if since(t, 6, 7) {
			how = "exact (`total_rto`)"
			require.True(t, kernel[i].HasTotalRTO)
			assert.Equal(t, kernel[i].TotalRTO, counted, "timeouts")
			continue
		}
		assert.False(t, kernel[i].HasTotalRTO)
		synacks := 0
		if node == l.server {
			synacks = netstat(t, node, "netstat", "TcpExt", "TCPSynRetrans")
		}
		assert.LessOrEqual(t, int(counted), all, "timeouts")
		assert.GreaterOrEqual(t, int(counted), all-synacks, "timeouts")
	}
	found(t, "time-outs", how)
}

func roundTrips(t *testing.T, p *bpf.Sockops, b *both, delay time.Duration) {
	st, err := p.Stats()
	require.NoError(t, err)
	samples := b.client.flow.Rtt.Count + b.server.flow.Rtt.Count
	assert.NotZero(t, samples)
	// Timestamps of TCP are whole milliseconds, and a sample from them may be short by one.
	least := 2*delay - time.Millisecond
	assert.GreaterOrEqual(t, b.client.minRTT, least)
	assert.GreaterOrEqual(t, b.server.minRTT, least)
	if since(t, 6, 10) {
		assert.Zero(t, st.SmoothedRTT)
		found(t, "round-trip times", "every sample")
	} else {
		assert.NotZero(t, st.SmoothedRTT)
		assert.Less(t, st.SmoothedRTT, samples)
		found(t, "round-trip times", "smoothed, but for a connection's first sample")
	}
}

func retransmitTypes(t *testing.T, b *both) {
	for _, s := range []*sums{&b.client, &b.server} {
		assert.Equal(t, total(s.flow.Retransmissions[:]), s.retransmissionsOfType(), "all have a type")
		assert.Zero(t, s.retransmissionsOfType(bpf.RetransmitUntold))
	}
	found(t, "retransmissions by type", "all")
}

func limits(t *testing.T, p *bpf.Sockops, b *both, kernel [2]netlab.Totals) {
	for i, s := range []*sums{&b.client, &b.server} {
		counted := time.Duration(total(s.detail.Limits[:])) * p.Jiffy()
		said := time.Duration(kernel[i].Busy) * time.Microsecond
		// Whole jiffies, of 4 ms, read at CLOSE and a moment later, of each connection.
		assert.InDelta(t, said, counted, float64(kernel[i].Sockets)*float64(2*4*time.Millisecond))
		assert.NotZero(t, counted)
	}
	found(t, "what limits a sender", "as `TCP_INFO` says")
}

func containers(t *testing.T, l lab, p *bpf.Sockops, b *both) {
	for name, of := range map[*netlab.Node]*sums{l.client: &b.client, l.server: &b.server} {
		require.Len(t, of.cgroups, 1)
		for id := range of.cgroups {
			levels, err := p.CgroupNames(id)
			require.NoError(t, err)
			assert.True(t, slices.Contains(levels, filepath.Base(name.CgroupPath())), "%v has %s", levels, name.CgroupPath())
		}
	}
	found(t, "cgroup of a connection (containers)", "yes")
}

func TestConnectionsThatWereOpenAreAdopted(t *testing.T) {
	l := newLab(t)
	const n, up, down, header = 5, 1000, 2000, 40
	client, err := l.client.StartClient(t.Context(), netlab.ClientConfig{
		Targets: []netip.AddrPort{l.serve(t)}, Connections: n, Concurrency: n, Stepwise: true,
		Upload: netlab.Exactly(up), Download: netlab.Exactly(down),
	})
	require.NoError(t, err)
	exchange := func() {
		_, err := client.Exchange(t.Context())
		require.NoError(t, err)
	}
	exchange() // not ours: it was before

	p := l.watch(t, bpf.Options{})
	st, err := p.Adopt(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 2*n+1, st.Adopted, "both ends, and a listener")
	assert.GreaterOrEqual(t, st.Namespaces, 2)
	assert.Zero(t, st.NamespacesFailed)

	var b both
	exchange()
	require.NoError(t, p.Harvest(b.add))
	assert.EqualValues(t, n*(up+header), b.client.flow.Sent, "at a harvest, while they are open")
	exchange()
	_, err = client.Stop(t.Context())
	require.NoError(t, err)
	b.while(t, p, func() {})
	for _, s := range []*sums{&b.client, &b.server} {
		assert.Zero(t, s.flow.Opened)
		assert.EqualValues(t, n, s.flow.Closed[bpf.ClosedOrderly])
	}
	assert.EqualValues(t, 2*n*(up+header), b.client.flow.Sent, "and at their end")
	assert.EqualValues(t, 2*n*(up+header), b.server.flow.Received)
	assert.EqualValues(t, 2*n*down, b.server.flow.Sent)
	assert.EqualValues(t, 2*n*down, b.client.flow.Received)

	stats, err := p.Stats()
	require.NoError(t, err)
	if since(t, 6, 12) {
		assert.Zero(t, stats.Traced)
		assert.NotZero(t, b.client.flow.Rtt.Count)
		found(t, "connections from before the start", "adopted, as new ones")
	} else {
		assert.EqualValues(t, 2*n+1, stats.Traced)
		assert.Zero(t, b.client.flow.Rtt.Count)
		words := "adopted, without round-trip times"
		if !since(t, 6, 7) {
			words += " and time-outs"
		}
		found(t, "connections from before the start", words)
	}
}

// A reader that is slower than its peer closes its window.
func TestClosedWindowsAreCounted(t *testing.T) {
	l := newLab(t)
	p := l.watch(t, bpf.Options{Detail: bpf.DetailZeroWindows})
	target := []netip.AddrPort{l.serve(t)}
	var b both
	b.while(t, p, func() {
		_, err := l.client.RunClient(t.Context(), netlab.ClientConfig{Targets: target, Connections: 1, Download: netlab.Exactly(300_000), ReadRate: 200_000, ReceiveBuffer: 16 << 10})
		require.NoError(t, err)
	})
	closed := netstat(t, l.client, "netstat", "TcpExt", "TCPToZeroWindowAdv")
	assert.NotZero(t, closed)
	assert.NotZero(t, b.server.detail.ZeroWindows)
	// Acknowledgements that wait for the socket are merged: only the last window of them is seen.
	assert.LessOrEqual(t, int(b.server.detail.ZeroWindows), closed)
	found(t, "closed windows", "yes")
}

func TestSYNACKsOfHandshakesThatNeverCompleteAreCounted(t *testing.T) {
	l := newLab(t)
	require.NoError(t, l.server.Sysctl("net.ipv4.tcp_synack_retries", "1"))
	require.NoError(t, l.client.Sysctl("net.ipv4.tcp_syn_retries", "1"))
	// The server's answers are lost.
	if err := l.server.Do(func() error { return netem(1, 0) }); err != nil {
		_, err := l.client.Fault(netlab.Blackhole{}, netlab.In)
		require.NoError(t, err)
	}
	p := l.watch(t, bpf.Options{})
	r, err := l.client.RunClient(t.Context(), netlab.ClientConfig{Targets: []netip.AddrPort{l.serve(t)}, Connections: 3, Concurrency: 3, Upload: netlab.Exactly(1)})
	require.NoError(t, err)
	require.Equal(t, 3, r.Failed)
	var b both
	b.while(t, p, func() {})
	assert.EqualValues(t, 3, b.client.flow.Failed[bpf.FailedTimedOut])
	counts, err := p.SynAcks()
	require.NoError(t, err)
	var sum int64
	for _, n := range counts {
		sum += n
	}
	kernel := netstat(t, l.server, "netstat", "TcpExt", "TCPSynRetrans")
	assert.NotZero(t, kernel)
	assert.EqualValues(t, kernel, sum)
	found(t, "SYN-ACKs of handshakes that never complete", "exact (nstat)")
}

func TestWithNATAConnectionThatIsNotTranslatedIsAFlow(t *testing.T) {
	l := newLab(t)
	p := l.watch(t, bpf.Options{NAT: true})
	target := l.serve(t)
	_, err := l.client.RunClient(t.Context(), netlab.ClientConfig{Targets: []netip.AddrPort{target}, Connections: 3, Upload: netlab.Exactly(100)})
	require.NoError(t, err)
	clients := map[uint16]uint64{}
	require.Eventually(t, func() bool {
		require.NoError(t, p.Harvest(func(k *bpf.FlowKey, f *bpf.Flow, _ *bpf.Detail) {
			if k.Role == bpf.RoleClient && k.Kind == bpf.KindConnection {
				assert.Equal(t, target.Port(), k.PeerPort)
				clients[k.LocalPort] += f.Sent
			}
		}))
		return len(clients) == 3
	}, 10*time.Second, 50*time.Millisecond)
	found(t, "both ends behind NAT", "yes")
}
