// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package k8sattributes

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/k8sattributesprocessor"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/otel-flowmonitor/flowmonitor/internal/cputime"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor"
)

const (
	// addresses are those of pods of the one and remote ends of the other.
	addresses = 100_000

	// perBatch is what one host sends in a round.
	perBatch = 1000

	// attributes are what each of the two attaches to a point or its resource.
	attributes = 19
)

// remote gives the address of a pod, in one VPC.
func remote(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 2 + byte(i>>16), byte(i >> 8), byte(i)})
}

var local = netip.MustParseAddr("10.1.0.10")

// writeTopology describes two VPCs and a transit gateway between them. Every remote address
// has an interface and an instance.
func writeTopology(b *testing.B) string {
	var y strings.Builder
	y.WriteString(`
vpcs:
  - {vpc_id: vpc-1, region: eu-west-1, owner_id: "111111111111", cidr_blocks: [10.1.0.0/16]}
  - {vpc_id: vpc-2, region: eu-west-1, owner_id: "111111111111", cidr_blocks: [10.2.0.0/15]}
subnets:
  - {subnet_id: subnet-1, vpc_id: vpc-1, cidr_blocks: [10.1.0.0/16], availability_zone: eu-west-1a, availability_zone_id: euw1-az1}
  - {subnet_id: subnet-2, vpc_id: vpc-2, cidr_blocks: [10.2.0.0/16], availability_zone: eu-west-1a, availability_zone_id: euw1-az1}
  - {subnet_id: subnet-3, vpc_id: vpc-2, cidr_blocks: [10.3.0.0/16], availability_zone: eu-west-1a, availability_zone_id: euw1-az1}
transit_gateways:
  - transit_gateway_id: tgw-1
    attachments:
      - {transit_gateway_attachment_id: tgw-attach-1, resource_type: vpc, resource_id: vpc-1}
      - {transit_gateway_attachment_id: tgw-attach-2, resource_type: vpc, resource_id: vpc-2}
    route_tables:
      - {transit_gateway_route_table_id: tgw-rtb-1, associations: [tgw-attach-1, tgw-attach-2], propagations: [tgw-attach-1, tgw-attach-2]}
route_tables:
  - {route_table_id: rtb-1, vpc_id: vpc-1, main: true, routes: [{destination_cidr_block: 10.2.0.0/15, target: tgw-1}]}
  - {route_table_id: rtb-2, vpc_id: vpc-2, main: true, routes: [{destination_cidr_block: 10.1.0.0/16, target: tgw-1}]}
network_interfaces:
  - {network_interface_id: eni-local, subnet_id: subnet-1, private_ip_addresses: [` + local.String() + `], instance_id: i-local}
`)
	for i := range addresses {
		a := remote(i)
		fmt.Fprintf(&y, "  - {network_interface_id: eni-%017x, subnet_id: subnet-%d, private_ip_addresses: [%s], instance_id: i-%017x}\n", i, a.As4()[1], a, i)
	}
	path := filepath.Join(b.TempDir(), "topology.yaml")
	require.NoError(b, os.WriteFile(path, []byte(y.String()), 0o600))
	return path
}

// start makes a processor as a collector would.
func start(b *testing.B, f processor.Factory, options map[string]any) processor.Metrics {
	cfg := f.CreateDefaultConfig()
	require.NoError(b, confmap.NewFromStringMap(options).Unmarshal(cfg))
	next, err := consumer.NewMetrics(consumertest.NewNop().ConsumeMetrics, consumer.WithCapabilities(consumer.Capabilities{MutatesData: true}))
	require.NoError(b, err)
	p, err := f.CreateMetrics(b.Context(), processortest.NewNopSettings(f.Type()), cfg, next)
	require.NoError(b, err)
	require.NoError(b, p.Start(b.Context(), componenttest.NewNopHost()))
	b.Cleanup(func() { require.NoError(b, p.Shutdown(context.Background())) }) // b's context has ended by then
	return p
}

// flows is a batch for flowmonitor: one resource, a point for each flow.
func flows(batch int) pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr(flowattr.HostID, "i-local")
	sum := sumOf(rm)
	for i := range perBatch {
		p := sum.DataPoints().AppendEmpty()
		p.SetIntValue(1)
		id := flowattr.Flow{Local: local, Peer: remote(batch*perBatch + i), PeerPort: 443, Role: flowattr.RoleClient}
		id.Put(p.Attributes())
	}
	return md
}

// pods is a batch for k8sattributes, which looks an address up for a resource: as many resources
// with a point each.
func pods(batch int) pmetric.Metrics {
	md := pmetric.NewMetrics()
	for i := range perBatch {
		rm := md.ResourceMetrics().AppendEmpty()
		rm.Resource().Attributes().PutStr("k8s.pod.ip", remote(batch*perBatch+i).String())
		sumOf(rm).DataPoints().AppendEmpty().SetIntValue(1)
	}
	return md
}

func sumOf(rm pmetric.ResourceMetrics) pmetric.Sum {
	m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName(flowattr.MetricSent)
	sum := m.SetEmptySum()
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	sum.SetIsMonotonic(true)
	return sum
}

// BenchmarkAttach gives points as many attributes by address with each of the two, in turns: the wire
// is decoded outside of what is measured.
func BenchmarkAttach(b *testing.B) {
	serveCluster(b, addresses)
	monitors := []any{}
	for i := range 20 {
		vpc := func(n int) []any { return []any{map[string]any{"type": "vpc", "id": fmt.Sprintf("vpc-%d", n)}} }
		monitors = append(monitors, map[string]any{"name": fmt.Sprintf("monitor-%d", i), "local": vpc(1 + i), "remote": vpc(2 + i)})
	}
	contenders := []*contender{
		{name: "flowmonitor", batch: flows, attributes: func(md pmetric.Metrics) pcommon.Map {
			return md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints().At(0).Attributes()
		}, processor: start(b, flowmonitorprocessor.NewFactory(), map[string]any{
			"topology": map[string]any{"file": map[string]any{"path": writeTopology(b)}},
			"monitors": monitors,
		})},
		{name: "k8sattributes", batch: pods, attributes: func(md pmetric.Metrics) pcommon.Map {
			return md.ResourceMetrics().At(0).Resource().Attributes()
		}, processor: start(b, k8sattributesprocessor.NewFactory(), map[string]any{
			"auth_type":                 "none",
			"wait_for_metadata":         true,
			"wait_for_metadata_timeout": "60s",
			"extract": map[string]any{
				"metadata": []any{"k8s.namespace.name", "k8s.pod.name", "k8s.pod.uid", "k8s.pod.start_time", "k8s.pod.hostname", "k8s.node.name"},
				"labels":   []any{map[string]any{"key_regex": "(.*)", "tag_name": "$1", "from": "pod"}},
			},
			"pod_association": []any{map[string]any{"sources": []any{map[string]any{"from": "resource_attribute", "name": "k8s.pod.ip"}}}},
		})},
	}
	for _, c := range contenders {
		c.prepare(b)
	}
	for i := 0; b.Loop(); i++ {
		for k := range contenders { // each as often first as last
			c := contenders[(i+k)%len(contenders)]
			c.run(b, i%len(c.wire))
		}
	}
	for _, c := range contenders {
		c.watch.Report(b, "point-"+c.name)
	}
	b.ReportMetric(contenders[1].watch.Ratio(&contenders[0].watch), "times-flowmonitor/k8sattributes")
}

// contender is one of the processors that are compared.
type contender struct {
	name       string
	batch      func(int) pmetric.Metrics
	attributes func(pmetric.Metrics) pcommon.Map // of the first point, or of its resource
	processor  processor.Metrics

	wire  [][]byte
	watch cputime.Stopwatch
}

// prepare makes the batches, gives each to the processor once, and looks at what it attaches.
func (c *contender) prepare(b *testing.B) {
	for i := range addresses / perBatch {
		md := c.batch(i)
		before := c.attributes(md).Len()
		wire, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(md)
		require.NoError(b, err)
		c.wire = append(c.wire, wire)
		require.NoError(b, c.processor.ConsumeMetrics(b.Context(), md))
		require.Equal(b, attributes, c.attributes(md).Len()-before, "%s: %v", c.name, c.attributes(md).AsRaw())
	}
}

func (c *contender) run(b *testing.B, i int) {
	md, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(c.wire[i])
	if err != nil {
		b.Fatal(err)
	}
	c.watch.Start()
	if err := c.processor.ConsumeMetrics(b.Context(), md); err != nil {
		b.Fatal(err)
	}
	c.watch.Stop(perBatch)
}
