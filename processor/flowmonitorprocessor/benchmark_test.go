// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/metadata"
)

// many writes a topology of two VPCs joined by a transit gateway, with a /20 full of
// interfaces each.
func many(b *testing.B) (path string, addresses [2][]netip.Addr) {
	var s strings.Builder
	s.WriteString("vpcs:\n")
	for v := range 2 {
		fmt.Fprintf(&s, "  - {vpc_id: vpc-%d, region: eu-west-1, owner_id: '1', cidr_blocks: [10.%d.0.0/16]}\n", v, v)
	}
	s.WriteString("subnets:\n")
	for v := range 2 {
		fmt.Fprintf(&s, "  - {subnet_id: subnet-%d, vpc_id: vpc-%d, cidr_blocks: [10.%d.0.0/20], availability_zone: eu-west-1a, availability_zone_id: euw1-az1}\n", v, v, v)
	}
	s.WriteString("network_interfaces:\n")
	for v := range 2 {
		for i := range 4000 {
			a := netip.AddrFrom4([4]byte{10, byte(v), byte(i >> 8), byte(i)})
			addresses[v] = append(addresses[v], a)
			fmt.Fprintf(&s, "  - {network_interface_id: eni-%d-%d, subnet_id: subnet-%d, private_ip_addresses: [%s], instance_id: i-%d-%d}\n", v, i, v, a, v, i)
		}
	}
	s.WriteString("transit_gateways:\n  - transit_gateway_id: tgw-1\n    attachments:\n")
	for v := range 2 {
		fmt.Fprintf(&s, "      - {transit_gateway_attachment_id: tgw-attach-%d, resource_type: vpc, resource_id: vpc-%d}\n", v, v)
	}
	s.WriteString("route_tables:\n")
	for v := range 2 {
		fmt.Fprintf(&s, "  - {route_table_id: rtb-%d, vpc_id: vpc-%d, main: true, routes: [{destination_cidr_block: 10.0.0.0/8, target: tgw-1}]}\n", v, v)
	}
	path = b.TempDir() + "/topology.yaml"
	require.NoError(b, os.WriteFile(path, []byte(s.String()), 0o600))
	return path, addresses
}

func monitorConfigs(n int) []MonitorConfig {
	list := []MonitorConfig{{Name: "hit", Local: []ResourceConfig{{Type: "subnet", ID: "subnet-0"}}, Remote: []ResourceConfig{{Type: "subnet", ID: "subnet-1"}}}}
	for i := 1; i < n; i++ {
		list = append(list, MonitorConfig{
			Name:   fmt.Sprintf("m%d", i),
			Local:  []ResourceConfig{{Type: "subnet", ID: fmt.Sprintf("subnet-x%d", i)}, {Type: "vpc", ID: "vpc-0"}},
			Remote: []ResourceConfig{{Type: "vpc", ID: fmt.Sprintf("vpc-y%d", i)}},
		})
	}
	return list
}

// batchOf makes a batch of points of distinct flows of 100 hosts, as agents send them.
func batchOf(addresses [2][]netip.Addr, from, points int) pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName(flowattr.MetricSent)
	sum := m.SetEmptySum()
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	sum.DataPoints().EnsureCapacity(points)
	for i := from; i < from+points; i++ {
		host := i % 100
		p := sum.DataPoints().AppendEmpty()
		p.SetIntValue(1)
		f := flowattr.Flow{Local: addresses[0][host], Peer: addresses[1][(i/100)%4000], PeerPort: 443, Role: flowattr.RoleClient}
		f.Put(p.Attributes())
	}
	return md
}

func benchmark(b *testing.B, flows, monitors int, write AttributesConfig) {
	path, addresses := many(b)
	cfg := createDefaultConfig().(*Config)
	cfg.Topology.File = configoptional.Some(FileConfig{Path: path})
	cfg.Monitors = monitorConfigs(monitors)
	cfg.Attributes = write
	require.NoError(b, cfg.Validate())
	p, err := newFlowMonitor(cfg, processortest.NewNopSettings(metadata.Type).TelemetrySettings)
	require.NoError(b, err)
	require.NoError(b, p.start(b.Context(), componenttest.NewNopHost()))
	defer func() { require.NoError(b, p.shutdown(context.Background())) }()
	const points = 10_000
	batches := make([]pmetric.Metrics, flows/points)
	for i := range batches {
		batches[i] = batchOf(addresses, i*points, points)
		_, err := p.process(b.Context(), clone(batches[i])) // fill the cache
		require.NoError(b, err)
	}
	copies := make([]pmetric.Metrics, 0, 16)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += points {
		b.StopTimer()
		if len(copies) == 0 {
			for i := range cap(copies) {
				copies = append(copies, clone(batches[(n/points+i)%len(batches)]))
			}
		}
		md := copies[len(copies)-1]
		copies = copies[:len(copies)-1]
		b.StartTimer()
		if _, err := p.process(context.Background(), md); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "points/s")
}

func clone(md pmetric.Metrics) pmetric.Metrics {
	c := pmetric.NewMetrics()
	md.CopyTo(c)
	return c
}

// BenchmarkPoint is one point of 100,000 distinct flows that are in the cache: read,
// looked up, written. One operation is one point.
func BenchmarkPoint(b *testing.B) {
	all := AttributesConfig{Path: true, Monitors: true}
	b.Run("20 monitors", func(b *testing.B) { benchmark(b, 100_000, 20, all) })
	b.Run("1000 monitors", func(b *testing.B) { benchmark(b, 100_000, 1000, all) })
	b.Run("20 monitors, no slices", func(b *testing.B) { benchmark(b, 100_000, 20, AttributesConfig{}) })
}

// BenchmarkMiss resolves and matches one flow that is not in the cache.
func BenchmarkMiss(b *testing.B) {
	for _, monitors := range []int{20, 1000, 10_000} {
		b.Run(fmt.Sprintf("%d monitors", monitors), func(b *testing.B) {
			path, addresses := many(b)
			cfg := createDefaultConfig().(*Config)
			cfg.Topology.File = configoptional.Some(FileConfig{Path: path})
			cfg.Monitors = monitorConfigs(monitors)
			p, err := newFlowMonitor(cfg, processortest.NewNopSettings(metadata.Type).TelemetrySettings)
			require.NoError(b, err)
			require.NoError(b, p.start(b.Context(), componenttest.NewNopHost()))
			defer func() { require.NoError(b, p.shutdown(context.Background())) }()
			e := p.engine.Load()
			at := e.cache.at(originOf(pmetric.NewResourceMetrics().Resource().Attributes()))
			defer at.mu.Unlock()
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				e.answer(&at.Origin, flowKey{local: addresses[0][i%4000], peer: addresses[1][(i*7)%4000]})
				i++
			}
		})
	}
}
