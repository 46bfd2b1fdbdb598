// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sizing

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

// The estate: VPCs of subnets of hosts, around one transit gateway.
const (
	vpcs, subnets, perSubnet = 10, 10, 50
	estate                   = vpcs * subnets * perSubnet // 5,000 hosts
)

// address is that of host i of the estate; its subnet is the third byte.
func address(i int) netip.Addr {
	subnet := i / perSubnet
	return netip.AddrFrom4([4]byte{10, byte(1 + subnet/subnets), byte(subnet % subnets), byte(10 + i%perSubnet)})
}

// topology is the file that gateways read.
func topology() string {
	var b strings.Builder
	b.WriteString("accounts:\n  - {account_id: \"111122223333\", name: estate}\nregions:\n  - {region_name: eu-west-1}\navailability_zones:\n")
	for z := 1; z <= 3; z++ {
		fmt.Fprintf(&b, "  - {zone_id: euw1-az%d, zone_name: eu-west-1%c, region_name: eu-west-1}\n", z, 'a'+z-1)
	}
	b.WriteString("vpcs:\n")
	for v := range vpcs {
		fmt.Fprintf(&b, "  - {vpc_id: vpc-%d, region: eu-west-1, owner_id: \"111122223333\", cidr_blocks: [10.%d.0.0/16]}\n", v, 1+v)
	}
	b.WriteString("subnets:\n")
	for s := range vpcs * subnets {
		fmt.Fprintf(&b, "  - {subnet_id: subnet-%d, vpc_id: vpc-%d, cidr_blocks: [10.%d.%d.0/24], availability_zone_id: euw1-az%d}\n", s, s/subnets, 1+s/subnets, s%subnets, 1+s%3)
	}
	b.WriteString("network_interfaces:\n")
	for i := range estate {
		fmt.Fprintf(&b, "  - {network_interface_id: eni-%d, subnet_id: subnet-%d, private_ip_addresses: [%v], instance_id: i-%05d}\n", i, i/perSubnet, address(i), i)
	}
	b.WriteString("route_tables:\n")
	for v := range vpcs {
		fmt.Fprintf(&b, "  - route_table_id: rtb-%d\n    vpc_id: vpc-%d\n    main: true\n    routes:\n      - {destination_cidr_block: 10.0.0.0/8, target: tgw-hub}\n", v, v)
	}
	b.WriteString("transit_gateways:\n  - transit_gateway_id: tgw-hub\n    region: eu-west-1\n    attachments:\n")
	for v := range vpcs {
		fmt.Fprintf(&b, "      - {transit_gateway_attachment_id: tgw-attach-%d, resource_type: vpc, resource_id: vpc-%d}\n", v, v)
	}
	var all []string
	for v := range vpcs {
		all = append(all, fmt.Sprintf("tgw-attach-%d", v))
	}
	fmt.Fprintf(&b, "    route_tables:\n      - transit_gateway_route_table_id: tgw-rtb-hub\n        associations: [%s]\n        propagations: [%[1]s]\n", strings.Join(all, ", "))
	return b.String()
}

// agent is a host that reports the same flows in every round, as a fleet's long-lived clients and servers do.
type agent struct {
	host  int
	last  time.Time
	peers []int
	rand  *rand.Rand
}

func newAgent(host, flows int, now time.Time) *agent {
	a := &agent{host: host, last: now, rand: rand.New(rand.NewPCG(uint64(host), 1))}
	for range flows {
		a.peers = append(a.peers, a.rand.IntN(estate))
	}
	return a
}

// pointsOfAFlow is what round writes of each: what the receiver writes of one that opens connections, moves data both
// ways and loses now and then.
const pointsOfAFlow = 12

// round is what the sockops receiver would write of the host now.
func (a *agent) round(now time.Time) pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	id := fmt.Sprintf("i-%05d", a.host)
	for k, v := range map[string]string{
		"service.name": "flowmonitor-agent", "service.version": "0.1.0", "service.instance.id": id, "host.id": id, "host.name": "ip-" + address(a.host).String(),
		"cloud.provider": "aws", "cloud.platform": "aws_ec2", "cloud.region": "eu-west-1", "cloud.account.id": "111122223333",
	} {
		rm.Resource().Attributes().PutStr(k, v)
	}
	sm := rm.ScopeMetrics().AppendEmpty()
	sm.Scope().SetName("github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver")
	sum := func(name, unit string, value func() int64, extra ...string) {
		m := sm.Metrics().AppendEmpty()
		m.SetName(name)
		m.SetUnit(unit)
		s := m.SetEmptySum()
		s.SetIsMonotonic(true)
		s.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		for i := range a.peers {
			dp := s.DataPoints().AppendEmpty()
			dp.SetIntValue(value())
			a.stamp(dp, now, i, extra)
		}
	}
	few := func() int64 { return 1 + a.rand.Int64N(20) }
	segments := func() int64 { return 100 + a.rand.Int64N(2000) }
	rare := func() int64 { return a.rand.Int64N(1000) / 999 }
	sum(flowattr.MetricSent, "By", func() int64 { return a.rand.Int64N(3_000_000) })
	sum(flowattr.MetricReceived, "By", func() int64 { return a.rand.Int64N(3_000_000) })
	sum(flowattr.MetricSegmentsSent, "{segment}", segments)
	sum(flowattr.MetricSegmentsReceived, "{segment}", segments)
	sum(flowattr.MetricRetransmissions, "{segment}", rare, flowattr.Phase, "established")
	sum(flowattr.MetricTimeouts, "{timeout}", rare, flowattr.Phase, "established")
	sum(flowattr.MetricConnectionsAttempted, "{connection}", few)
	sum(flowattr.MetricConnectionsOpened, "{connection}", few)
	sum(flowattr.MetricConnectionsClosed, "{connection}", few)
	sum(flowattr.MetricConnectionsActive, "{connection}", few)
	open := sm.Metrics().AppendEmpty()
	open.SetName(flowattr.MetricConnectionsOpen)
	open.SetUnit("{connection}")
	levels := open.SetEmptyGauge().DataPoints()
	rtt := sm.Metrics().AppendEmpty()
	rtt.SetName(flowattr.MetricRTT)
	rtt.SetUnit("s")
	h := rtt.SetEmptyExponentialHistogram()
	h.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	for i := range a.peers {
		level := levels.AppendEmpty()
		level.SetIntValue(few())
		a.stamp(level, now, i, []string{flowattr.Phase, "established"})
		dp := h.DataPoints().AppendEmpty()
		dp.SetScale(2)
		// 40 samples around 0.7 ms, in eight buckets.
		const samples = 40
		dp.Positive().SetOffset(-46)
		buckets := make([]uint64, 8)
		for range samples {
			buckets[a.rand.IntN(len(buckets))]++
		}
		dp.Positive().BucketCounts().FromRaw(buckets)
		dp.SetCount(samples)
		dp.SetSum(samples * 0.0007)
		dp.SetMin(math.Exp2(-46.0 / 4))
		dp.SetMax(math.Exp2(-38.0 / 4))
		a.stamp(dp, now, i, nil)
	}
	a.last = now
	return md
}

type stamped interface {
	SetStartTimestamp(pcommon.Timestamp)
	SetTimestamp(pcommon.Timestamp)
	Attributes() pcommon.Map
}

func (a *agent) stamp(dp stamped, now time.Time, flow int, extra []string) {
	dp.SetStartTimestamp(pcommon.NewTimestampFromTime(a.last))
	dp.SetTimestamp(pcommon.NewTimestampFromTime(now))
	attributes := dp.Attributes()
	attributes.EnsureCapacity(8)
	attributes.PutStr("network.transport", "tcp")
	attributes.PutStr("network.type", "ipv4")
	attributes.PutStr("network.local.address", address(a.host).String())
	attributes.PutStr("network.peer.address", address(a.peers[flow]).String())
	attributes.PutInt("network.peer.port", int64(1024+flow%40)) // forty services
	attributes.PutStr(flowattr.Role, "client")
	for i := 0; i < len(extra); i += 2 {
		attributes.PutStr(extra[i], extra[i+1])
	}
}

// fleet are agents that send to one gateway, spread evenly over the interval.
type fleet struct {
	sent    atomic.Int64 // points that the gateway has taken
	late    atomic.Int64 // rounds that began more than a second after their time: the machine is too slow for the rate
	working sync.WaitGroup
	stop    context.CancelFunc
}

// workers send the rounds: one each time.
const workers = 4

// startFleet has the agents begin. They send from a host of the lab, with gzip as the OTLP exporters do, by HTTP: gRPC's
// module is none of this project's.
func startFleet(t *testing.T, n *netlab.Node, to string, hosts, flows int, interval time.Duration) *fleet {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	f := &fleet{stop: stop}
	through := &http.Transport{DialContext: func(ctx context.Context, network, address string) (c net.Conn, err error) {
		err = n.Do(func() error {
			c, err = (&net.Dialer{}).DialContext(ctx, network, address)
			return err
		})
		return c, err
	}}
	client := &http.Client{Transport: through, Timeout: time.Minute}
	began := time.Now()
	agents := make([]*agent, hosts)
	for i := range agents {
		agents[i] = newAgent(i*(estate/hosts), flows, began)
	}
	var running sync.WaitGroup
	for w := range workers {
		running.Go(func() {
			for lap := 0; ; lap++ {
				for i := w; i < hosts; i += workers {
					due := began.Add(time.Duration(lap)*interval + interval*time.Duration(i)/time.Duration(hosts))
					select {
					case <-ctx.Done():
						return
					case <-time.After(time.Until(due)):
					}
					if time.Since(due) > time.Second {
						f.late.Add(1)
					}
					md := agents[i].round(time.Now())
					points := md.DataPointCount()
					err := send(ctx, client, "http://"+to+"/v1/metrics", md)
					if ctx.Err() != nil {
						return
					}
					if err != nil {
						t.Errorf("agent %d: %v", i, err)
						return
					}
					f.sent.Add(int64(points))
				}
			}
		})
	}
	f.working.Go(func() {
		running.Wait()
		through.CloseIdleConnections()
	})
	return f
}

// send posts a round. The request is on the wire what MetricsData is: resource_metrics is field 1 of both.
func send(ctx context.Context, client *http.Client, url string, md pmetric.Metrics) error {
	body, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(md)
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write(body) // a buffer takes everything
	_ = w.Close()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, &packed)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-protobuf")
	request.Header.Set("Content-Encoding", "gzip")
	r, err := client.Do(request)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	answer, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", r.Status, answer)
	}
	return err
}

func (f *fleet) end() {
	f.stop()
	f.working.Wait()
}
