// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/exphist"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/prepared"
)

// batchOf builds batches of flow points as the receiver and the flowmonitor processor
// write them: metric by metric, the metrics in the order of the table.
type batchOf struct {
	md      pmetric.Metrics
	metrics map[string]pmetric.Metric
	sm      pmetric.ScopeMetrics
}

func newBatch() *batchOf { return &batchOf{md: pmetric.NewMetrics()} }

// host begins the points of a resource.
func (b *batchOf) host(id string) *batchOf {
	rm := b.md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "flowmonitor-agent")
	rm.Resource().Attributes().PutStr("host.id", id)
	b.sm = rm.ScopeMetrics().AppendEmpty()
	b.sm.Scope().SetName("sockopsreceiver")
	b.metrics = map[string]pmetric.Metric{}
	return b
}

func (b *batchOf) metric(name string) pmetric.Metric {
	if m, ok := b.metrics[name]; ok {
		return m
	}
	m := b.sm.Metrics().AppendEmpty()
	m.SetName(name)
	if name == "flow.tcp.time" { // of the group `limits`: in seconds
		m.SetEmptySum().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		m.Sum().SetIsMonotonic(true)
		m.SetUnit("s")
	}
	for _, def := range flowattr.FlowMetrics {
		if def.Name == name {
			m.SetUnit(def.Unit)
			m.SetDescription(def.Description)
			switch def.Kind {
			case flowattr.KindSum:
				m.SetEmptySum().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
				m.Sum().SetIsMonotonic(true)
			case flowattr.KindGauge:
				m.SetEmptyGauge()
			case flowattr.KindExponentialHistogram:
				m.SetEmptyExponentialHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
			}
		}
	}
	b.metrics[name] = m
	return m
}

// identity writes the attributes of a point.
type identity func(pcommon.Map)

// span is the time that a point covers.
type interval struct{ start, end pcommon.Timestamp }

// add adds a sum's or gauge's point; extra holds names and values in turn.
func (b *batchOf) add(name string, of identity, at interval, value int64, extra ...string) *batchOf {
	m := b.metric(name)
	var dp pmetric.NumberDataPoint
	if m.Type() == pmetric.MetricTypeSum {
		dp = m.Sum().DataPoints().AppendEmpty()
	} else {
		dp = m.Gauge().DataPoints().AppendEmpty()
	}
	dp.SetIntValue(value)
	if m.Unit() == "s" {
		dp.SetDoubleValue(float64(value) / 64) // sums are exact
	}
	dp.SetStartTimestamp(at.start)
	dp.SetTimestamp(at.end)
	describe(dp.Attributes(), of, extra)
	return b
}

// histogram adds a point with one sample in each of the buckets given.
func (b *batchOf) histogram(name string, of identity, at interval, buckets ...int32) *batchOf {
	dp := b.metric(name).ExponentialHistogram().DataPoints().AppendEmpty()
	dp.SetScale(exphist.Scale)
	dp.SetStartTimestamp(at.start)
	dp.SetTimestamp(at.end)
	for _, bucket := range buckets {
		one := pmetric.NewExponentialHistogramDataPoint()
		one.SetScale(exphist.Scale)
		one.SetCount(1)
		value := 1 / float64(int(1)<<(10+bucket%4)) // a power of two: sums are exact
		one.SetSum(value)
		one.SetMin(value)
		one.SetMax(value)
		one.Positive().SetOffset(bucket)
		one.Positive().BucketCounts().FromRaw([]uint64{1})
		exphist.Add(dp, one)
	}
	describe(dp.Attributes(), of, nil)
	return b
}

func describe(m pcommon.Map, of identity, extra []string) {
	of(m)
	for i := 0; i < len(extra); i += 2 {
		m.PutStr(extra[i], extra[i+1])
	}
}

// clientFlow gives the identity of a client's flow to a server.
func clientFlow(local, peer string, port uint16) identity {
	return func(m pcommon.Map) {
		f := flowattr.Flow{Local: netip.MustParseAddr(local), Peer: netip.MustParseAddr(peer), PeerPort: port, Role: flowattr.RoleClient}
		f.Put(m)
	}
}

// enriched adds what the flowmonitor processor writes.
func (i identity) enriched(local, remote, category string, monitors ...string) identity {
	return func(m pcommon.Map) {
		i(m)
		m.PutStr(flowattr.LocalPrefix+flowattr.CloudRegion, "eu-west-1")
		m.PutStr(localSubnet, local)
		if remote != "" {
			m.PutStr(remoteSubnet, remote)
		}
		m.PutStr(flowattr.Category, category)
		path := m.PutEmptySlice(flowattr.Path)
		for _, s := range []string{"eni/eni-1", "subnet/" + local, "subnet/" + remote, "eni/eni-2"} {
			path.AppendEmpty().SetStr(s)
		}
		if len(monitors) > 0 {
			names := m.PutEmptySlice(flowattr.Monitors)
			for _, s := range monitors {
				names.AppendEmpty().SetStr(s)
			}
		}
	}
}

// enrichedHere is fullRound as it comes from a flowmonitor processor in the same collector:
// what identifies a flow was decoded, and what was added is shared.
func enrichedHere(tb testing.TB, host string, at interval, flows int, r *rand.Rand) pmetric.Metrics {
	md := fullRound(tb, host, at, flows, r)
	sets := map[string]*prepared.Set{}
	var w prepared.Writer
	enrich := func(m pcommon.Map) {
		v, _ := m.Get(flowattr.NetworkPeerAddress)
		s := sets[v.Str()]
		if s == nil {
			added := pcommon.NewMap()
			for k, v := range m.All() {
				if flowattr.IsEnrichment(k) {
					v.CopyTo(added.PutEmpty(k))
				}
			}
			made := prepared.New(added)
			s = &made
			sets[v.Str()] = s
		}
		m.RemoveIf(func(k string, _ pcommon.Value) bool { return flowattr.IsEnrichment(k) })
		w.Append(m, s)
	}
	for _, m := range md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().All() {
		switch m.Type() {
		case pmetric.MetricTypeSum:
			for _, dp := range m.Sum().DataPoints().All() {
				enrich(dp.Attributes())
			}
		case pmetric.MetricTypeGauge:
			for _, dp := range m.Gauge().DataPoints().All() {
				enrich(dp.Attributes())
			}
		case pmetric.MetricTypeExponentialHistogram:
			for _, dp := range m.ExponentialHistogram().DataPoints().All() {
				enrich(dp.Attributes())
			}
		}
	}
	return md
}

// fullRound is a round of one host with flows of 16 points and some 20 attributes each,
// decoded from the wire as a gateway gets it.
func fullRound(tb testing.TB, host string, at interval, flows int, r *rand.Rand) pmetric.Metrics {
	b := newBatch().host(host)
	of := make([]identity, flows)
	for i := range of {
		peer := netip.AddrFrom4([4]byte{10, 2, byte(i >> 8), byte(i)})
		base := clientFlow("10.1.0.7", peer.String(), 443)
		subnet := fmt.Sprintf("subnet-%03d", i%50)
		more := base.enriched("subnet-local", subnet, flowattr.CategoryInterAZ, "checkout-to-db")
		of[i] = func(m pcommon.Map) {
			more(m)
			for _, prefix := range []string{flowattr.LocalPrefix, flowattr.RemotePrefix} {
				m.PutStr(prefix+flowattr.CloudAccountID, "123456789012")
				m.PutStr(prefix+flowattr.CloudAvailabilityZone, "eu-west-1a")
				m.PutStr(prefix+flowattr.AWSVPCID, "vpc-0123456789abcdef0")
				m.PutStr(prefix+flowattr.AWSENIID, "eni-0123456789abcdef0")
			}
		}
	}
	for _, def := range flowattr.FlowMetrics {
		for i := range of {
			switch {
			case def.Kind == flowattr.KindExponentialHistogram:
				b.histogram(def.Name, of[i], at, -40, -39, int32(-38+i%8))
			case def.Name == flowattr.MetricListenDrops || def.Name == flowattr.MetricConnectionsFailed:
			case def.Name == flowattr.MetricConnectionsOpen, def.Name == flowattr.MetricRetransmissions:
				b.add(def.Name, of[i], at, int64(r.IntN(3)), flowattr.Phase, flowattr.PhaseEstablished)
				b.add(def.Name, of[i], at, int64(r.IntN(2)), flowattr.Phase, flowattr.PhaseClose)
			default:
				b.add(def.Name, of[i], at, int64(r.IntN(1<<20)))
			}
		}
	}
	wire, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(b.md)
	require.NoError(tb, err)
	md, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(wire)
	require.NoError(tb, err)
	return md
}
