// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/otel-flowmonitor/flowmonitor/internal/cputime"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ipranges"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/metadata"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/monitors"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// fleet is VPCs of 500 interfaces each, all joined by one transit gateway.
type fleet struct {
	vpcs int
}

const perVPC = 500

func (f fleet) address(vpc, i int) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(10 + vpc>>8), byte(vpc), byte(i >> 8), byte(i)})
}

func (f fleet) topology() *topology.Topology {
	t := &topology.Topology{}
	g := topology.TransitGateway{TransitGatewayID: "tgw-0123456789abcdef0"}
	for v := range f.vpcs {
		vpc := fmt.Sprintf("vpc-%017x", v)
		cidr := []netip.Prefix{netip.PrefixFrom(f.address(v, 0), 16)}
		t.VPCs = append(t.VPCs, topology.VPC{VPCID: vpc, Region: "eu-west-1", OwnerID: "111111111111", CIDRBlocks: cidr})
		t.Subnets = append(t.Subnets, topology.Subnet{SubnetID: fmt.Sprintf("subnet-%017x", v), VPCID: vpc, CIDRBlocks: cidr,
			AvailabilityZone: "eu-west-1a", AvailabilityZoneID: "euw1-az1"})
		for i := range perVPC {
			t.NetworkInterfaces = append(t.NetworkInterfaces, topology.NetworkInterface{
				NetworkInterfaceID: fmt.Sprintf("eni-%017x", v*perVPC+i), SubnetID: t.Subnets[v].SubnetID, OwnerID: "111111111111",
				InstanceID: f.host(v, i), PrivateIPAddresses: []netip.Addr{f.address(v, i)},
			})
		}
		g.Attachments = append(g.Attachments, topology.TransitGatewayAttachment{
			TransitGatewayAttachmentID: fmt.Sprintf("tgw-attach-%017x", v), ResourceType: topology.AttachmentVPC, ResourceID: vpc})
		t.RouteTables = append(t.RouteTables, topology.RouteTable{RouteTableID: fmt.Sprintf("rtb-%017x", v), VPCID: vpc, Main: true,
			Routes: []topology.Route{{DestinationCIDRBlock: netip.MustParsePrefix("10.0.0.0/8"), Target: g.TransitGatewayID}}})
	}
	r := topology.TransitGatewayRouteTable{TransitGatewayRouteTableID: "tgw-rtb-1"}
	for _, a := range g.Attachments {
		r.Associations = append(r.Associations, a.TransitGatewayAttachmentID)
		r.Propagations = append(r.Propagations, a.TransitGatewayAttachmentID)
	}
	g.RouteTables = append(g.RouteTables, r)
	t.TransitGateways = append(t.TransitGateways, g)
	return t
}

func (f fleet) host(vpc, i int) string { return fmt.Sprintf("i-%017x", vpc*perVPC+i) }

// definitions gives monitors of which one in ten is about flows from the first VPC, and one
// matches all of those.
func definitions(n int) []monitors.Definition {
	vpc := func(v int) []monitors.Resource {
		return []monitors.Resource{{Type: "vpc", ID: fmt.Sprintf("vpc-%017x", v)}}
	}
	list := []monitors.Definition{{Name: "hit", Local: vpc(0), Remote: vpc(1)}}
	for i := 1; i < n; i++ {
		list = append(list, monitors.Definition{Name: fmt.Sprintf("m%d", i), Local: vpc(i % 10), Remote: vpc(i%10 + i + 2)})
	}
	return list
}

// engine makes a processor's engine without files.
func (f fleet) engine(n int) *engine {
	return newEngine(topology.Build(f.topology(), nil), ipranges.Shipped(), monitors.New(definitions(n)), AttributesConfig{Path: true, Monitors: true}, defaultMaxCachedFlows)
}

// batch is what one host of the first VPC sends in a round: flows to hosts of the second
// one, each with a point of each metric, or with only one point.
func (f fleet) batch(host, flows, metrics int) []byte {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	at := rm.Resource().Attributes()
	at.PutStr("service.name", "flowmonitor-agent")
	at.PutStr(flowattr.HostID, f.host(0, host))
	at.PutStr(flowattr.CloudAccountID, "111111111111")
	at.PutStr(flowattr.CloudRegion, "eu-west-1")
	sm := rm.ScopeMetrics().AppendEmpty()
	for k := range metrics {
		def := flowattr.FlowMetrics[k]
		m := sm.Metrics().AppendEmpty()
		m.SetName(def.Name)
		m.SetUnit(def.Unit)
		sum := m.SetEmptySum()
		sum.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		sum.SetIsMonotonic(true)
		for i := range flows {
			p := sum.DataPoints().AppendEmpty()
			p.SetIntValue(1)
			p.SetTimestamp(1 << 60)
			id := flowattr.Flow{Local: f.address(0, host), Peer: f.address(1, i%perVPC), PeerPort: uint16(443 + i/perVPC), Role: flowattr.RoleClient}
			if metrics == 1 { // no two points with the same addresses
				id.Peer = f.address(1+i/perVPC, i%perVPC)
			}
			id.Put(p.Attributes())
		}
	}
	wire, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(md)
	if err != nil {
		panic(err)
	}
	return wire
}

func decode(wire []byte) pmetric.Metrics {
	md, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(wire)
	if err != nil {
		panic(err)
	}
	return md
}

// contender is a processor that is measured in turns with others.
type contender struct {
	name      string
	processor *flowMonitor
	watch     cputime.Stopwatch
}

// contend makes a processor for a fleet, with so many monitors.
func (f fleet) contend(b *testing.B, name string, monitors int) *contender {
	p, err := newFlowMonitor(createDefaultConfig().(*Config), processortest.NewNopSettings(metadata.Type).TelemetrySettings)
	require.NoError(b, err)
	p.engine.Store(f.engine(monitors))
	return &contender{name: name, processor: p}
}

// inTurns lets processors enrich the batches of many hosts, as they come from the wire. What
// they are compared by is the same batches, at the same time, on the same machine.
func inTurns(b *testing.B, hosts, flows, metrics int, list ...*contender) {
	f := fleet{vpcs: 20}
	batches := make([][]byte, hosts)
	for i := range batches {
		batches[i] = f.batch(i, flows, metrics)
		for _, c := range list {
			_, err := c.processor.process(b.Context(), decode(batches[i])) // fill the cache
			require.NoError(b, err)
		}
	}
	for i := 0; b.Loop(); i++ {
		for k := range list {
			c := list[(i+k)%len(list)] // each as often before the others as behind them
			md := decode(batches[i%hosts])
			c.watch.Start()
			if _, err := c.processor.process(b.Context(), md); err != nil {
				b.Fatal(err)
			}
			c.watch.Stop(flows * metrics)
		}
	}
	for i, c := range list {
		c.watch.Report(b, "point-"+c.name)
		if i > 0 {
			b.ReportMetric(c.watch.Ratio(&list[0].watch), "times-"+list[0].name+"/"+c.name)
		}
	}
}

// BenchmarkEnrich enriches the points of 100,000 distinct flows that are in the cache, with
// 20 monitors and with 1,000 in turns. One operation is a host's batch; the figures to look at are the
// processor times of a point.
func BenchmarkEnrich(b *testing.B) {
	f := fleet{vpcs: 20}
	for _, bb := range []struct {
		name                  string
		hosts, flows, metrics int
	}{
		{"16 points a flow", 100, 1000, 16},
		{"one point a flow", 20, 5000, 1},
	} {
		b.Run(bb.name, func(b *testing.B) {
			inTurns(b, bb.hosts, bb.flows, bb.metrics, f.contend(b, "20-monitors", 20), f.contend(b, "1000-monitors", 1000))
		})
	}
}

// BenchmarkGrowth is the same in networks of two to two thousand VPCs, in turns.
func BenchmarkGrowth(b *testing.B) {
	inTurns(b, 100, 1000, 16, fleet{vpcs: 2}.contend(b, "1000-interfaces", 20),
		fleet{vpcs: 200}.contend(b, "100000-interfaces", 20), fleet{vpcs: 2000}.contend(b, "1000000-interfaces", 20))
}

// BenchmarkMiss resolves and matches one flow that is not in the cache.
func BenchmarkMiss(b *testing.B) {
	f := fleet{vpcs: 20}
	for _, monitors := range []int{20, 1000, 10_000} {
		b.Run(fmt.Sprintf("%d monitors", monitors), func(b *testing.B) {
			e := f.engine(monitors)
			at := e.cache.at(originOf(decode(f.batch(0, 1, 1)).ResourceMetrics().At(0).Resource().Attributes()))
			defer at.mu.Unlock()
			var watch cputime.Stopwatch
			b.ReportAllocs()
			for i := 0; b.Loop(); {
				watch.Start()
				for range 1000 {
					e.answer(&at.Origin, flowKey{local: f.address(0, 0), peer: f.address(1+i%19, (i*7)%perVPC)})
					i++
				}
				watch.Stop(1000)
			}
			watch.Report(b, "flow")
		})
	}
}
