// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"golang.org/x/sys/unix"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
)

// killable is a collector whose rounds the sink has, or has not, when it is killed: nothing
// of it is in a queue.
func killable(cgroup, pinPath string, sink *collector.Sink) string {
	return fmt.Sprintf(`
receivers:
  sockops: {collection_interval: 1s, jitter: 0s, cgroup_path: %q, pin_path: %q}
exporters:
  otlp_http: {endpoint: %q, compression: none, sending_queue: {enabled: false}, retry_on_failure: {enabled: false}}
extensions:
  health_check: {endpoint: {{health}}}
service:
  extensions: [health_check]
  telemetry: {metrics: {level: none}}
  pipelines:
    metrics: {receivers: [sockops], exporters: [otlp_http]}
`, cgroup, pinPath, sink.URL)
}

// attached counts the sockops programs that are attached to a cgroup itself.
func attached(t testing.TB, cgroup string) int {
	t.Helper()
	dir, err := os.Open(cgroup)
	require.NoError(t, err)
	defer dir.Close()
	found, err := link.QueryPrograms(link.QueryOptions{Target: int(dir.Fd()), Attach: ebpf.AttachCGroupSockOps})
	require.NoError(t, err)
	return len(found.Programs)
}

// once leaves out rounds that came a second time. They have the time that they had.
func once(t testing.TB, batches []pmetric.Metrics) (kept []pmetric.Metrics, again int) {
	t.Helper()
	seen := map[pcommon.Timestamp]pmetric.Metrics{}
	for _, b := range batches {
		points := collector.Points([]pmetric.Metrics{b})
		require.NotEmpty(t, points)
		end := points[0].End
		if first, ok := seen[end]; ok {
			again++
			for _, metric := range []string{flowattr.MetricSent, flowattr.MetricReceived, flowattr.MetricConnectionsOpened, flowattr.MetricConnectionsClosed} {
				assert.Equal(t, collector.Sum(collector.Points([]pmetric.Metrics{first}), metric), collector.Sum(points, metric), "the same round is the same")
			}
			continue
		}
		seen[end] = b
		kept = append(kept, b)
	}
	return kept, again
}

// Connections open, close and live while the collector is killed again and again, most
// often while the sink has a round.
func TestACollectorThatIsKilledAgainAndAgainLosesNothingWithPins(t *testing.T) {
	kills := 4
	if os.Getenv("FLOWMONITOR_LONG") != "" { // make test-continuity
		kills = 60
	}
	h := newTwoHosts(t)
	_, err := h.server.Link().Fault(netlab.Loss{Rate: 0.002}, netlab.Both)
	require.NoError(t, err)
	bpffs := filepath.Join(t.TempDir(), "bpf")
	require.NoError(t, os.Mkdir(bpffs, 0o700))
	require.NoError(t, unix.Mount("bpf", bpffs, "bpf", 0, ""))
	t.Cleanup(func() { assert.NoError(t, unix.Unmount(bpffs, unix.MNT_DETACH)) })
	sink := collector.NewSink(t, 600*time.Millisecond)
	config := killable(h.client.CgroupPath(), filepath.Join(bpffs, "flowmonitor"), sink)
	kernel := watch(t, h.client)

	process := collector.Start(t, config)
	server, err := h.server.StartServer(t.Context(), netlab.ServerConfig{Listen: netip.MustParseAddrPort("0.0.0.0:0"), Summary: true})
	require.NoError(t, err)
	target := []netip.AddrPort{netip.AddrPortFrom(h.server.Addr4(), server.Port())}
	short, err := h.client.StartClient(t.Context(), netlab.ClientConfig{
		Targets: target, Concurrency: 4, Interval: 5 * time.Millisecond, Upload: netlab.Size{Max: 5000}, Download: netlab.Size{Max: 5000}, Seed: 1, Summary: true,
	})
	require.NoError(t, err)
	lasting, err := h.client.StartClient(t.Context(), netlab.ClientConfig{
		Targets: target, Connections: 5, Concurrency: 5, Stepwise: true, Upload: netlab.Exactly(10_000), Download: netlab.Exactly(20_000), Summary: true,
	})
	require.NoError(t, err)
	for range kills {
		time.Sleep(rand.N(2 * time.Second)) // any moment of a round
		process.Kill(t)
		assert.Equal(t, 1, attached(t, h.client.CgroupPath()), "the kernel goes on")
		_, err := lasting.Exchange(t.Context())
		require.NoError(t, err)
		process = collector.Start(t, config)
	}
	sums := netlab.Report{}
	for _, c := range []*netlab.Client{short, lasting} {
		r, err := c.Stop(t.Context())
		require.NoError(t, err)
		sums.Opened, sums.Written, sums.Read = sums.Opened+r.Opened, sums.Written+r.Written, sums.Read+r.Read
	}
	want := kernel.ended(t, sums.Opened)
	process.Stop(t)

	batches, again := once(t, sink.Batches())
	points := collector.Points(batches)
	assert.EqualValues(t, sums.Written, collector.Sum(points, flowattr.MetricSent))
	assert.EqualValues(t, sums.Read, collector.Sum(points, flowattr.MetricReceived))
	assert.EqualValues(t, sums.Opened, collector.Sum(points, flowattr.MetricConnectionsOpened))
	assert.EqualValues(t, sums.Opened, collector.Sum(points, flowattr.MetricConnectionsClosed))
	assert.EqualValues(t, want.DataSegsOut, collector.Sum(points, flowattr.MetricSegmentsSent))
	assert.EqualValues(t, want.DataSegsIn, collector.Sum(points, flowattr.MetricSegmentsReceived))
	assert.EqualValues(t, want.TotalRetrans, collector.Sum(points, flowattr.MetricRetransmissions))
	assert.EqualValues(t, want.TotalRTO, collector.Sum(points, flowattr.MetricTimeouts))
	assert.LessOrEqual(t, again, kills, "at most one round a kill")
	assert.Zero(t, collector.Sum(points, flowattr.MetricSent, flowattr.Role, "unknown"))

	// Rounds follow each other without gap or overlap.
	var last pcommon.Timestamp
	for _, b := range batches {
		begin, end := pcommon.Timestamp(0), pcommon.Timestamp(0)
		for _, p := range collector.Points([]pmetric.Metrics{b}) {
			if p.Metric == flowattr.MetricSent {
				begin, end = max(begin, p.Start), p.End
			}
		}
		if last != 0 && end != 0 {
			assert.Equal(t, last, begin)
		}
		last = end
	}
	t.Logf("%d connections, %d retransmissions, %d kills: %d rounds came twice", sums.Opened, want.TotalRetrans, kills, again)
}

func TestACollectorThatIsKilledWithoutPinsLeavesNothingAttached(t *testing.T) {
	h := newTwoHosts(t)
	sink := collector.NewSink(t, time.Millisecond)
	config := killable(h.client.CgroupPath(), "", sink)
	server, err := h.server.StartServer(t.Context(), netlab.ServerConfig{Listen: netip.MustParseAddrPort("0.0.0.0:0"), Summary: true})
	require.NoError(t, err)
	client, err := h.client.StartClient(t.Context(), netlab.ClientConfig{
		Targets:     []netip.AddrPort{netip.AddrPortFrom(h.server.Addr4(), server.Port())},
		Connections: 3, Concurrency: 3, Stepwise: true, Upload: netlab.Exactly(10_000), Summary: true,
	})
	require.NoError(t, err)
	sent := func() int { return collector.Sum(collector.Points(sink.Batches()), flowattr.MetricSent) }
	open := func() int {
		batches := sink.Batches()
		if len(batches) == 0 {
			return 0
		}
		return collector.Sum(collector.Points(batches[len(batches)-1:]), flowattr.MetricConnectionsOpen)
	}
	var written int64
	exchange := func() int { // gives what it wrote
		r, err := client.Exchange(t.Context())
		require.NoError(t, err)
		defer func() { written = r.Written }()
		return int(r.Written - written)
	}

	for range 2 {
		process := collector.Start(t, config)
		require.Eventually(t, func() bool { return open() == 3 }, 20*time.Second, 50*time.Millisecond, "adopted")
		n := exchange()
		require.Eventually(t, func() bool { return sent() == n }, 20*time.Second, 50*time.Millisecond, "and counted since")
		process.Kill(t)
		require.Eventually(t, func() bool { return attached(t, h.client.CgroupPath()) == 0 }, 5*time.Second, 10*time.Millisecond)
		exchange() // nobody counts
		assert.Equal(t, n, sent())
		sink.Forget()
	}
	_, err = client.Stop(t.Context())
	require.NoError(t, err)
}
