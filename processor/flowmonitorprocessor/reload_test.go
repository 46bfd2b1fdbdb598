// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/metadatatest"
)

// patience is how long a test waits for a change to be seen; it ends sooner when it is.
const patience = 20 * time.Second

// statusHost remembers the last status reported.
type statusHost struct {
	component.Host
	mu   sync.Mutex
	last componentstatus.Status
}

func (h *statusHost) Report(e *componentstatus.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = e.Status()
}

func (h *statusHost) status() componentstatus.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

func example(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("testdata/transit_gateway_example/topology.yaml")
	require.NoError(t, err)
	return string(data)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}

// replace writes a file beside and renames it over, as careful writers do.
func replace(t *testing.T, path, content string) {
	t.Helper()
	write(t, path+".new", content)
	require.NoError(t, os.Rename(path+".new", path))
}

// watching is a processor on files of its own.
type watching struct {
	*running
	host *statusHost
	p    *flowMonitor
}

func watchFiles(t *testing.T, cfg *Config) *watching {
	t.Helper()
	r := &running{sink: new(consumertest.MetricsSink), telemetry: componenttest.NewTelemetry()}
	set := metadatatest.NewSettings(r.telemetry)
	p, err := newFlowMonitor(cfg, set.TelemetrySettings)
	require.NoError(t, err)
	r.Metrics, err = p.component(t.Context(), set, r.sink)
	require.NoError(t, err)
	w := &watching{r, &statusHost{Host: componenttest.NewNopHost()}, p}
	require.NoError(t, w.Start(t.Context(), w.host))
	t.Cleanup(func() { require.NoError(t, w.Shutdown(context.Background())) })
	return w
}

// says sends one flow through and gives an attribute of it.
func (w *watching) says(key string) string {
	w.sink.Reset()
	if err := w.ConsumeMetrics(context.Background(), oneFlow(exampleFlow())); err != nil {
		return err.Error()
	}
	return attributeOf(w.sink.AllMetrics()[0], key)
}

// attributeOf gives an attribute of the first point; "" when it is not there.
func attributeOf(md pmetric.Metrics, key string) string {
	v, ok := firstPoint(md).Get(key)
	if !ok {
		return ""
	}
	return v.AsString()
}

func (w *watching) reloads(source, result string) int64 {
	m, err := w.telemetry.GetMetric("otelcol_processor_flowmonitor_reloads")
	if err != nil {
		return 0
	}
	for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
		s, _ := p.Attributes.Value("source")
		r, _ := p.Attributes.Value("result")
		if s.AsString() == source && r.AsString() == result {
			return p.Value
		}
	}
	return 0
}

const remoteENI = flowattr.RemotePrefix + flowattr.AWSENIID

func TestATopologyFileIsReadAgainWhenItChanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "topology.yaml")
	write(t, file, example(t))
	cfg := createDefaultConfig().(*Config)
	cfg.Topology.File = configoptional.Some(FileConfig{Path: file})
	w := watchFiles(t, cfg)
	require.Equal(t, "eni-2", w.says(remoteENI))

	write(t, file, strings.ReplaceAll(example(t), "eni-2", "eni-22"))
	require.Eventually(t, func() bool { return w.says(remoteENI) == "eni-22" }, patience, 10*time.Millisecond, "written in place")

	replace(t, file, strings.ReplaceAll(example(t), "eni-2", "eni-222"))
	require.Eventually(t, func() bool { return w.says(remoteENI) == "eni-222" }, patience, 10*time.Millisecond, "renamed over")
	assert.EqualValues(t, 3, w.reloads("topology", "ok"))
}

func TestABadNewFileKeepsTheOldTopologyAndSaysSo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "topology.yaml")
	write(t, file, example(t))
	cfg := createDefaultConfig().(*Config)
	cfg.Topology.File = configoptional.Some(FileConfig{Path: file})
	w := watchFiles(t, cfg)

	replace(t, file, strings.ReplaceAll(example(t), "10.2.0.0/16", "10.2.0.1/16"))
	require.Eventually(t, func() bool { return w.reloads("topology", "failed") == 1 }, patience, 10*time.Millisecond)
	assert.Equal(t, "eni-2", w.says(remoteENI), "the old topology stays")
	require.Eventually(t, func() bool { return w.host.status() == componentstatus.StatusRecoverableError }, patience, time.Millisecond)

	require.NoError(t, os.Remove(file))
	require.Eventually(t, func() bool { return w.reloads("topology", "failed") == 2 }, patience, 10*time.Millisecond)
	assert.Equal(t, "eni-2", w.says(remoteENI), "also when the file is gone")

	replace(t, file, strings.ReplaceAll(example(t), "eni-2", "eni-22"))
	require.Eventually(t, func() bool { return w.says(remoteENI) == "eni-22" }, patience, 10*time.Millisecond)
	require.Eventually(t, func() bool { return w.host.status() == componentstatus.StatusOK }, patience, time.Millisecond)
}

// A ConfigMap is mounted as links: file -> ..data/file, ..data -> ..<time>. An update
// makes a new folder and turns ..data.
func TestAMountedConfigMapIsFollowed(t *testing.T) {
	dir := t.TempDir()
	put := func(stamp, content string) {
		require.NoError(t, os.Mkdir(filepath.Join(dir, stamp), 0o700))
		write(t, filepath.Join(dir, stamp, "topology.yaml"), content)
		require.NoError(t, os.Symlink(stamp, filepath.Join(dir, "..data_tmp")))
		require.NoError(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	}
	put("..2026_1", example(t))
	require.NoError(t, os.Symlink("..data/topology.yaml", filepath.Join(dir, "topology.yaml")))
	cfg := createDefaultConfig().(*Config)
	cfg.Topology.File = configoptional.Some(FileConfig{Path: filepath.Join(dir, "topology.yaml")})
	w := watchFiles(t, cfg)
	require.Equal(t, "eni-2", w.says(remoteENI))

	put("..2026_2", strings.ReplaceAll(example(t), "eni-2", "eni-22"))
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "..2026_1")))
	require.Eventually(t, func() bool { return w.says(remoteENI) == "eni-22" }, patience, 10*time.Millisecond)
	put("..2026_3", strings.ReplaceAll(example(t), "eni-2", "eni-23"))
	require.Eventually(t, func() bool { return w.says(remoteENI) == "eni-23" }, patience, 10*time.Millisecond, "a second time")
}

func TestALinkToAFileElsewhereIsFollowed(t *testing.T) {
	far, near := t.TempDir(), t.TempDir()
	target := filepath.Join(far, "t.yaml")
	write(t, target, example(t))
	link := filepath.Join(near, "topology.yaml")
	require.NoError(t, os.Symlink(target, link))
	cfg := createDefaultConfig().(*Config)
	cfg.Topology.File = configoptional.Some(FileConfig{Path: link})
	w := watchFiles(t, cfg)
	replace(t, target, strings.ReplaceAll(example(t), "eni-2", "eni-22"))
	require.Eventually(t, func() bool { return w.says(remoteENI) == "eni-22" }, patience, 10*time.Millisecond)
}

func TestAMonitorsFileIsReadAgainAndABadOneKeepsTheOld(t *testing.T) {
	file := filepath.Join(t.TempDir(), "monitors.yaml")
	write(t, file, "- {name: one, local: [{type: vpc, id: vpc-1}]}\n")
	cfg := exampleConfig()
	cfg.MonitorsFile = file
	cfg.Monitors = []MonitorConfig{{Name: "inline", Local: []ResourceConfig{{Type: "vpc", ID: "vpc-1"}}}}
	w := watchFiles(t, cfg)
	require.Equal(t, `["inline","one"]`, w.says(flowattr.Monitors))

	replace(t, file, "monitors:\n  - {name: two, local: [{type: subnet, id: subnet-1}]}\n")
	require.Eventually(t, func() bool { return w.says(flowattr.Monitors) == `["inline","two"]` }, patience, 10*time.Millisecond)

	replace(t, file, "- {name: inline, local: [{type: vpc, id: vpc-1}]}\n") // the name is taken
	require.Eventually(t, func() bool { return w.reloads("monitors", "failed") == 1 }, patience, 10*time.Millisecond)
	assert.Equal(t, `["inline","two"]`, w.says(flowattr.Monitors))

	replace(t, file, "[]\n")
	require.Eventually(t, func() bool { return w.says(flowattr.Monitors) == `["inline"]` }, patience, 10*time.Millisecond)
}

func TestAFileOfRangesReplacesTheShippedOnes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ip-ranges.json")
	ranges := `{"prefixes": [{"ip_prefix": "10.2.0.0/16", "region": "eu-west-1", "service": "NEW_ONE", "network_border_group": "eu-west-1"}]}`
	write(t, file, ranges)
	cfg := createDefaultConfig().(*Config)
	cfg.Topology.IPRanges.Path = file
	cfg.Monitors = []MonitorConfig{{Name: "m", Local: []ResourceConfig{{Type: "vpc", ID: "vpc-1"}}, Remote: []ResourceConfig{{Type: "service", ID: "new_one"}}}}
	require.NoError(t, cfg.Validate())
	w := watchFiles(t, cfg)
	require.Equal(t, "NEW_ONE", w.says(flowattr.RemoteAWSService))
	replace(t, file, strings.ReplaceAll(ranges, "NEW_ONE", "NEWER"))
	require.Eventually(t, func() bool { return w.says(flowattr.RemoteAWSService) == "NEWER" }, patience, 10*time.Millisecond)
	replace(t, file, "{}")
	require.Eventually(t, func() bool { return w.reloads("ip_ranges", "failed") == 1 }, patience, 10*time.Millisecond)
	assert.Equal(t, "NEWER", w.says(flowattr.RemoteAWSService))
}

func TestAMonitorOfAServiceThatTheFileOfRangesDoesNotHaveIsRefusedAtTheStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ip-ranges.json")
	write(t, file, `{"prefixes": [{"ip_prefix": "3.0.0.0/16", "region": "eu-west-1", "service": "S3"}]}`)
	cfg := createDefaultConfig().(*Config)
	cfg.Topology.IPRanges.Path = file
	cfg.Monitors = []MonitorConfig{{Name: "m", Local: []ResourceConfig{{Type: "vpc", ID: "vpc-1"}}, Remote: []ResourceConfig{{Type: "service", ID: "EBS"}}}}
	p, err := NewFactory().CreateMetrics(t.Context(), metadatatest.NewSettings(componenttest.NewTelemetry()), cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.ErrorContains(t, p.Start(t.Context(), componenttest.NewNopHost()), "'monitors[0].remote[0].id': \"EBS\" is not a service")
	require.NoError(t, p.Shutdown(t.Context()))
}

// Batches run while the topology is swapped: each is labelled by one version, whole.
func TestASwapInTheMiddleOfTheStreamMislabelsNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "topology.yaml")
	versions := []string{example(t), strings.NewReplacer("eni-1,", "eni-1x,", "eni-2,", "eni-2x,").Replace(example(t))}
	write(t, file, versions[0])
	cfg := createDefaultConfig().(*Config)
	cfg.Topology.File = configoptional.Some(FileConfig{Path: file})
	cfg.MaxCachedFlows = minMaxCachedFlows
	w := watchFiles(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				md := oneFlow(exampleFlow())
				if err := w.ConsumeMetrics(ctx, md); err != nil {
					t.Error(err)
					return
				}
				local, _ := firstPoint(md).Get(flowattr.LocalPrefix + flowattr.AWSENIID)
				remote, _ := firstPoint(md).Get(remoteENI)
				if strings.HasSuffix(local.Str(), "x") != strings.HasSuffix(remote.Str(), "x") {
					t.Errorf("%s and %s are of two versions", local.Str(), remote.Str())
				}
			}
		})
	}
	for i := range 6 {
		replace(t, file, versions[(i+1)%2])
		require.Eventually(t, func() bool { return w.reloads("topology", "ok") == int64(i+2) }, patience, 5*time.Millisecond)
	}
	cancel()
	wg.Wait()
}

// The same for the monitors: both flows of a batch belong to those of one version.
func TestMonitorsThatChangeInTheMiddleOfTheStreamMislabelNothing(t *testing.T) {
	dir := t.TempDir()
	file, list := filepath.Join(dir, "topology.yaml"), filepath.Join(dir, "monitors.yaml")
	versions := []string{"[{name: old, local: [{type: vpc, id: vpc-1}], remote: [{type: vpc, id: vpc-2}]}]",
		"[{name: new, local: [{type: vpc, id: vpc-1}], remote: [{type: everywhere}]}, {name: never, local: [{type: vpc, id: vpc-2}]}]"}
	write(t, file, example(t))
	write(t, list, versions[0])
	cfg := createDefaultConfig().(*Config)
	cfg.Topology.File = configoptional.Some(FileConfig{Path: file})
	cfg.MonitorsFile = list
	w := watchFiles(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var seen [2]atomic.Int64
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				md := oneFlow(exampleFlow())
				oneFlow(exampleFlow()).ResourceMetrics().MoveAndAppendTo(md.ResourceMetrics())
				if err := w.ConsumeMetrics(ctx, md); err != nil {
					t.Error(err)
					return
				}
				var names []string
				for _, rm := range md.ResourceMetrics().All() {
					v, _ := rm.ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints().At(0).Attributes().Get(flowattr.Monitors)
					names = append(names, v.AsString())
				}
				switch {
				case names[0] != names[1]:
					t.Errorf("%s are of two versions", names)
				case names[0] == `["old"]`:
					seen[0].Add(1)
				case names[0] == `["new"]`:
					seen[1].Add(1)
				default:
					t.Errorf("%s are of no version", names)
				}
			}
		})
	}
	for i := range 6 {
		// Not by the clock: the version in force has to be seen before the next one comes.
		before := seen[i%2].Load()
		require.Eventually(t, func() bool { return seen[i%2].Load() > before }, patience, time.Millisecond)
		replace(t, list, versions[(i+1)%2])
		require.Eventually(t, func() bool { return w.reloads("monitors", "ok") == int64(i+2) }, patience, 5*time.Millisecond)
	}
	cancel()
	wg.Wait()
}
