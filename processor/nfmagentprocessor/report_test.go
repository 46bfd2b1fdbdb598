// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nfmagentprocessor

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/otel-flowmonitor/flowmonitor/internal/exphist"
	"github.com/otel-flowmonitor/flowmonitor/processor/nfmagentprocessor/internal/metadatatest"
)

// at is when the reports of these tests are made.
const at = pcommon.Timestamp(1_718_716_821_050_000_000)

// report is one of an agent, as its format is documented: of each flow a scope.
type report struct {
	md pmetric.Metrics
	rm pmetric.ResourceMetrics
}

func newReport() *report {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	for k, v := range map[string]string{"instance_id": "i-1", "machine_id": "m-1", "service.name": "agent", "report.version": "1.1", "k8s_node_name": "node-1", "k8s_eks_cluster_name": "cluster-1"} {
		rm.Resource().Attributes().PutStr(k, v)
	}
	return &report{md, rm}
}

// flow begins a scope. The client's port is 0.
func (r *report) flow(local string, localPort int64, remote string, remotePort int64) pmetric.ScopeMetrics {
	sm := r.rm.ScopeMetrics().AppendEmpty()
	sm.Scope().SetName("network_stats")
	a := sm.Scope().Attributes()
	a.PutStr("protocol", "TCP")
	a.PutStr("local_address", local)
	a.PutStr("remote_address", remote)
	a.PutInt("local_port", localPort)
	a.PutInt("remote_port", remotePort)
	return sm
}

func histogram(sm pmetric.ScopeMetrics, name string) pmetric.HistogramDataPoint {
	m := sm.Metrics().AppendEmpty()
	m.SetName(name)
	m.SetEmptyHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	dp := m.Histogram().DataPoints().AppendEmpty()
	dp.SetStartTimestamp(at)
	dp.SetTimestamp(at)
	return dp
}

func value(sm pmetric.ScopeMetrics, name string, v float64) {
	dp := histogram(sm, name)
	dp.SetCount(1)
	dp.SetSum(v)
}

func timings(sm pmetric.ScopeMetrics, name string, count uint64, least, most, sum float64) {
	dp := histogram(sm, name)
	dp.SetCount(count)
	dp.SetMin(least)
	dp.SetMax(most)
	dp.SetSum(sum)
}

// everything puts a value of its own into each metric of report version 1.1.
func everything(sm pmetric.ScopeMetrics) {
	for name, v := range map[string]float64{
		"sockets_connecting": 4, "sockets_established": 3, "sockets_closing": 2, "sockets_closed": 1,
		"sockets_completed": 44, "severed_connect": 2, "severed_establish": 1, "connect_attempts": 34,
		"bytes_received": 43, "bytes_delivered": 47, "segments_received": 53, "segments_delivered": 59,
		"retrans_syn": 20, "retrans_est": 19, "retrans_close": 18, "rtos_syn": 17, "rtos_est": 16, "rtos_close": 15,
	} {
		value(sm, name, v)
	}
	timings(sm, "connect_us", 2, 12, 13, 25)
	timings(sm, "rtt_us", 3, 14, 15, 44)
	timings(sm, "rtt_smoothed_us", 4, 16, 17, 66)
}

// processed runs the processor over a batch, and gives what comes out and the telemetry.
func processed(t testing.TB, md pmetric.Metrics) (*consumertest.MetricsSink, *componenttest.Telemetry) {
	t.Helper()
	tel := componenttest.NewTelemetry()
	sink := &consumertest.MetricsSink{}
	p, err := NewFactory().CreateMetrics(t.Context(), metadatatest.NewSettings(tel), createDefaultConfig(), sink)
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
	require.NoError(t, p.ConsumeMetrics(t.Context(), md))
	t.Cleanup(func() {
		require.NoError(t, p.Shutdown(context.Background()))
		require.NoError(t, tel.Shutdown(context.Background()))
	})
	return sink, tel
}

// numbers gives sums and gauges as "name key=value" to value, histograms as "name" to the point.
func numbers(t testing.TB, md pmetric.Metrics) (map[string]int64, map[string]pmetric.ExponentialHistogramDataPoint) {
	t.Helper()
	found, histograms := map[string]int64{}, map[string]pmetric.ExponentialHistogramDataPoint{}
	name := func(m pmetric.Metric, attributes pcommon.Map) string {
		s := m.Name()
		for _, extra := range []string{"flow.phase", "error.type"} {
			if v, ok := attributes.Get(extra); ok {
				s += " " + v.Str()
			}
		}
		assert.NotContains(t, found, s)
		return s
	}
	for _, rm := range md.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				switch m.Type() {
				case pmetric.MetricTypeSum:
					assert.Equal(t, pmetric.AggregationTemporalityDelta, m.Sum().AggregationTemporality())
					assert.True(t, m.Sum().IsMonotonic())
					for _, dp := range m.Sum().DataPoints().All() {
						assert.Equal(t, at, dp.Timestamp())
						assert.Equal(t, at, dp.StartTimestamp())
						found[name(m, dp.Attributes())] = dp.IntValue()
					}
				case pmetric.MetricTypeGauge:
					for _, dp := range m.Gauge().DataPoints().All() {
						found[name(m, dp.Attributes())] = dp.IntValue()
					}
				case pmetric.MetricTypeExponentialHistogram:
					assert.Equal(t, "s", m.Unit())
					for _, dp := range m.ExponentialHistogram().DataPoints().All() {
						histograms[name(m, dp.Attributes())] = dp
					}
				}
			}
		}
	}
	return found, histograms
}

func TestEveryMetricOfAReportBecomesItsFlowMetric(t *testing.T) {
	r := newReport()
	everything(r.flow("10.0.0.1", 0, "10.0.0.2", 443))
	sink, tel := processed(t, r.md)
	require.Len(t, sink.AllMetrics(), 1)
	found, histograms := numbers(t, sink.AllMetrics()[0])
	assert.Equal(t, map[string]int64{
		"flow.tcp.sent": 47, "flow.tcp.received": 43, "flow.tcp.segments.sent": 59, "flow.tcp.segments.received": 53,
		"flow.tcp.retransmissions connect": 20, "flow.tcp.retransmissions established": 19, "flow.tcp.retransmissions close": 18,
		"flow.tcp.timeouts connect": 17, "flow.tcp.timeouts established": 16, "flow.tcp.timeouts close": 15,
		"flow.tcp.connections.attempted": 14, // 34 less the 20 SYNs that were sent again
		"flow.tcp.connections.opened":    2, "flow.tcp.connections.failed _OTHER": 2, "flow.tcp.connections.closed _OTHER": 1,
		"flow.tcp.connections.open connect": 4, "flow.tcp.connections.open established": 3, "flow.tcp.connections.open close": 2,
	}, found)
	for name, want := range map[string]struct {
		count           uint64
		least, most, mu float64 // µs
	}{"flow.tcp.rtt": {3, 14, 15, 44}, "flow.tcp.connect.duration": {2, 12, 13, 25}} {
		dp, ok := histograms[name]
		require.True(t, ok, name)
		assert.Equal(t, want.count, dp.Count())
		assert.Equal(t, want.least/1e6, dp.Min())
		assert.Equal(t, want.most/1e6, dp.Max())
		assert.Equal(t, want.mu/1e6, dp.Sum())
		assert.Equal(t, []uint64{want.count}, dp.Positive().BucketCounts().AsRaw())
	}
	assert.Len(t, histograms, 2)
	metadatatest.AssertEqualProcessorNfmagentFlows(t, tel, []metricdata.DataPoint[int64]{{Value: 1}}, metricdatatest.IgnoreTimestamp())
	_, err := tel.GetMetric("otelcol_processor_nfmagent_points_refused")
	assert.Error(t, err, "nothing is refused")
}

func TestALevelOfZeroIsWrittenAndACounterOfZeroIsNot(t *testing.T) {
	r := newReport()
	sm := r.flow("10.0.0.1", 0, "10.0.0.2", 443)
	value(sm, "sockets_established", 0)
	value(sm, "bytes_delivered", 0)
	timings(sm, "rtt_us", 0, 0, 0, 0)
	sink, _ := processed(t, r.md)
	found, histograms := numbers(t, sink.AllMetrics()[0])
	assert.Equal(t, map[string]int64{"flow.tcp.connections.open established": 0}, found)
	assert.Empty(t, histograms)
}

func TestASYNThatWasSentAgainIsTakenFromTheAttemptsOnce(t *testing.T) {
	r := newReport()
	sm := r.flow("10.0.0.1", 0, "10.0.0.2", 443)
	value(sm, "connect_attempts", 5)
	value(sm, "connect_attempts", 6) // a second point of the same flow
	value(sm, "retrans_syn", 7)
	sink, _ := processed(t, r.md)
	attempted := int64(0)
	for _, m := range sink.AllMetrics()[0].ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().All() {
		if m.Name() == "flow.tcp.connections.attempted" {
			for _, dp := range m.Sum().DataPoints().All() {
				attempted += dp.IntValue()
			}
		}
	}
	assert.EqualValues(t, 5+6-7, attempted)
}

func TestSamplesAreInTheBucketOfTheirMean(t *testing.T) {
	for _, mean := range []float64{15.26, 250, 1000, 62_500, 1_000_000, 31_640_625} { // µs; some are bounds
		r := newReport()
		timings(r.flow("10.0.0.1", 0, "10.0.0.2", 443), "rtt_us", 7, mean, mean, 7*mean)
		sink, _ := processed(t, r.md)
		_, histograms := numbers(t, sink.AllMetrics()[0])
		dp := histograms["flow.tcp.rtt"]
		require.EqualValues(t, exphist.Scale, dp.Scale())
		index := float64(dp.Positive().Offset())
		assert.Less(t, math.Exp2(index/4), mean/1e6)
		assert.GreaterOrEqual(t, math.Exp2((index+1)/4), mean/1e6)
	}
	for mean, want := range map[float64]int32{0.5: exphist.Offset, 1e12: exphist.Offset + exphist.NBuckets - 1} {
		r := newReport()
		timings(r.flow("10.0.0.1", 0, "10.0.0.2", 443), "rtt_us", 1, mean, mean, mean)
		sink, _ := processed(t, r.md)
		_, histograms := numbers(t, sink.AllMetrics()[0])
		assert.Equal(t, want, histograms["flow.tcp.rtt"].Positive().Offset(), "outside of the layout: its first or last")
	}
	r := newReport()
	timings(r.flow("10.0.0.1", 0, "10.0.0.2", 443), "rtt_us", 5, 0, 0, 0)
	sink, _ := processed(t, r.md)
	_, histograms := numbers(t, sink.AllMetrics()[0])
	assert.EqualValues(t, 5, histograms["flow.tcp.rtt"].ZeroCount())
}

func TestAFlowHasTheIdentityThatItsScopeNames(t *testing.T) {
	for name, c := range map[string]struct {
		local      string
		localPort  int64
		remote     string
		remotePort int64
		want       map[string]any
	}{
		"a client": {"10.0.0.1", 0, "10.0.0.2", 443, map[string]any{
			"network.transport": "tcp", "network.type": "ipv4", "flow.role": "client", "network.local.address": "10.0.0.1", "network.peer.address": "10.0.0.2", "network.peer.port": int64(443)}},
		"a server": {"10.0.0.1", 443, "10.0.0.2", 0, map[string]any{
			"network.transport": "tcp", "network.type": "ipv4", "flow.role": "server", "network.local.address": "10.0.0.1", "network.peer.address": "10.0.0.2", "network.local.port": int64(443)}},
		"IPv6": {"2001:db8::1", 0, "2001:db8::2", 443, map[string]any{
			"network.transport": "tcp", "network.type": "ipv6", "flow.role": "client", "network.local.address": "2001:db8::1", "network.peer.address": "2001:db8::2", "network.peer.port": int64(443)}},
		"IPv4 on a socket for both": {"::ffff:10.0.0.1", 0, "::ffff:10.0.0.2", 443, map[string]any{
			"network.transport": "tcp", "network.type": "ipv4", "flow.role": "client", "network.local.address": "10.0.0.1", "network.peer.address": "10.0.0.2", "network.peer.port": int64(443)}},
		"addresses with a zone": {"fe80::1%eth0", 0, "fe80::2%eth0", 443, map[string]any{
			"network.transport": "tcp", "network.type": "ipv6", "flow.role": "client", "network.local.address": "fe80::1", "network.peer.address": "fe80::2", "network.peer.port": int64(443)}},
		"both ports": {"10.0.0.1", 1, "10.0.0.2", 443, map[string]any{
			"network.transport": "tcp", "network.type": "ipv4", "flow.role": "unknown", "network.local.address": "10.0.0.1", "network.peer.address": "10.0.0.2", "network.local.port": int64(1), "network.peer.port": int64(443)}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReport()
			value(r.flow(c.local, c.localPort, c.remote, c.remotePort), "bytes_delivered", 1)
			sink, _ := processed(t, r.md)
			rm := sink.AllMetrics()[0].ResourceMetrics().At(0)
			assert.Equal(t, c.want, rm.ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints().At(0).Attributes().AsRaw())
		})
	}
}

func TestPodsAndHostsGetTheirNames(t *testing.T) {
	r := newReport()
	sm := r.flow("10.0.0.1", 0, "10.0.0.2", 443)
	value(sm, "bytes_delivered", 1)
	for k, v := range map[string]string{"local_pod_name": "a", "local_pod_namespace": "b", "local_pod_service": "", "remote_pod_name": "d", "remote_pod_namespace": "e", "remote_pod_service": "f"} {
		sm.Scope().Attributes().PutStr(k, v)
	}
	sink, _ := processed(t, r.md)
	rm := sink.AllMetrics()[0].ResourceMetrics().At(0)
	got := rm.ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints().At(0).Attributes().AsRaw()
	for k, v := range map[string]string{"flow.local.k8s.pod.name": "a", "flow.local.k8s.namespace.name": "b", "flow.remote.k8s.pod.name": "d", "flow.remote.k8s.namespace.name": "e", "flow.remote.k8s.service.name": "f"} {
		assert.Equal(t, v, got[k], k)
	}
	assert.NotContains(t, got, "flow.local.k8s.service.name", "an empty name is none")
	for k, v := range map[string]string{"host.id": "i-1", "service.instance.id": "i-1", "service.name": "agent", "k8s.node.name": "node-1", "k8s.cluster.name": "cluster-1", "flow.rtt.buckets": "mean"} {
		assert.Equal(t, v, rm.Resource().Attributes().AsRaw()[k], k)
	}
}

func TestWhatCannotBeReadIsCountedAndHarmsNothingElse(t *testing.T) {
	for name, c := range map[string]struct {
		change func(pmetric.ScopeMetrics)
		reason string
		n      int64
		left   int64 // bytes sent, as 47 of the flow and 100 of another one
	}{
		"no address":              {func(sm pmetric.ScopeMetrics) { sm.Scope().Attributes().Remove("local_address") }, "flow", 21, 100},
		"an address that is none": {func(sm pmetric.ScopeMetrics) { sm.Scope().Attributes().PutStr("remote_address", "here") }, "flow", 21, 100},
		"addresses of two kinds":  {func(sm pmetric.ScopeMetrics) { sm.Scope().Attributes().PutStr("remote_address", "::1") }, "flow", 21, 100},
		"no port":                 {func(sm pmetric.ScopeMetrics) { sm.Scope().Attributes().Remove("remote_port") }, "flow", 21, 100},
		"a port that is text":     {func(sm pmetric.ScopeMetrics) { sm.Scope().Attributes().PutStr("remote_port", "443") }, "flow", 21, 100},
		"a port too large":        {func(sm pmetric.ScopeMetrics) { sm.Scope().Attributes().PutInt("remote_port", 65536) }, "flow", 21, 100},
		"another protocol":        {func(sm pmetric.ScopeMetrics) { sm.Scope().Attributes().PutStr("protocol", "UDP") }, "flow", 21, 100},
		"a metric that is new":    {func(sm pmetric.ScopeMetrics) { value(sm, "ecn_marks", 1) }, "unknown", 1, 147},
		"a cumulative metric": {func(sm pmetric.ScopeMetrics) {
			of(sm, "bytes_delivered").Histogram().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		}, "cumulative", 1, 100},
		"a sum": {func(sm pmetric.ScopeMetrics) {
			of(sm, "bytes_delivered").SetEmptySum().DataPoints().AppendEmpty().SetIntValue(1)
		}, "malformed", 1, 100},
		"a negative number":     {func(sm pmetric.ScopeMetrics) { point(sm, "bytes_delivered").SetSum(-1) }, "malformed", 1, 100},
		"a fraction":            {func(sm pmetric.ScopeMetrics) { point(sm, "bytes_delivered").SetSum(0.5) }, "malformed", 1, 100},
		"no number":             {func(sm pmetric.ScopeMetrics) { point(sm, "bytes_delivered").SetSum(math.NaN()) }, "malformed", 1, 100},
		"a number too large":    {func(sm pmetric.ScopeMetrics) { point(sm, "bytes_delivered").SetSum(1e300) }, "malformed", 1, 100},
		"several samples":       {func(sm pmetric.ScopeMetrics) { point(sm, "bytes_delivered").SetCount(2) }, "malformed", 1, 100},
		"times above the most":  {func(sm pmetric.ScopeMetrics) { point(sm, "rtt_us").SetMax(14) }, "malformed", 1, 147},
		"times below the least": {func(sm pmetric.ScopeMetrics) { point(sm, "rtt_us").SetMin(15) }, "malformed", 1, 147},
		"times without a least": {func(sm pmetric.ScopeMetrics) { point(sm, "rtt_us").RemoveMin() }, "malformed", 1, 147},
		"times without a sum":   {func(sm pmetric.ScopeMetrics) { point(sm, "connect_us").RemoveSum() }, "malformed", 1, 147},
		"times in buckets": {func(sm pmetric.ScopeMetrics) {
			point(sm, "rtt_us").BucketCounts().FromRaw([]uint64{1, 2})
			point(sm, "rtt_us").ExplicitBounds().FromRaw([]float64{14})
		}, "malformed", 1, 147},
		"an endless time": {func(sm pmetric.ScopeMetrics) { p := point(sm, "rtt_us"); p.SetSum(math.Inf(1)); p.SetMax(math.Inf(1)) }, "malformed", 1, 147},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReport()
			sm := r.flow("10.0.0.1", 0, "10.0.0.2", 443)
			everything(sm)
			c.change(sm)
			value(r.flow("10.0.0.1", 0, "10.0.0.3", 443), "bytes_delivered", 100)
			sink, tel := processed(t, r.md)
			metadatatest.AssertEqualProcessorNfmagentPointsRefused(t, tel,
				[]metricdata.DataPoint[int64]{{Value: c.n, Attributes: attribute.NewSet(attribute.String("reason", c.reason))}}, metricdatatest.IgnoreTimestamp())
			assert.Equal(t, c.left, sent(sink.AllMetrics()[0]))
		})
	}
}

func of(sm pmetric.ScopeMetrics, name string) pmetric.Metric {
	for _, m := range sm.Metrics().All() {
		if m.Name() == name {
			return m
		}
	}
	panic(fmt.Sprintf("no metric %s", name))
}

func point(sm pmetric.ScopeMetrics, name string) pmetric.HistogramDataPoint {
	return of(sm, name).Histogram().DataPoints().At(0)
}

// sent adds up the bytes of all flow points.
func sent(md pmetric.Metrics) (n int64) {
	for _, rm := range md.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				if m.Name() == "flow.tcp.sent" {
					for _, dp := range m.Sum().DataPoints().All() {
						n += dp.IntValue()
					}
				}
			}
		}
	}
	return n
}

func TestOtherMetricsPassUnchanged(t *testing.T) {
	r := newReport()
	sm := r.rm.ScopeMetrics().AppendEmpty()
	sm.Scope().SetName("host_stats")
	sm.Scope().Attributes().PutStr("interface_id", "eni-1")
	sm.Metrics().AppendEmpty().SetName("bw_in_allowance_exceeded")
	other := r.md.ResourceMetrics().AppendEmpty()
	other.Resource().Attributes().PutStr("host.id", "i-2")
	other.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty().SetName("flow.tcp.sent")
	want := pmetric.NewMetrics()
	r.md.CopyTo(want)
	value(r.flow("10.0.0.1", 0, "10.0.0.2", 443), "bytes_delivered", 1)

	sink, _ := processed(t, r.md)
	got := sink.AllMetrics()[0]
	require.Equal(t, 2, got.ResourceMetrics().Len())
	assert.Equal(t, want.ResourceMetrics().At(0).ScopeMetrics().At(0), got.ResourceMetrics().At(0).ScopeMetrics().At(0))
	assert.Equal(t, want.ResourceMetrics().At(1), got.ResourceMetrics().At(1))
}

func TestABatchOfNothingButWhatIsRefusedGoesNoFurther(t *testing.T) {
	r := newReport()
	value(r.flow("here", 0, "there", 443), "bytes_delivered", 1)
	sink, _ := processed(t, r.md)
	assert.Empty(t, sink.AllMetrics())
}

func FuzzReport(f *testing.F) {
	r := newReport()
	everything(r.flow("10.0.0.1", 0, "10.0.0.2", 443))
	everything(r.flow("::ffff:10.0.0.1", 80, "10.0.0.2", 0))
	wire, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(r.md)
	require.NoError(f, err)
	f.Add(wire)
	f.Fuzz(func(t *testing.T, wire []byte) {
		md, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(wire)
		if err != nil {
			return
		}
		sink, _ := processed(t, md)
		for _, md := range sink.AllMetrics() {
			for _, rm := range md.ResourceMetrics().All() {
				for _, sm := range rm.ScopeMetrics().All() {
					require.NotEqual(t, scopeName, sm.Scope().Name(), "none is left")
				}
			}
			require.GreaterOrEqual(t, sent(md), int64(math.MinInt64)) // it can be read
		}
	})
}

// BenchmarkReport converts a report of 500 flows, the most that an agent sends.
func BenchmarkReport(b *testing.B) {
	const flows = 500
	full := newReport()
	for i := range flows {
		everything(full.flow("10.0.0.1", 0, fmt.Sprintf("10.0.%d.%d", i/250, i%250), 443))
	}
	c, err := newConverter(componenttest.NewNopTelemetrySettings())
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		md := pmetric.NewMetrics()
		full.md.CopyTo(md)
		b.StartTimer()
		if _, err := c.process(b.Context(), md); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*flows), "ns/flow")
}
