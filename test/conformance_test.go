// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
)

// twoHosts is a client and a server with a router between them.
type twoHosts struct {
	client, server *netlab.Node
}

func newTwoHosts(t testing.TB) twoHosts {
	t.Helper()
	var h twoHosts
	newLab(t, func(lab *netlab.Lab) {
		router := lab.Router("router")
		h.client = router.Host("client", "10.0.0.1", "fd00::1")
		h.server = router.Host("server", "10.0.1.1", "fd00:1::1")
	})
	return h
}

// receivers is a collector that plays both hosts and writes every point to a file.
// Rounds are as short as they may be, so that much happens while the kernel is read.
func (h twoHosts) receivers(more string) string {
	return fmt.Sprintf(`
receivers:
  sockops/client: {collection_interval: 1s, jitter: 0s, cgroup_path: %q, resource: {host.id: client}%[3]s}
  sockops/server: {collection_interval: 1s, jitter: 0s, cgroup_path: %[2]q, resource: {host.id: server}%[3]s}
exporters:
  file: {path: {{output}}}
extensions:
  health_check: {endpoint: {{health}}}
service:
  extensions: [health_check]
  telemetry: {metrics: {level: none}}
  pipelines:
    metrics: {receivers: [sockops/client, sockops/server], exporters: [file]}
`, h.client.CgroupPath(), h.server.CgroupPath(), more)
}

// ofHost keeps the points of one host.
func ofHost(points []collector.Point, host string) (kept []collector.Point) {
	for _, p := range points {
		if id, ok := p.Resource.Get("host.id"); ok && id.Str() == host {
			kept = append(kept, p)
		}
	}
	return kept
}

// oracle watches the end of every socket of a host, by ss and by netlink: iproute2 6.1
// does not print total_rto.
type oracle struct {
	ss, netlink *netlab.DestroyWatch
}

func watch(t testing.TB, n *netlab.Node) oracle {
	t.Helper()
	var o oracle
	var err error
	o.ss, err = n.WatchDestroyedBySS(t.Context())
	require.NoError(t, err)
	o.netlink, err = n.WatchDestroyed(t.Context())
	require.NoError(t, err)
	return o
}

// ended waits for the ends of n connections and sums up their counters.
func (o oracle) ended(t testing.TB, n int) netlab.Totals {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	enough := func(ds []netlab.Destroyed) bool { return len(connections(ds)) >= n }
	_, err := o.ss.WaitFor(ctx, "connections of ss", enough)
	require.NoError(t, err)
	_, err = o.netlink.WaitFor(ctx, "connections of netlink", enough)
	require.NoError(t, err)
	bySS, err := o.ss.Close() // reports overruns
	require.NoError(t, err)
	byNetlink, err := o.netlink.Close()
	require.NoError(t, err)
	sum := netlab.Sum(connections(bySS))
	require.Equal(t, n, sum.Sockets, "connections that ended")
	// What iproute2 6.1 does not print, or rounds.
	more := netlab.Sum(connections(byNetlink))
	sum.TotalRTO, sum.DSACKs, sum.DeliveredCE = more.TotalRTO, more.DSACKs, more.DeliveredCE
	sum.Busy, sum.ReceiverWindowLimited, sum.SendBufferLimited = more.Busy, more.ReceiverWindowLimited, more.SendBufferLimited
	return sum
}

func connections(ds []netlab.Destroyed) (kept []netlab.Destroyed) {
	for _, d := range ds {
		if !d.Listener() {
			kept = append(kept, d)
		}
	}
	return kept
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
				if loss > 0 {
					_, err := h.server.Link().Fault(netlab.Loss{Rate: loss}, netlab.Both)
					require.NoError(t, err)
				}
				atClient, atServer := watch(t, h.client), watch(t, h.server)
				process := collector.Start(t, h.receivers(""))

				server, err := h.server.StartServer(t.Context(), netlab.ServerConfig{Listen: netip.AddrPortFrom(family.listen, 0)})
				require.NoError(t, err)
				address := h.server.Addr4()
				if family.kind == flowattr.TypeIPv6 {
					address = h.server.Addr6()
				}
				target := []netip.AddrPort{netip.AddrPortFrom(address, server.Port())}
				app := runAll(t, h.client, []netlab.ClientConfig{
					// Short ones, closed by either end, and long ones that go on over several rounds.
					{Targets: target, Mapped: family.mapped, Connections: 100, Concurrency: 10, Upload: netlab.Size{Min: 0, Max: 300_000}, Download: netlab.Size{Min: 0, Max: 300_000}, Seed: 1, Close: netlab.CloseByClient},
					{Targets: target, Mapped: family.mapped, Connections: 80, Concurrency: 10, Upload: netlab.Size{Min: 1, Max: 100_000}, Download: netlab.Size{Min: 1, Max: 1_000_000}, Seed: 2, Close: netlab.CloseByServer},
					{Targets: target, Mapped: family.mapped, Connections: 20, Concurrency: 20, Exchanges: 40, Upload: netlab.Size{Min: 1, Max: 50_000}, Download: netlab.Size{Min: 1, Max: 50_000}, Duplex: true, Seed: 3},
				})
				const n = 200
				require.Equal(t, n, app.Opened)
				require.Zero(t, app.Severed)

				kernelClient, kernelServer := atClient.ended(t, n), atServer.ended(t, n)
				process.Stop(t)
				points := collector.Points(process.Read(t))
				client, srv := ofHost(points, "client"), ofHost(points, "server")

				assert.EqualValues(t, app.Written, collector.Sum(client, flowattr.MetricSent), "client sent")
				assert.EqualValues(t, app.Written, collector.Sum(srv, flowattr.MetricReceived), "server received")
				assert.EqualValues(t, app.Read, collector.Sum(srv, flowattr.MetricSent), "server sent")
				assert.EqualValues(t, app.Read, collector.Sum(client, flowattr.MetricReceived), "client received")
				equalKernel(t, kernelClient, client)
				equalKernel(t, kernelServer, srv)
				if loss > 0 {
					assert.NotZero(t, kernelClient.TotalRetrans+kernelServer.TotalRetrans, "the loss was felt")
				}

				assert.Equal(t, n, collector.Sum(client, flowattr.MetricConnectionsAttempted))
				assert.Equal(t, n, collector.Sum(client, flowattr.MetricConnectionsOpened))
				assert.Equal(t, n, collector.Sum(srv, flowattr.MetricConnectionsOpened))
				assert.Equal(t, n, collector.Sum(client, flowattr.MetricConnectDuration))
				assert.Equal(t, n, collector.Sum(client, flowattr.MetricConnectionsClosed, flowattr.ErrorType, ""))
				assert.Equal(t, n, collector.Sum(srv, flowattr.MetricConnectionsClosed, flowattr.ErrorType, ""))
				assert.Zero(t, collector.Sum(points, flowattr.MetricConnectionsFailed))
				for _, p := range points {
					if p.Metric == flowattr.MetricListenDrops { // a listener has no network type
						continue
					}
					require.Equal(t, family.kind, p.Attribute(flowattr.NetworkType))
				}
				contiguous(t, points)
			})
		}
	}
}

// equalKernel compares with the sums of the final TCP_INFO of the same sockets.
func equalKernel(t testing.TB, kernel netlab.Totals, points []collector.Point) {
	t.Helper()
	assert.EqualValues(t, kernel.DataSegsOut, collector.Sum(points, flowattr.MetricSegmentsSent), "segments sent")
	assert.EqualValues(t, kernel.DataSegsIn, collector.Sum(points, flowattr.MetricSegmentsReceived), "segments received")
	assert.EqualValues(t, kernel.TotalRetrans, collector.Sum(points, flowattr.MetricRetransmissions), "retransmissions")
	assert.EqualValues(t, kernel.TotalRTO, collector.Sum(points, flowattr.MetricTimeouts), "timeouts")
}

// contiguous checks that each point of a stream starts where the one before it ended.
func contiguous(t testing.TB, points []collector.Point) {
	t.Helper()
	ends := map[string]collector.Point{}
	for _, p := range points {
		if p.Metric == flowattr.MetricConnectionsOpen { // a gauge
			continue
		}
		stream := fmt.Sprint(p.Resource.AsRaw(), p.Metric, p.Attributes.AsRaw())
		if before, ok := ends[stream]; ok {
			require.Equal(t, before.End, p.Start, stream)
		}
		require.Less(t, p.Start, p.End, stream)
		ends[stream] = p
	}
}

// runAll runs clients side by side and adds up what they report.
func runAll(t testing.TB, n *netlab.Node, configs []netlab.ClientConfig) (sum netlab.Report) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	var clients []*netlab.Client
	for _, c := range configs {
		c.Summary = true
		client, err := n.StartClient(ctx, c)
		require.NoError(t, err)
		clients = append(clients, client)
	}
	for _, c := range clients {
		r, err := c.Wait(ctx)
		require.NoError(t, err)
		sum.Attempted += r.Attempted
		sum.Opened += r.Opened
		sum.Failed += r.Failed
		sum.Severed += r.Severed
		sum.Written += r.Written
		sum.Read += r.Read
	}
	return sum
}
