// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/golden"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/pdatatest/pmetrictest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ec2/ec2test"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/file"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ipranges"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/metadatatest"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/parts"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/snapshot"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

func init() { saveDelay, lookupDelay = 50*time.Millisecond, 20*time.Millisecond }

// world is a declared topology as EC2 would have it.
func world(t *testing.T, path string) *topology.Topology {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	m, err := file.Topology(data)
	require.NoError(t, err)
	return ec2test.Complete(m, ipranges.Shipped().Blocks)
}

// fromEC2 is a configuration that reads all of a server's world, far more often than
// Validate allows.
func fromEC2(t *testing.T, s *ec2test.Server, w *topology.Topology) *Config {
	t.Helper()
	ec2test.Environment(t, ec2test.DefaultAccount)
	c := defaultEC2()
	c.Endpoint, c.STSEndpoint, c.RequestRate = s.URL, s.URL, 10_000
	var regions []string
	for _, r := range w.Regions {
		regions = append(regions, r.RegionName)
	}
	for _, a := range w.Accounts {
		account := AccountConfig{Regions: regions}
		if a.AccountID != ec2test.DefaultAccount {
			account.RoleARN = "arn:aws:iam::" + a.AccountID + ":role/reader"
		}
		c.Accounts = append(c.Accounts, account)
	}
	cfg := createDefaultConfig().(*Config)
	cfg.Topology.RefreshInterval = 50 * time.Millisecond
	cfg.Topology.EC2 = configoptional.Some(c)
	return cfg
}

func (w *watching) sum(name string, attributes ...string) int64 {
	m, err := w.telemetry.GetMetric("otelcol_processor_flowmonitor_" + name)
	if err != nil {
		return 0
	}
	var total int64
	for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
		match := true
		for i := 0; i < len(attributes); i += 2 {
			v, _ := p.Attributes.Value(attribute.Key(attributes[i]))
			match = match && v.AsString() == attributes[i+1]
		}
		if match {
			total += p.Value
		}
	}
	return total
}

// Each golden case gives the same with the EC2 API in the place of the file.
func TestGoldenByTheEC2API(t *testing.T) {
	cases, err := filepath.Glob("testdata/*/topology.yaml")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(cases), 14)
	for _, path := range cases {
		dir := filepath.Dir(path)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			declared := world(t, path)
			s := ec2test.New(t, declared)
			s.PageLimit = 3
			outputs := map[string]pmetric.Metrics{}
			for _, source := range []string{"file", "ec2"} {
				cfg := fromEC2(t, s, declared)
				cfg.Topology.RefreshInterval = time.Hour
				if source == "file" {
					cfg.Topology.EC2 = configoptional.None[EC2Config]()
					copied := filepath.Join(t.TempDir(), "snapshot")
					require.NoError(t, snapshot.Save(copied, []parts.Part{{Key: fileKey, Own: declared, Current: time.Now()}}))
					cfg.Topology.File = configoptional.Some(FileConfig{Path: copied})
				}
				if p := filepath.Join(dir, "monitors.yaml"); exists(p) {
					cfg.MonitorsFile = p
				}
				w := watchFiles(t, cfg)
				if source == "ec2" {
					n := int64(len(declared.Accounts) * len(declared.Regions))
					require.Eventually(t, func() bool { return w.sum("reloads", "source", "ec2", "result", "ok") == n }, patience, time.Millisecond)
					w.settled(t)
				}
				in, err := golden.ReadMetrics(filepath.Join(dir, "input.yaml"))
				require.NoError(t, err)
				require.NoError(t, w.ConsumeMetrics(t.Context(), in))
				outputs[source] = w.sink.AllMetrics()[0]
			}
			require.NoError(t, pmetrictest.CompareMetrics(outputs["file"], outputs["ec2"],
				pmetrictest.IgnoreMetricDataPointsOrder(), pmetrictest.IgnoreMetricsOrder(), pmetrictest.IgnoreResourceMetricsOrder()))
		})
	}
}

// settled waits until every part has answered and all that was read is in use.
func (w *watching) settled(t *testing.T) {
	t.Helper()
	s := w.p.sources
	require.Eventually(t, func() bool {
		s.mu.Lock()
		waiting := len(s.waiting)
		s.mu.Unlock()
		return waiting == 0 && slices.Equal(w.p.engine.Load().index.Counts(), topology.Build(s.parts.Merge(), ipranges.Shipped().Blocks).Counts())
	}, patience, 10*time.Millisecond)
}

const example2 = "testdata/transit_gateway_example/topology.yaml"

// renamed is a world whose interface has another id.
func renamed(w *topology.Topology, from, to string) *topology.Topology {
	next := *w
	next.NetworkInterfaces = slices.Clone(w.NetworkInterfaces)
	for i := range next.NetworkInterfaces {
		if next.NetworkInterfaces[i].NetworkInterfaceID == from {
			next.NetworkInterfaces[i].NetworkInterfaceID = to
		}
	}
	return &next
}

func TestTheEC2SourceIsReadAgainAndKeepsWhatItHad(t *testing.T) {
	declared := world(t, example2)
	s := ec2test.New(t, declared)
	w := watchFiles(t, fromEC2(t, s, declared))
	require.Eventually(t, func() bool { return w.says(remoteENI) == "eni-2" }, patience, 5*time.Millisecond)

	s.SetWorld(renamed(declared, "eni-2", "eni-22"))
	require.Eventually(t, func() bool { return w.says(remoteENI) == "eni-22" }, patience, 5*time.Millisecond)

	s.SetFault(func(c ec2test.Call) *ec2test.Fault {
		if c.Action == "DescribeAvailabilityZones" {
			return &ec2test.Fault{Status: 403, Code: "UnauthorizedOperation"}
		}
		return &ec2test.Fault{Status: 500, Code: "InternalError"} // for a refresh that is past the zones
	})
	require.Eventually(t, func() bool { return w.sum("reloads", "source", "ec2", "result", "failed") > 0 }, patience, 5*time.Millisecond)
	assert.Equal(t, "eni-22", w.says(remoteENI), "what was there stays")
	require.Eventually(t, func() bool {
		return w.sum("api_requests", "operation", "DescribeAvailabilityZones", "result", "denied") > 0
	}, patience, 5*time.Millisecond)
	assert.Positive(t, w.sum("api_requests", "operation", "DescribeNetworkInterfaces", "result", "ok"))
	require.Eventually(t, func() bool { return w.host.status() == componentstatus.StatusRecoverableError }, patience, time.Millisecond)
	failing, err := w.telemetry.GetMetric("otelcol_processor_flowmonitor_sources_failing")
	require.NoError(t, err)
	assert.Positive(t, failing.Data.(metricdata.Gauge[int64]).DataPoints[0].Value)
	ages := w.ages(t)
	require.Len(t, ages, len(declared.Accounts)*len(declared.Regions))
	before := ages["ec2 "+ec2test.DefaultAccount+" eu-west-1"]
	require.Eventually(t, func() bool { return w.ages(t)["ec2 "+ec2test.DefaultAccount+" eu-west-1"] > before+0.2 }, patience, 10*time.Millisecond, "it grows older")

	s.SetFault(nil)
	require.Eventually(t, func() bool { return w.host.status() == componentstatus.StatusOK }, patience, time.Millisecond)
	require.Eventually(t, func() bool { return w.ages(t)["ec2 "+ec2test.DefaultAccount+" eu-west-1"] < before+0.1 }, patience, time.Millisecond)
}

// A request that fails is tried again for more than a minute: nobody should believe meanwhile that all is well.
func TestAnAPIThatDoesNotAnswerIsSaidBeforeItIsGivenUp(t *testing.T) {
	declared := world(t, example2)
	s := ec2test.New(t, declared)
	s.SetFault(func(ec2test.Call) *ec2test.Fault { return &ec2test.Fault{Status: 500, Code: "InternalError"} })
	cfg := fromEC2(t, s, declared)
	cfg.Topology.RefreshInterval = time.Hour
	w := watchFiles(t, cfg)
	require.Eventually(t, func() bool { return w.host.status() == componentstatus.StatusRecoverableError }, 3*patience, time.Millisecond)
	assert.Zero(t, w.sum("reloads", "source", "ec2"), "none has ended")
	failing, err := w.telemetry.GetMetric("otelcol_processor_flowmonitor_sources_failing")
	require.NoError(t, err)
	assert.Positive(t, failing.Data.(metricdata.Gauge[int64]).DataPoints[0].Value)
	assert.Len(t, w.ages(t), len(declared.Accounts)*len(declared.Regions), "what was never read is as old as the wait for it")
	assert.Contains(t, w.ages(t), "ec2 111111111111 eu-west-1")
}

// ages gives the ages by source, account and Region.
func (w *watching) ages(t *testing.T) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	m, err := w.telemetry.GetMetric("otelcol_processor_flowmonitor_topology_age")
	if err != nil {
		return all
	}
	for _, p := range m.Data.(metricdata.Gauge[float64]).DataPoints {
		var key []string
		for _, k := range []attribute.Key{"source", "account", "region"} {
			if v, ok := p.Attributes.Value(k); ok {
				key = append(key, v.AsString())
			}
		}
		all[strings.Join(key, " ")] = p.Value
	}
	return all
}

// Batches run while accounts are refreshed and change: each is labelled by one version, whole.
func TestARefreshUnderLoadMislabelsNothing(t *testing.T) {
	declared := world(t, example2)
	other := renamed(renamed(declared, "eni-1", "eni-1x"), "eni-2", "eni-2x")
	s := ec2test.New(t, declared)
	cfg := fromEC2(t, s, declared)
	cfg.Topology.SnapshotPath = filepath.Join(t.TempDir(), "snapshot")
	cfg.MaxCachedFlows = minMaxCachedFlows
	w := watchFiles(t, cfg)
	require.Eventually(t, func() bool { return w.says(remoteENI) == "eni-2" }, patience, 5*time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				f := exampleFlow()
				if i%3 == 0 {
					f.Peer = netip.AddrFrom4([4]byte{10, 2, 1, byte(i)}) // most are of nobody: they are looked up
				}
				md := oneFlow(f)
				if err := w.ConsumeMetrics(ctx, md); err != nil {
					t.Error(err)
					return
				}
				local, remote := attributeOf(md, flowattr.LocalPrefix+flowattr.AWSENIID), attributeOf(md, remoteENI)
				if remote != "" && strings.HasSuffix(local, "x") != strings.HasSuffix(remote, "x") {
					t.Errorf("%s and %s are of two versions", local, remote)
				}
			}
		})
	}
	for i := range 4 {
		next, want := other, "eni-2x"
		if i%2 == 1 {
			next, want = declared, "eni-2"
		}
		s.SetWorld(next)
		require.Eventually(t, func() bool {
			md := oneFlow(exampleFlow())
			if w.ConsumeMetrics(ctx, md) != nil {
				return false
			}
			return attributeOf(md, remoteENI) == want
		}, patience, 5*time.Millisecond)
	}
	cancel()
	wg.Wait()
}

func TestAnUnknownAddressOfAKnownVPCIsLookedUp(t *testing.T) {
	declared := world(t, example2)
	s := ec2test.New(t, declared)
	cfg := fromEC2(t, s, declared)
	cfg.Topology.RefreshInterval = time.Hour // only a look-up can find it
	w := watchFiles(t, cfg)
	require.Eventually(t, func() bool { return w.says(remoteENI) == "eni-2" }, patience, 5*time.Millisecond)
	w.settled(t)

	next := *declared
	no := false
	next.NetworkInterfaces = append(slices.Clone(declared.NetworkInterfaces), topology.NetworkInterface{NetworkInterfaceID: "eni-new", SubnetID: "subnet-2", VPCID: "vpc-2",
		OwnerID: declared.NetworkInterfaces[0].OwnerID, InterfaceType: "interface", RequesterManaged: &no, PrivateIPAddresses: []netip.Addr{netip.MustParseAddr("10.2.1.99")}})
	s.SetWorld(&next)
	f := exampleFlow()
	f.Peer = netip.MustParseAddr("10.2.1.99")
	says := func() string {
		md := oneFlow(f)
		if err := w.ConsumeMetrics(t.Context(), md); err != nil {
			return err.Error()
		}
		return attributeOf(md, remoteENI)
	}
	require.Empty(t, says())
	require.Eventually(t, func() bool { return says() == "eni-new" }, patience, 5*time.Millisecond)
	assert.EqualValues(t, 1, w.sum("lookups", "result", "found"))

	f.Peer = netip.MustParseAddr("10.2.1.98") // of nobody
	require.Empty(t, says())
	require.Eventually(t, func() bool { return w.sum("lookups", "result", "not_found") == 1 }, patience, 5*time.Millisecond)
	metadatatest.AssertEqualProcessorFlowmonitorNegativeCacheEntries(t, w.telemetry, []metricdata.DataPoint[int64]{{Value: 1}}, metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualProcessorFlowmonitorNegativeCacheCapacity(t, w.telemetry, []metricdata.DataPoint[int64]{{Value: 65536}}, metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualProcessorFlowmonitorLookupsPending(t, w.telemetry, []metricdata.DataPoint[int64]{{Value: 0}}, metricdatatest.IgnoreTimestamp())
}

func TestTheSnapshotServesUntilTheSourcesAnswer(t *testing.T) {
	declared := world(t, example2)
	s := ec2test.New(t, declared)
	path := filepath.Join(t.TempDir(), "snapshot")
	cfg := fromEC2(t, s, declared)
	cfg.Topology.SnapshotPath = path
	w := watchFiles(t, cfg)
	require.Eventually(t, func() bool { return w.says(remoteENI) == "eni-2" }, patience, 5*time.Millisecond)
	require.Eventually(t, func() bool { return written(path, "eni-2") }, patience, 10*time.Millisecond)
	assert.Positive(t, w.sum("snapshot_writes", "result", "ok"))
	require.NoError(t, w.Shutdown(t.Context()))

	// AWS does not answer any more.
	s.SetFault(func(ec2test.Call) *ec2test.Fault { return &ec2test.Fault{Delay: time.Minute} })
	w = watchFiles(t, cfg)
	assert.Equal(t, "eni-2", w.says(remoteENI), "from the start")
	assert.EqualValues(t, 1, w.reloads("snapshot", "ok"))
	assert.NotEmpty(t, w.ages(t))
	require.NoError(t, w.Shutdown(t.Context())) // it goes on writing

	// The same file serves a host that has no permissions.
	host := createDefaultConfig().(*Config)
	host.Topology.File = configoptional.Some(FileConfig{Path: path})
	h := watchFiles(t, host)
	assert.Equal(t, "eni-2", h.says(remoteENI))
	age := h.ages(t)["file"]
	require.Eventually(t, func() bool { return h.ages(t)["file"] > age }, patience, time.Millisecond, "it is as old as it says, not as its last reading")
	changed := renamed(declared, "eni-2", "eni-from-the-gateway")
	require.NoError(t, snapshot.Save(path, []parts.Part{{Key: fileKey, Own: changed, Current: time.Now().Add(-time.Hour)}}))
	require.Eventually(t, func() bool { return h.says(remoteENI) == "eni-from-the-gateway" }, patience, 10*time.Millisecond)
	assert.Greater(t, h.ages(t)["file"], 3599.0)
}

func written(path, id string) bool {
	list, err := snapshot.Load(path)
	if err != nil {
		return false
	}
	for _, n := range parts.Merge(list).NetworkInterfaces {
		if n.NetworkInterfaceID == id {
			return true
		}
	}
	return false
}

func TestADamagedSnapshotIsIgnored(t *testing.T) {
	declared := world(t, example2)
	s := ec2test.New(t, declared)
	path := filepath.Join(t.TempDir(), "snapshot")
	require.NoError(t, os.WriteFile(path, []byte("\x1f\x8b no snapshot"), 0o600))
	cfg := fromEC2(t, s, declared)
	cfg.Topology.SnapshotPath = path
	w := watchFiles(t, cfg)
	assert.EqualValues(t, 1, w.reloads("snapshot", "failed"))
	require.Eventually(t, func() bool { return w.says(remoteENI) == "eni-2" }, patience, 5*time.Millisecond)
	require.Eventually(t, func() bool { return written(path, "eni-2") }, patience, 10*time.Millisecond, "and replaced")
}

func TestADamagedSnapshotInPlaceOfAFileIsAnErrorThatNamesIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snapshot")
	require.NoError(t, snapshot.Save(path, []parts.Part{{Key: fileKey, Own: world(t, example2), Current: time.Now()}}))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, data[:len(data)/2], 0o600))
	cfg := createDefaultConfig().(*Config)
	cfg.Topology.File = configoptional.Some(FileConfig{Path: path})
	p, err := NewFactory().CreateMetrics(t.Context(), metadatatest.NewSettings(componenttest.NewTelemetry()), cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.ErrorContains(t, p.Start(t.Context(), componenttest.NewNopHost()), "'topology::file::path': "+path+": damaged snapshot: ")
	require.NoError(t, p.Shutdown(t.Context()))
}

func TestASnapshotThatCannotBeWrittenIsCounted(t *testing.T) {
	cfg := exampleConfig()
	cfg.Topology.SnapshotPath = filepath.Join(t.TempDir(), "nowhere", "snapshot")
	w := watchFiles(t, cfg)
	require.Eventually(t, func() bool { return w.sum("snapshot_writes", "result", "failed") == 1 }, patience, 5*time.Millisecond)
	assert.Equal(t, "eni-2", w.says(remoteENI))
}

func TestTheStatusIsGoodAgainWhenAllIs(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "snapshots")
	require.NoError(t, os.Mkdir(folder, 0o700))
	path := filepath.Join(t.TempDir(), "topology.yaml")
	good := read(t, example2)
	write(t, path, good)
	cfg := createDefaultConfig().(*Config)
	cfg.Topology.File = configoptional.Some(FileConfig{Path: path})
	cfg.Topology.SnapshotPath, cfg.Topology.RefreshInterval = filepath.Join(folder, "snapshot"), 100*time.Millisecond
	w := watchFiles(t, cfg)
	failures := func(n int) func() bool { return func() bool { return w.p.sources.failures() == n } }
	require.Eventually(t, func() bool { return exists(cfg.Topology.SnapshotPath) }, patience, time.Millisecond)
	require.NoError(t, os.Rename(folder, folder+" gone"))
	replace(t, path, "vpcs: [")
	require.Eventually(t, failures(2), patience, time.Millisecond)
	replace(t, path, good)
	require.Eventually(t, failures(1), patience, time.Millisecond)
	assert.Equal(t, componentstatus.StatusRecoverableError, w.host.status())
	require.NoError(t, os.Rename(folder+" gone", folder))
	require.Eventually(t, failures(0), patience, time.Millisecond)
	assert.Equal(t, componentstatus.StatusOK, w.host.status())
}

func TestARefusedMonitorsFileIsReadAgainWithNewerRanges(t *testing.T) {
	ranges := func(token, service string) string {
		return fmt.Sprintf(`{"syncToken":%q,"createDate":"2026-01-01-00-00-00","prefixes":[{"ip_prefix":"198.51.100.0/24","region":"eu-west-1","service":%q,"network_border_group":"eu-west-1"}],"ipv6_prefixes":[]}`, token, service)
	}
	monitor := func(service string) string {
		return "- {name: a, local: [{type: region, id: eu-west-1}], remote: [{type: service, id: " + service + "}]}\n"
	}
	folder := t.TempDir()
	cfg := createDefaultConfig().(*Config)
	cfg.Topology.IPRanges.Path, cfg.MonitorsFile = filepath.Join(folder, "ranges.json"), filepath.Join(folder, "monitors.yaml")
	cfg.Topology.RefreshInterval = 100 * time.Millisecond
	write(t, cfg.Topology.IPRanges.Path, ranges("1", "S3"))
	write(t, cfg.MonitorsFile, monitor("S3"))
	w := watchFiles(t, cfg)
	replace(t, cfg.MonitorsFile, monitor("NEWER"))
	require.Eventually(t, func() bool { return w.p.sources.failures() == 1 }, patience, time.Millisecond)
	replace(t, cfg.Topology.IPRanges.Path, ranges("2", "NEWER"))
	require.Eventually(t, func() bool { return w.p.sources.failures() == 0 }, patience, time.Millisecond)
}

func TestShutdownDoesNotWaitForSlowAnswers(t *testing.T) {
	declared := world(t, example2)
	s := ec2test.New(t, declared)
	s.SetFault(func(ec2test.Call) *ec2test.Fault { return &ec2test.Fault{Delay: time.Minute} })
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(slow.Close)
	cfg := fromEC2(t, s, declared)
	cfg.Topology.IMDS = configoptional.Some(IMDSConfig{Endpoint: slow.URL})
	cfg.Topology.IPRanges = IPRangesConfig{Refresh: true, Endpoint: slow.URL}
	begun := time.Now()
	w := watchFiles(t, cfg)
	assert.Less(t, time.Since(begun), 2*time.Second, "the start waits for nobody")
	require.Eventually(t, func() bool { return s.Count("") > 0 }, patience, time.Millisecond)
	begun = time.Now()
	require.NoError(t, w.Shutdown(t.Context()))
	assert.Less(t, time.Since(begun), 2*time.Second)
	require.NoError(t, w.Shutdown(t.Context()), "twice")
}

func TestRefreshedRangesAreUsed(t *testing.T) {
	ranges := `{"syncToken": "1900000000", "createDate": "2030-01-01-00-00-00", "prefixes": [
		{"ip_prefix": "3.0.0.0/8", "region": "eu-west-1", "service": "AMAZON"}, {"ip_prefix": "3.0.0.0/9", "region": "eu-west-1", "service": "EC2"},
		{"ip_prefix": "3.1.0.0/16", "region": "eu-west-1", "service": "S3"}, {"ip_prefix": "203.0.113.0/24", "region": "eu-west-1", "service": "NEW_ONE"}]}`
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(ranges)) }))
	t.Cleanup(site.Close)
	cfg := exampleConfig()
	cfg.Topology.IPRanges = IPRangesConfig{Refresh: true, Endpoint: site.URL}
	require.NoError(t, cfg.Validate())
	w := watchFiles(t, cfg)
	f := exampleFlow()
	f.Local = netip.MustParseAddr("192.168.0.1") // somewhere without routes
	f.Peer = netip.MustParseAddr("203.0.113.7")
	require.Eventually(t, func() bool {
		md := oneFlow(f)
		require.NoError(t, w.ConsumeMetrics(t.Context(), md))
		return attributeOf(md, flowattr.RemoteAWSService) == "NEW_ONE"
	}, patience, 5*time.Millisecond)
	assert.Equal(t, "eni-2", w.says(remoteENI), "the topology is still there")
	assert.EqualValues(t, 1, w.reloads("ip_ranges", "ok"))
}

func TestAHostWithOnlyItsMetadataService(t *testing.T) {
	values := map[string]string{
		"dynamic/instance-identity/document": `{"accountId": "111111111111"}`, "meta-data/instance-id": "i-1", "meta-data/placement/region": "eu-west-1",
		"meta-data/placement/availability-zone": "eu-west-1a", "meta-data/placement/availability-zone-id": "euw1-az1", "meta-data/network/interfaces/macs/": "02:01/",
	}
	for k, v := range map[string]string{"interface-id": "eni-1", "subnet-id": "subnet-1", "vpc-id": "vpc-1", "owner-id": "111111111111", "local-ipv4s": "10.1.1.10",
		"subnet-ipv4-cidr-block": "10.1.1.0/24", "vpc-ipv4-cidr-block": "10.1.0.0/16"} {
		values["meta-data/network/interfaces/macs/02:01/"+k] = v
	}
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, ok := values[strings.TrimPrefix(r.URL.Path, "/latest/")]
		switch {
		case r.Method == http.MethodPut:
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
			v = "token"
		case !ok:
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write([]byte(v))
	}))
	t.Cleanup(service.Close)
	cfg := createDefaultConfig().(*Config)
	cfg.Topology.IMDS = configoptional.Some(IMDSConfig{Endpoint: service.URL})
	require.NoError(t, cfg.Validate())
	w := watchFiles(t, cfg)
	require.Eventually(t, func() bool { return w.says(flowattr.LocalPrefix+flowattr.AWSENIID) == "eni-1" }, patience, 5*time.Millisecond)
	assert.Equal(t, "111111111111", w.says(flowattr.LocalPrefix+flowattr.CloudAccountID))
	assert.Equal(t, "euw1-az1", w.says(flowattr.LocalPrefix+flowattr.AWSAZID))
	assert.Contains(t, w.ages(t), "imds 111111111111 eu-west-1")
}

// A file says what AWS does not know, of the same things.
func TestAFileBesideTheEC2Source(t *testing.T) {
	declared := world(t, example2)
	s := ec2test.New(t, declared)
	cfg := fromEC2(t, s, declared)
	path := filepath.Join(t.TempDir(), "pods.yaml")
	write(t, path, `
vpcs: [{vpc_id: vpc-2, region: eu-west-1, cidr_blocks: [10.2.0.0/16]}]
subnets: [{subnet_id: subnet-2, vpc_id: vpc-2, cidr_blocks: [10.2.1.0/24], availability_zone_id: euw1-az1}]
network_interfaces: [{network_interface_id: eni-2, subnet_id: subnet-2, k8s: {pod_name: db-0}}]
`)
	cfg.Topology.File = configoptional.Some(FileConfig{Path: path})
	w := watchFiles(t, cfg)
	require.Eventually(t, func() bool { return w.says(remoteENI) == "eni-2" }, patience, 5*time.Millisecond)
	assert.Equal(t, "db-0", w.says(flowattr.RemotePrefix+flowattr.K8SPodName))
	assert.Contains(t, w.ages(t), "file")
	w.settled(t)
	replace(t, path, strings.ReplaceAll(read(t, path), "db-0", "db-1"))
	require.Eventually(t, func() bool { return w.says(flowattr.RemotePrefix+flowattr.K8SPodName) == "db-1" }, patience, 5*time.Millisecond)
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}
