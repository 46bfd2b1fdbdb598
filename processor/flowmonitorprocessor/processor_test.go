// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/metadatatest"
)

// running is a started processor with its sink and telemetry.
type running struct {
	processor.Metrics
	sink      *consumertest.MetricsSink
	telemetry *componenttest.Telemetry
	logs      *observer.ObservedLogs
}

func start(t *testing.T, cfg *Config) *running {
	t.Helper()
	require.NoError(t, cfg.Validate())
	r := &running{sink: new(consumertest.MetricsSink), telemetry: componenttest.NewTelemetry()}
	set := metadatatest.NewSettings(r.telemetry)
	core, logs := observer.New(zap.DebugLevel)
	set.Logger, r.logs = zap.New(core), logs
	var err error
	r.Metrics, err = NewFactory().CreateMetrics(t.Context(), set, cfg, r.sink)
	require.NoError(t, err)
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() {
		require.NoError(t, r.Shutdown(context.Background()))
		require.NoError(t, r.telemetry.Shutdown(context.Background()))
	})
	return r
}

func exampleConfig() *Config {
	cfg := createDefaultConfig().(*Config)
	cfg.Topology.File = configoptional.Some(FileConfig{Path: "testdata/transit_gateway_example/topology.yaml"})
	return cfg
}

func exampleFlow() flowattr.Flow {
	return flowattr.Flow{Local: netip.MustParseAddr("10.1.1.10"), Peer: netip.MustParseAddr("10.2.1.10"), PeerPort: 443, Role: flowattr.RoleClient}
}

// oneFlow is a batch with one point of one flow.
func oneFlow(f flowattr.Flow) pmetric.Metrics {
	md := pmetric.NewMetrics()
	m := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName(flowattr.MetricSent)
	s := m.SetEmptySum()
	s.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	s.SetIsMonotonic(true)
	p := s.DataPoints().AppendEmpty()
	p.SetIntValue(1)
	f.Put(p.Attributes())
	return md
}

// firstPoint gives the attributes of the first point of a batch.
func firstPoint(md pmetric.Metrics) pcommon.Map {
	return md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints().At(0).Attributes()
}

func TestSumsOutAreSumsInButForWhatIsRefused(t *testing.T) {
	r := start(t, exampleConfig())
	random := rand.New(rand.NewPCG(1, 2))
	var sentIn, refusedIn, pointsIn, refusedPoints int64
	for range 50 {
		md := pmetric.NewMetrics()
		for range 1 + random.IntN(4) {
			rm := md.ResourceMetrics().AppendEmpty()
			if random.IntN(2) == 0 {
				rm.Resource().Attributes().PutStr(flowattr.HostID, "i-"+strconv.Itoa(random.IntN(3)))
			}
			for range random.IntN(3) {
				sm := rm.ScopeMetrics().AppendEmpty()
				for range random.IntN(4) {
					m := sm.Metrics().AppendEmpty()
					m.SetName("m" + strconv.Itoa(random.IntN(3)))
					s := m.SetEmptySum()
					cumulative := random.IntN(4) == 0
					s.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
					if cumulative {
						s.SetAggregationTemporality([]pmetric.AggregationTemporality{pmetric.AggregationTemporalityCumulative, pmetric.AggregationTemporalityUnspecified}[random.IntN(2)])
					}
					for range random.IntN(6) {
						p := s.DataPoints().AppendEmpty()
						v := random.Int64N(1000)
						p.SetIntValue(v)
						pointsIn++
						sentIn += v
						switch random.IntN(5) {
						case 0: // no flow
							p.Attributes().PutStr("x", "y")
							continue
						case 1:
							(&flowattr.Flow{Overflow: true}).Put(p.Attributes())
						default:
							f := flowattr.Flow{Role: flowattr.RoleServer, LocalPort: 80,
								Local: netip.AddrFrom4([4]byte{10, 1, 1, byte(random.IntN(20))}),
								Peer:  netip.AddrFrom4([4]byte{10, byte(random.IntN(4)), 1, byte(random.IntN(20))})}
							f.Put(p.Attributes())
						}
						if cumulative {
							refusedIn += v
							refusedPoints++
						}
					}
				}
			}
		}
		require.NoError(t, r.ConsumeMetrics(t.Context(), md))
	}
	var sentOut, pointsOut int64
	for _, md := range r.sink.AllMetrics() {
		for _, rm := range md.ResourceMetrics().All() {
			for _, sm := range rm.ScopeMetrics().All() {
				for _, m := range sm.Metrics().All() {
					for _, p := range m.Sum().DataPoints().All() {
						sentOut += p.IntValue()
						pointsOut++
						if _, flow := flowattr.Read(p.Attributes()); flow {
							_, ok := p.Attributes().Get(flowattr.Category)
							assert.True(t, ok, "every flow has a category")
						}
					}
				}
			}
		}
	}
	require.Positive(t, refusedPoints)
	assert.Equal(t, sentIn, sentOut+refusedIn)
	assert.Equal(t, pointsIn, pointsOut+refusedPoints)
	metadatatest.AssertEqualProcessorFlowmonitorPointsRefused(t, r.telemetry, []metricdata.DataPoint[int64]{{Value: refusedPoints}}, metricdatatest.IgnoreTimestamp())
	assert.Equal(t, 1, r.logs.FilterLevelExact(zap.WarnLevel).Len(), "one line for all of them")
}

func TestABatchOfRefusedPointsOnlyGoesNoFurther(t *testing.T) {
	r := start(t, exampleConfig())
	md := oneFlow(exampleFlow())
	md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	require.NoError(t, r.ConsumeMetrics(t.Context(), md))
	assert.Empty(t, r.sink.AllMetrics())
}

func TestTheSlicesCanBeSwitchedOff(t *testing.T) {
	for _, write := range []AttributesConfig{{}, {Path: true}, {Monitors: true}, {Path: true, Monitors: true}} {
		cfg := exampleConfig()
		cfg.Attributes = write
		cfg.Monitors = []MonitorConfig{{Name: "b", Local: []ResourceConfig{{Type: "vpc", ID: "vpc-1"}}}, {Name: "a", Local: []ResourceConfig{{Type: "region", ID: "eu-west-1"}}}}
		r := start(t, cfg)
		require.NoError(t, r.ConsumeMetrics(t.Context(), oneFlow(exampleFlow())))
		point := firstPoint(r.sink.AllMetrics()[0])
		path, hasPath := point.Get(flowattr.Path)
		monitors, hasMonitors := point.Get(flowattr.Monitors)
		assert.Equal(t, write.Path, hasPath)
		assert.Equal(t, write.Monitors, hasMonitors)
		if hasPath {
			assert.Equal(t, []any{"eni/eni-1", "subnet/subnet-1", "transit_gateway/tgw-1", "subnet/subnet-2", "eni/eni-2"}, path.Slice().AsRaw())
		}
		if hasMonitors {
			assert.Equal(t, []any{"a", "b"}, monitors.Slice().AsRaw())
		}
		category, _ := point.Get(flowattr.Category)
		assert.Equal(t, flowattr.CategoryInterVPC, category.Str())
	}
}

func TestItReportsWhatItHoldsAndDoes(t *testing.T) {
	cfg := exampleConfig()
	cfg.Monitors = []MonitorConfig{
		{Name: "there", Local: []ResourceConfig{{Type: "vpc", ID: "vpc-1"}}},
		{Name: "gone", Local: []ResourceConfig{{Type: "subnet", ID: "subnet-9"}}},
	}
	r := start(t, cfg)
	known := exampleFlow()
	stranger := known
	stranger.Peer = netip.MustParseAddr("10.9.9.9")
	for range 2 {
		require.NoError(t, r.ConsumeMetrics(t.Context(), oneFlow(known)))
		require.NoError(t, r.ConsumeMetrics(t.Context(), oneFlow(stranger)))
	}
	other := oneFlow(known)
	firstPoint(other).Clear()
	require.NoError(t, r.ConsumeMetrics(t.Context(), other))

	tel, ignore := r.telemetry, metricdatatest.IgnoreTimestamp()
	one := func(v int64) []metricdata.DataPoint[int64] { return []metricdata.DataPoint[int64]{{Value: v}} }
	metadatatest.AssertEqualProcessorFlowmonitorPointsEnriched(t, tel, one(4), ignore)
	metadatatest.AssertEqualProcessorFlowmonitorPointsPassed(t, tel, one(1), ignore)
	metadatatest.AssertEqualProcessorFlowmonitorPointsUnresolved(t, tel, []metricdata.DataPoint[int64]{
		{Value: 2, Attributes: attribute.NewSet(attribute.String("reason", "unknown"))}}, ignore)
	metadatatest.AssertEqualProcessorFlowmonitorCacheMisses(t, tel, one(2), ignore)
	metadatatest.AssertEqualProcessorFlowmonitorCacheEntries(t, tel, one(3), ignore) // two answers and their origin
	metadatatest.AssertEqualProcessorFlowmonitorCacheCapacity(t, tel, one(defaultMaxCachedFlows), ignore)
	metadatatest.AssertEqualProcessorFlowmonitorMonitors(t, tel, one(2), ignore)
	metadatatest.AssertEqualProcessorFlowmonitorMonitorsWithoutResource(t, tel, one(1), ignore)
	metadatatest.AssertEqualProcessorFlowmonitorTopologyVersions(t, tel, one(1), ignore)
	metadatatest.AssertEqualProcessorFlowmonitorReloads(t, tel, []metricdata.DataPoint[int64]{
		{Value: 1, Attributes: attribute.NewSet(attribute.String("source", "topology"), attribute.String("result", "ok"))}}, ignore)
	age, err := tel.GetMetric("otelcol_processor_flowmonitor_topology_age")
	require.NoError(t, err)
	assert.GreaterOrEqual(t, age.Data.(metricdata.Gauge[float64]).DataPoints[0].Value, 0.0)
	entities, err := tel.GetMetric("otelcol_processor_flowmonitor_topology_entities")
	require.NoError(t, err)
	held := map[string]int64{}
	for _, p := range entities.Data.(metricdata.Gauge[int64]).DataPoints {
		kind, _ := p.Attributes.Value("kind")
		held[kind.AsString()] = p.Value
	}
	assert.EqualValues(t, 2, held["network_interfaces"])
	assert.EqualValues(t, 1, held["transit_gateways"])
	assert.EqualValues(t, 0, held["nat_gateways"], "what is not there is said too")
}

func TestAMonitorWithoutItsResourceMatchesTheRest(t *testing.T) {
	cfg := exampleConfig()
	cfg.Monitors = []MonitorConfig{{Name: "half", Local: []ResourceConfig{{Type: "subnet", ID: "subnet-9"}, {Type: "subnet", ID: "subnet-1"}}}}
	r := start(t, cfg)
	require.NoError(t, r.ConsumeMetrics(t.Context(), oneFlow(exampleFlow())))
	monitors, ok := firstPoint(r.sink.AllMetrics()[0]).Get(flowattr.Monitors)
	require.True(t, ok)
	assert.Equal(t, []any{"half"}, monitors.Slice().AsRaw())
}

func TestShutdownIsSafeTwiceAndWithoutStart(t *testing.T) {
	set := metadatatest.NewSettings(componenttest.NewTelemetry())
	p, err := NewFactory().CreateMetrics(t.Context(), set, exampleConfig(), consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, p.Shutdown(t.Context()))
	require.NoError(t, p.Shutdown(t.Context()))

	p, err = NewFactory().CreateMetrics(t.Context(), set, exampleConfig(), consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
	require.NoError(t, p.Shutdown(t.Context()))
	require.NoError(t, p.Shutdown(t.Context()))
}

func TestABadFileAtTheStartIsAnErrorWithLineAndField(t *testing.T) {
	cfg := exampleConfig()
	cfg.Topology.File = configoptional.Some(FileConfig{Path: "testdata/bad_topology.yaml"})
	cfg.MonitorsFile = "testdata/bad_monitors.yaml"
	p, err := NewFactory().CreateMetrics(t.Context(), metadatatest.NewSettings(componenttest.NewTelemetry()), cfg, consumertest.NewNop())
	require.NoError(t, err)
	err = p.Start(t.Context(), componenttest.NewNopHost())
	require.Error(t, err)
	for _, want := range []string{
		"'topology::file::path': testdata/bad_topology.yaml: line 2: ",
		"line 2: vpcs[0].cidr_blocks[0]: 10.0.0.1/16 has host bits set",
		"line 4: subnets[0].vpc_id: VPC \"vpc-2\" is not defined in 'vpcs'",
		"line 5: subnets[0].colour: unknown field",
		"'monitors_file': testdata/bad_monitors.yaml: line 3: monitors[0].local[0].type: \"host\" is no type",
	} {
		assert.ErrorContains(t, err, want)
	}
	require.NoError(t, p.Shutdown(t.Context()))
}

func TestAMissingFileAtTheStartIsAnError(t *testing.T) {
	cfg := exampleConfig()
	cfg.Topology.File = configoptional.Some(FileConfig{Path: "testdata/nowhere.yaml"})
	p, err := NewFactory().CreateMetrics(t.Context(), metadatatest.NewSettings(componenttest.NewTelemetry()), cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.ErrorContains(t, p.Start(t.Context(), componenttest.NewNopHost()), "'topology::file::path': open testdata/nowhere.yaml")
	require.NoError(t, p.Shutdown(t.Context()))
}

func TestAListenerKeepsNothingOfAnEarlierEnrichment(t *testing.T) {
	r := start(t, exampleConfig())
	for _, local := range []string{"10.1.1.10", "10.250.250.250"} { // in the topology, and not
		md := pmetric.NewMetrics()
		m := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
		m.SetName(flowattr.MetricListenDrops)
		m.SetEmptySum().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		p := m.Sum().DataPoints().AppendEmpty()
		p.Attributes().PutStr("network.local.address", local)
		p.Attributes().PutInt("network.local.port", 443)
		p.Attributes().PutStr(flowattr.LocalPrefix+flowattr.AWSENIID, "eni-of-an-older-topology")
		p.Attributes().PutStr(flowattr.LocalPrefix+flowattr.K8SPodName, "pod-of-an-older-topology")
		r.sink.Reset()
		require.NoError(t, r.ConsumeMetrics(t.Context(), md))
		for _, v := range firstPoint(r.sink.AllMetrics()[0]).All() {
			assert.NotContains(t, v.AsString(), "older", local)
		}
	}
}

func TestPointsOfNoTemporalityAreRefused(t *testing.T) {
	r := start(t, exampleConfig())
	for name, change := range map[string]func(pmetric.Metric){
		"a sum": func(m pmetric.Metric) {
			m.Sum().SetAggregationTemporality(pmetric.AggregationTemporalityUnspecified)
		},
		"a histogram": func(m pmetric.Metric) {
			f := exampleFlow()
			f.Put(m.SetEmptyExponentialHistogram().DataPoints().AppendEmpty().Attributes())
		},
	} {
		md := oneFlow(exampleFlow())
		change(md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0))
		require.NoError(t, r.ConsumeMetrics(t.Context(), md))
		assert.Zero(t, r.sink.DataPointCount(), name)
	}
	metadatatest.AssertEqualProcessorFlowmonitorPointsRefused(t, r.telemetry, []metricdata.DataPoint[int64]{{Value: 2}}, metricdatatest.IgnoreTimestamp())
}
