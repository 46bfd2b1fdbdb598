// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sockopsreceiver

import (
	"flag"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/golden"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/pdatatest/pmetrictest"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

var update = flag.Bool("update", false, "write the golden files and the tables of the README")

func address(s string) [16]byte { return netip.MustParseAddr(s).As16() }

var (
	web = bpf.FlowKey{Local: address("::ffff:10.0.1.17"), Peer: address("::ffff:10.0.2.9"), PeerPort: 443, Role: bpf.RoleClient, Netns: 4026531840}
	api = bpf.FlowKey{Local: address("2001:db8::1"), Peer: address("2001:db8::2"), LocalPort: 8080, Role: bpf.RoleServer, Netns: 4026531840}
)

// micros makes a histogram of times, each in its bucket.
func micros(times ...uint32) (h bpf.Histogram) {
	for _, us := range times {
		h.Count++
		h.SumUs += uint64(us)
		h.MaxUs = max(h.MaxUs, us)
		h.MinUsInverted = max(h.MinUsInverted, ^us)
		h.Buckets[bucketOf(us)]++
	}
	return h
}

// bucketOf counts buckets of a quarter octave from 2⁻¹⁶ s.
func bucketOf(us uint32) int {
	i := int(4 * (math.Log2(float64(us)/1e6) + 16))
	return min(max(i, 0), 87)
}

// everything that a connection's flow can count, each count another.
func everything() bpf.Flow {
	return bpf.Flow{
		Sent: 1, Received: 2, SegmentsSent: 3, SegmentsReceived: 4,
		Retransmissions: [3]uint64{5, 6, 7}, Timeouts: [3]uint64{8, 9, 10},
		Attempted: 11, Opened: 12,
		Failed: [5]uint32{13, 14, 15, 16, 17}, Closed: [5]uint32{18, 19, 20, 21, 22},
		Open: [3]uint32{23, 24, 25}, Active: 26, Retransmitting: 27,
		Rtt: micros(180, 200, 5000), Connect: micros(1000),
	}
}

func everyDetail() *bpf.Detail {
	return &bpf.Detail{
		Limits: [3]uint64{250, 500, 750},
		// They are part of the 5, 6 and 7 of everything(); the last of each is not told.
		Retransmissions: [3][5]uint32{{0, 0, 4, 1, 0}, {1, 1, 1, 1, 2}, {3, 0, 2, 0, 2}},
		ZeroWindows:     28, EcnMarks: 29,
	}
}

// What is written, for all that the kernel may count. One minute a round from
// 2000-01-01; the last file of a case is the round of the shutdown, if it has points.
func TestGolden(t *testing.T) {
	otherNamespace := web
	otherNamespace.Netns = 4026532000
	unknown := web
	unknown.Role, unknown.PeerPort = bpf.RoleUnknown, 0

	for name, c := range map[string]struct {
		change  func(*Config)
		rounds  [][]counted
		tracked *fakeTracker
	}{
		"every_counter_and_error_type": {
			rounds: [][]counted{{{web, everything(), nil}}},
		},
		"silent_flows_and_vanished_gauges": {
			rounds: [][]counted{
				{{web, bpf.Flow{Sent: 100, Open: [3]uint32{0, 1, 0}}, nil}, {api, bpf.Flow{Received: 70, Open: [3]uint32{1, 2, 0}}, nil}},
				{{web, bpf.Flow{Open: [3]uint32{0, 1, 0}}, nil}},
				{{web, bpf.Flow{Sent: 50, Closed: [5]uint32{1}}, nil}},
				{},
				{{web, bpf.Flow{Sent: 7}, nil}, {api, bpf.Flow{Received: 9}, nil}},
			},
		},
		"every_detail": {
			change: func(c *Config) { c.Detail = detailGroupNames },
			rounds: [][]counted{{{web, everything(), everyDetail()}}},
		},
		// A connection of a service in its first round, then by what the kernel was told of it;
		// another one that never was; a host port; a listener and what is not translated.
		"translated": {
			change:  func(c *Config) { c.NAT = true },
			tracked: translations(),
			rounds: [][]counted{
				{{serviceRow, bpf.Flow{Sent: 1, Open: [3]uint32{0, 1, 0}}, nil}, {hostPortRow, bpf.Flow{Sent: 10}, nil}, {plainRow, bpf.Flow{Sent: 100, Open: [3]uint32{0, 1, 0}}, nil}},
				{{serviceFlow, bpf.Flow{Sent: 2, Open: [3]uint32{0, 1, 0}}, nil}, {web, bpf.Flow{Sent: 200}, nil},
					{bpf.FlowKey{Local: address("::"), LocalPort: 443, Role: bpf.RoleListener}, bpf.Flow{ListenDrops: 24}, nil}},
				{{serviceFlow, bpf.Flow{Sent: 4, Closed: [5]uint32{1}}, nil}, {hostPortRow, bpf.Flow{Sent: 20}, nil}},
			},
		},
		"network_types_and_roles": {
			rounds: [][]counted{{
				{web, bpf.Flow{Sent: 1}, nil},
				{api, bpf.Flow{Sent: 2}, nil},
				{bpf.FlowKey{Local: address("::1"), Peer: address("::1"), PeerPort: 8080, Role: bpf.RoleClient}, bpf.Flow{Sent: 3}, nil},
				{bpf.FlowKey{Local: address("::ffff:127.0.0.1"), Peer: address("::ffff:127.0.0.1"), LocalPort: 80, Role: bpf.RoleServer}, bpf.Flow{Sent: 4}, nil},
				{unknown, bpf.Flow{Sent: 5}, nil},
			}},
		},
		"namespaces_are_one_flow": {
			rounds: [][]counted{{
				{web, bpf.Flow{Sent: 1, Open: [3]uint32{0, 1, 0}, Rtt: micros(100, 400)}, nil},
				{otherNamespace, bpf.Flow{Sent: 10, Open: [3]uint32{0, 10, 0}, Rtt: micros(200)}, nil},
			}},
		},
		"overflow": {
			rounds: [][]counted{{
				{bpf.FlowKey{Kind: bpf.KindOverflowIPv4, Role: bpf.RoleClient}, bpf.Flow{Sent: 1, Open: [3]uint32{0, 3, 0}}, nil},
				{bpf.FlowKey{Kind: bpf.KindOverflowIPv6, Role: bpf.RoleServer}, bpf.Flow{Sent: 2}, nil},
				{bpf.FlowKey{Kind: bpf.KindOverflowIPv4, Role: bpf.RoleListener}, bpf.Flow{ListenDrops: 4}, nil},
			}},
		},
		"listeners": {
			rounds: [][]counted{{
				{bpf.FlowKey{Local: address("::"), LocalPort: 443, Role: bpf.RoleListener}, bpf.Flow{ListenDrops: 24}, nil},
				{bpf.FlowKey{Local: address("::ffff:10.0.1.17"), LocalPort: 25, Role: bpf.RoleListener}, bpf.Flow{ListenDrops: 1}, nil},
			}},
		},
		"cumulative": {
			change: func(c *Config) { c.Temporality = TemporalityCumulative },
			rounds: [][]counted{
				{{web, bpf.Flow{Sent: 100, Open: [3]uint32{0, 1, 0}, Rtt: micros(200, 300)}, nil}},
				{{web, bpf.Flow{Sent: 50, Retransmissions: [3]uint64{0, 1, 0}, Rtt: micros(100)}, nil}, {api, bpf.Flow{Received: 5}, nil}},
				{},
			},
		},
		"resource": {
			change: func(c *Config) {
				c.Resource = map[string]string{"host.id": "i-0123456789abcdef0", "host.name": "ip-10-0-1-17", "service.name": "edge", "cloud.region": "eu-west-1"}
			},
			rounds: [][]counted{{{web, bpf.Flow{Sent: 1}, nil}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var sink consumertest.MetricsSink
			synctest.Test(t, func(t *testing.T) {
				var change []func(*Config)
				if c.change != nil {
					change = append(change, c.change)
				}
				play(t, &fakeKernel{rounds: c.rounds, tracked: c.tracked}, &sink, change...)
			})
			folder := filepath.Join("testdata", name)
			if *update {
				require.NoError(t, os.RemoveAll(folder))
				require.NoError(t, os.MkdirAll(folder, 0o755))
			}
			for i, md := range sink.AllMetrics() {
				path := filepath.Join(folder, fmt.Sprintf("%d.yaml", i+1))
				if *update {
					require.NoError(t, golden.WriteMetricsToFile(path, md, golden.SkipMetricTimestampNormalization()))
				}
				want, err := golden.ReadMetrics(path)
				require.NoError(t, err)
				require.NoError(t, pmetrictest.CompareMetrics(want, md,
					pmetrictest.IgnoreMetricsOrder(), // the files are sorted; see the next test
					pmetrictest.IgnoreMetricDataPointsOrder()), path)
			}
			files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
			require.NoError(t, err)
			require.Len(t, files, len(sink.AllMetrics()))
		})
	}
}

func TestMetricsComeInTheOrderOfTheirTable(t *testing.T) {
	var sink consumertest.MetricsSink
	synctest.Test(t, func(t *testing.T) {
		play(t, &fakeKernel{rounds: [][]counted{{{api, bpf.Flow{ListenDrops: 1}, nil}, {web, everything(), everyDetail()}}}, synAcks: map[uint32]int64{1: 1}}, &sink)
	})
	batch := sink.AllMetrics()[0]
	require.Equal(t, 1, batch.ResourceMetrics().Len())
	scopes := batch.ResourceMetrics().At(0).ScopeMetrics()
	require.Equal(t, 1, scopes.Len())
	metrics := scopes.At(0).Metrics()
	first := flowattr.FlowMetrics[:len(flowattr.FlowMetrics)-1] // of SYN-ACKs it takes two rounds to tell
	require.Equal(t, len(first), metrics.Len())
	for i, m := range metrics.All() {
		require.Equal(t, first[i].Name, m.Name())
	}
	next := sink.AllMetrics()[1].ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics()
	require.Equal(t, flowattr.MetricSynAckRetransmissions, next.At(next.Len()-1).Name())
}
