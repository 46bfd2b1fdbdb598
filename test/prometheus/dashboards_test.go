// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package prometheus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.yaml.in/yaml/v3"

	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
)

// dashboard is what Grafana reads of a dashboard's JSON, as far as it can be wrong.
type dashboard struct {
	ID            any
	UID           *string
	Title         string
	SchemaVersion int
	Panels        []panel
	Templating    struct{ List []variable }
}

type panel struct {
	ID         int
	Type       string
	Title      string
	Datasource *datasource
	GridPos    struct{ X, Y, W, H int }
	Targets    []struct {
		Expr, RefID string
		Datasource  datasource
	}
}

type datasource struct{ Type, UID string }

type variable struct {
	Name, Type, Regex string
	AllValue          string
	IncludeAll        bool
	Datasource        *datasource
	Query             any
	Definition        string
	Current           struct{ Value any }
}

func readDashboards(t testing.TB) map[string]dashboard {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dashboards, "*.json"))
	require.NoError(t, err)
	found := map[string]dashboard{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var d dashboard
		require.NoError(t, json.Unmarshal(text, &d), file)
		found[filepath.Base(file)] = d
	}
	require.Len(t, found, 4, "workload insights, monitors, a flow's path, collectors")
	return found
}

// substitute puts values for variables as Grafana does: "All" is the variable's allValue.
func (d dashboard) substitute(t testing.TB, expr string) string {
	t.Helper()
	values := map[string]string{"__rate_interval": "1m", "__range": "10m", "__interval": "15s"}
	for _, v := range d.Templating.List {
		value, _ := v.Current.Value.(string)
		if v.IncludeAll && value == "$__all" {
			value = v.AllValue
		}
		values[v.Name] = value
	}
	return reference.ReplaceAllStringFunc(expr, func(found string) string {
		name := reference.FindStringSubmatch(found)[1]
		value, ok := values[name]
		assert.True(t, ok && value != "", "%s: %s of %s has no value", d.Title, found, expr)
		return value
	})
}

var reference = regexp.MustCompile(`\$\{?([a-z_]+)(?::[a-z]+)?\}?`)

func TestDashboardsCanBeImportedAnywhere(t *testing.T) {
	for name, d := range readDashboards(t) {
		t.Run(name, func(t *testing.T) {
			assert.Nil(t, d.ID, "Grafana gives it")
			assert.Nil(t, d.UID, "Grafana gives it: two that are equal overwrite each other")
			assert.GreaterOrEqual(t, d.SchemaVersion, 36, "data sources are objects since")
			assert.LessOrEqual(t, d.SchemaVersion, 41, "the newest of the classic schema")
			assert.NotEmpty(t, d.Title)
			require.NotEmpty(t, d.Templating.List)
			assert.Equal(t, "datasource", d.Templating.List[0].Type, "the others need it")
			assert.Equal(t, "datasource", d.Templating.List[0].Name)
			ids := map[int]bool{}
			taken := map[[2]int]string{}
			for _, p := range d.Panels {
				assert.False(t, ids[p.ID], "panel %d is there twice", p.ID)
				ids[p.ID] = true
				assert.Contains(t, []string{"row", "timeseries", "table", "stat", "state-timeline"}, p.Type)
				assert.NotEmpty(t, p.Title)
				require.Positive(t, p.GridPos.W)
				require.Positive(t, p.GridPos.H)
				assert.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
				for x := range p.GridPos.W {
					for y := range p.GridPos.H {
						at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
						require.Empty(t, taken[at], "%s lies on it", p.Title)
						taken[at] = p.Title
					}
				}
				if p.Type == "row" {
					continue
				}
				assert.NotEmpty(t, p.Targets, p.Title)
				assert.Equal(t, &datasource{"prometheus", "${datasource}"}, p.Datasource, p.Title)
				refs := map[string]bool{}
				for _, target := range p.Targets {
					assert.Equal(t, datasource{"prometheus", "${datasource}"}, target.Datasource, p.Title)
					assert.False(t, refs[target.RefID], "%s: two queries %s", p.Title, target.RefID)
					refs[target.RefID] = true
				}
			}
			for _, v := range d.Templating.List {
				if v.Type == "query" {
					assert.Equal(t, &datasource{"prometheus", "${datasource}"}, v.Datasource, v.Name)
				}
			}
		})
	}
}

var labelValues = regexp.MustCompile(`^label_values\((.*), ([a-z_]+)\)$`)

// TestEveryQueryOfTheDashboardsReturnsData runs a gateway and an agent with the example's files, lets the example's rules
// record, and asks a real server everything that the dashboards ask.
func TestEveryQueryOfTheDashboardsReturnsData(t *testing.T) {
	t.Parallel()
	otlp, flows, self := collector.FreeAddress(t), collector.FreeAddress(t), collector.FreeAddress(t)
	gateway := collector.StartExample(t, filepath.Join(example, "gateway.yaml"),
		"FLOWMONITOR_OTLP="+collector.FreeAddress(t), "FLOWMONITOR_OTLP_HTTP="+otlp, "FLOWMONITOR_LISTEN="+flows, "FLOWMONITOR_SELF_PORT="+port(self))
	defer gateway.Stop(t)
	agentFlows, agentSelf := collector.FreeAddress(t), collector.FreeAddress(t)
	agent := collector.StartExample(t, filepath.Join(example, "agent.yaml"),
		"FLOWMONITOR_INTERVAL=1s", "FLOWMONITOR_LISTEN="+agentFlows, "FLOWMONITOR_SELF_PORT="+port(agentSelf))
	defer agent.Stop(t)

	s := startServer(t, quick(t, flows+", "+agentFlows, self+", "+agentSelf))
	f := newFleet(time.Now().Add(-2 * time.Hour).Truncate(step))
	misfits(t, otlp, f)

	// What has no data yet is asked again, while the fleet goes on; a thing that never comes fails.
	type question struct{ dashboard, panel, expr string }
	var open []question
	for name, d := range readDashboards(t) {
		for _, v := range d.Templating.List {
			if v.Type != "query" {
				continue
			}
			parts := labelValues.FindStringSubmatch(v.Definition)
			require.NotNil(t, parts, "%s: %s", name, v.Definition)
			selector := strings.TrimSuffix(parts[1], "}")
			if strings.Contains(selector, "{") {
				selector += `, `
			} else {
				selector += `{`
			}
			open = append(open, question{name, v.Name, fmt.Sprintf(`group by (%s) (%s%[1]s!=""})`, parts[2], d.substitute(t, selector))})
		}
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				open = append(open, question{name, p.Title, d.substitute(t, target.Expr)})
			}
		}
	}
	for _, name := range sources(t) {
		open = append(open, question{"rules", name, fmt.Sprintf(`count({__name__=%q})`, name)})
	}
	// The faults that the fleet plays, all the way to the alert.
	for _, alert := range []string{"FlowNetworkDegraded", "FlowComponentDegraded", "FlowRetransmissionsHigh", "FlowConnectionsFailing"} {
		open = append(open, question{"alerts", alert, fmt.Sprintf(`ALERTS{alertname=%q}`, alert)})
	}
	asked := len(open)
	deadline := time.Now().Add(90 * time.Second)
	for len(open) > 0 && time.Now().Before(deadline) {
		// A connection of this machine, for the agent: short ones make audits and histograms.
		traffic(t)
		send(t, otlp, f.next(f.round > 6))
		time.Sleep(300 * time.Millisecond)
		if f.round < 12 { // a verdict needs a few windows
			continue
		}
		var still []question
		for _, q := range open {
			samples, err := s.ask(q.expr, time.Now())
			require.NoError(t, err, "%s, %s", q.dashboard, q.panel)
			if !number(samples) {
				still = append(still, q)
			}
		}
		open = still
	}
	for _, q := range open {
		t.Errorf("%s, %s: no data for %s", q.dashboard, q.panel, q.expr)
	}
	assert.Greater(t, asked, 70)
	t.Logf("%d queries returned data", asked-len(open))
}

// number says whether a panel would show something: an element that is not NaN.
func number(samples []sample) bool {
	for _, s := range samples {
		if s.value == s.value {
			return true
		}
	}
	return false
}

// quick is the example's prometheus.yaml with its rules, for other addresses, and every second instead of every quarter
// of a minute and every minute.
func quick(t testing.TB, flows, collectors string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(example, "prometheus.yaml"))
	require.NoError(t, err)
	config := string(text)
	replace := func(old, new string) {
		require.Equal(t, 1, strings.Count(config, old), "%s in prometheus.yaml", old)
		config = strings.Replace(config, old, new, 1)
	}
	replace("scrape_interval: 15s", "scrape_interval: 1s")
	replace("evaluation_interval: 1m", "evaluation_interval: 1s")
	replace("[127.0.0.1:9464]", "["+flows+"]")
	replace("[127.0.0.1:8888]", "["+collectors+"]")
	dir := t.TempDir()
	for _, name := range []string{"recording.yaml", "alerts.yaml", "cost.yaml", "rtt-native.yaml"} {
		rules, err := os.ReadFile(filepath.Join(example, "rules", name))
		require.NoError(t, err)
		require.Contains(t, string(rules), "interval: 1m")
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, bytes.ReplaceAll(rules, []byte("interval: 1m"), []byte("interval: 1s")), 0o600))
		replace("rules/"+name, file)
	}
	return config
}

// metric finds names of metrics in an expression; some labels begin as they do.
var (
	metric = regexp.MustCompile(`(?:[a-z_]+:)?\b(?:flow_(?:tcp|monitor|component|cost)|otelcol)_[a-z0-9_]+(?::[a-z0-9_]+)?|\bup\b`)
	label  = regexp.MustCompile(`^flow_(?:monitor_name|component_(?:type|id|set)|cost_path)$`)
)

// sources are the metrics that the rules and alerts of the example read. promtool's tests make series of their own, so a name
// that no collector writes is found here only.
func sources(t testing.TB) []string {
	t.Helper()
	found := map[string]bool{}
	for _, file := range []string{"recording.yaml", "alerts.yaml", "cost.yaml", "rtt-native.yaml"} {
		text, err := os.ReadFile(filepath.Join(example, "rules", file))
		require.NoError(t, err)
		var read struct {
			Groups []struct{ Rules []struct{ Expr string } }
		}
		require.NoError(t, yaml.Unmarshal(text, &read))
		for _, g := range read.Groups {
			for _, r := range g.Rules {
				for _, name := range metric.FindAllString(r.Expr, -1) {
					found[name] = !label.MatchString(name)
				}
			}
		}
	}
	maps.DeleteFunc(found, func(_ string, is bool) bool { return !is })
	return slices.Sorted(maps.Keys(found))
}

// misfits sends what the processors refuse or cannot place, so that what counts it is there.
func misfits(t testing.TB, otlp string, f *fleet) {
	t.Helper()
	// An address that no topology has, a count below nothing, and a round that comes after its window.
	md := f.next(false)
	metrics := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics()
	for _, m := range metrics.All() {
		if m.Name() == "flow.tcp.timeouts" {
			m.Sum().DataPoints().At(0).SetIntValue(-1)
			break
		}
	}
	metrics.At(0).Sum().DataPoints().At(0).Attributes().PutStr("network.peer.address", "10.1.7.7")
	send(t, otlp, md)
	late := pmetric.NewMetrics()
	f.next(false).CopyTo(late)
	for range 3 {
		send(t, otlp, f.next(false))
	}
	send(t, otlp, late)
}

// traffic is one short request over loopback.
func traffic(t testing.TB) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 1<<16)) }))
	defer server.Close()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(server.URL)
	require.NoError(t, err)
	r.Body.Close()
}
