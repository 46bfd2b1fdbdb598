// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
)

// prometheus is a real server that scrapes the targets every second.
type prometheus struct{ address string }

func startPrometheus(t testing.TB, targets map[string]string) prometheus {
	t.Helper()
	binary, err := exec.LookPath("prometheus")
	if err != nil && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	require.NoError(t, err)
	dir := t.TempDir()
	config := "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n"
	for name, address := range targets {
		// The exporter's own job and instance are the host's.
		config += fmt.Sprintf("- {job_name: %s, honor_labels: true, metric_relabel_configs: [{target_label: way, replacement: %[1]s}], static_configs: [{targets: [%q]}]}\n", name, address)
	}
	file := filepath.Join(dir, "prometheus.yaml")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	p := prometheus{collector.FreeAddress(t)}
	cmd := exec.Command(binary, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+p.address, "--log.level=error")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return p
}

// series is one time series with its raw samples in order.
type series struct {
	labels  map[string]string
	samples []float64
}

// increase is the growth from nothing, over resets.
func (s series) increase() (sum float64) {
	last := 0.0
	for _, v := range s.samples {
		if v < last {
			last = 0
		}
		sum += v - last
		last = v
	}
	return sum
}

// query gives all samples of the last hour.
func (p prometheus) query(t testing.TB, selector string) []series {
	t.Helper()
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://" + p.address + "/api/v1/query?query=" + url.QueryEscape(selector+"[1h]"))
	if err != nil { // not up yet
		return nil
	}
	defer r.Body.Close()
	if r.StatusCode == http.StatusServiceUnavailable {
		return nil
	}
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Values [][2]any
			}
		}
	}
	require.NoError(t, json.NewDecoder(r.Body).Decode(&answer))
	var found []series
	for _, result := range answer.Data.Result {
		s := series{labels: result.Metric}
		for _, v := range result.Values {
			f, err := strconv.ParseFloat(v[1].(string), 64)
			require.NoError(t, err)
			s.samples = append(s.samples, f)
		}
		found = append(found, s)
	}
	return found
}

func (p prometheus) total(t testing.TB, selector string) (sum int64) {
	t.Helper()
	for _, s := range p.query(t, selector) {
		sum += int64(s.increase())
	}
	return sum
}

// TestPrometheusSeesTheSameTotals compares with the applications over several rounds and a
// restart of the collector, on four ways: the exporter alone, behind delta_to_cumulative, and
// behind flowlimit, where flows move between kept and merged, without that and with it.
func TestPrometheusSeesTheSameTotals(t *testing.T) {
	const port = 9000
	var a, b *netlab.Node
	newLab(t, func(lab *netlab.Lab) {
		a, b = lab.Host("a", "10.0.0.1"), lab.Host("b", "10.0.0.2")
		lab.Link(a, b)
	})
	ways := map[string]string{"alone": collector.FreeAddress(t), "cumulative": collector.FreeAddress(t), "limited": collector.FreeAddress(t), "limited_cumulative": collector.FreeAddress(t)}
	config := fmt.Sprintf(`
receivers:
  sockops/a: {collection_interval: 1s, jitter: 100ms, cgroup_path: %q, resource: {host.id: a}}
  sockops/b: {collection_interval: 1s, jitter: 100ms, cgroup_path: %q, resource: {host.id: b}}
processors:
  delta_to_cumulative: {}
  flowlimit: {top_flows: 2, round_timeout: 500ms}
exporters:
  prometheus/alone: {endpoint: %q, metric_expiration: 1h}
  prometheus/cumulative: {endpoint: %q, metric_expiration: 1h}
  prometheus/limited: {endpoint: %q, metric_expiration: 1h}
  prometheus/limited_cumulative: {endpoint: %q, metric_expiration: 1h}
extensions:
  health_check: {endpoint: {{health}}}
service:
  extensions: [health_check]
  telemetry: {metrics: {level: none}}
  pipelines:
    metrics/alone: {receivers: [sockops/a, sockops/b], exporters: [prometheus/alone]}
    metrics/cumulative: {receivers: [sockops/a, sockops/b], processors: [delta_to_cumulative], exporters: [prometheus/cumulative]}
    metrics/limited: {receivers: [sockops/a, sockops/b], processors: [flowlimit], exporters: [prometheus/limited]}
    metrics/limited_cumulative: {receivers: [sockops/a, sockops/b], processors: [flowlimit, delta_to_cumulative], exporters: [prometheus/limited_cumulative]}
`, a.CgroupPath(), b.CgroupPath(), ways["alone"], ways["cumulative"], ways["limited"], ways["limited_cumulative"])
	process := collector.Start(t, config)
	p := startPrometheus(t, ways)

	// Each host speaks to itself, on the same addresses and port, over connections that stay.
	type talk struct {
		client *netlab.Client
		report *netlab.Report
	}
	var talks = map[string]*talk{}
	for name, n := range map[string]*netlab.Node{"a": a, "b": b} {
		var targets []netip.AddrPort
		for i := range uint16(4) {
			listen := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port+i)
			_, err := n.StartServer(t.Context(), netlab.ServerConfig{Listen: listen})
			require.NoError(t, err)
			targets = append(targets, listen)
		}
		client, err := n.StartClient(t.Context(), netlab.ClientConfig{
			Targets: targets, Connections: 12, Stepwise: true, Seed: uint64(name[0]),
			// Equal ones: a counter that grows past its old value before the first scrape after a
			// restart is no reset to a server without created timestamps.
			Upload: netlab.Exactly(54_321), Download: netlab.Exactly(123_457),
		})
		require.NoError(t, err)
		talks[name] = &talk{client: client}
	}
	exchange := func() {
		for _, k := range talks {
			var err error
			k.report, err = k.client.Exchange(t.Context())
			require.NoError(t, err)
		}
		for way := range ways {
			for name, k := range talks {
				for metric, want := range map[string]int64{"flow_tcp_sent_bytes_total": k.report.Written, "flow_tcp_received_bytes_total": k.report.Read} {
					selector := fmt.Sprintf(`%s{way=%q,instance=%q,flow_role="client"}`, metric, way, name)
					if strings.HasPrefix(way, "limited") { // merged rows keep no role; both roles together carry both directions
						selector = fmt.Sprintf(`%s{way=%q,instance=%q}`, metric, way, name)
						want = k.report.Written + k.report.Read
					}
					require.Eventually(t, func() bool { return p.total(t, selector) >= want }, 20*time.Second, 200*time.Millisecond, "%s: %d, not %d", selector, p.total(t, selector), want)
					assert.Equal(t, want, p.total(t, selector), selector)
				}
			}
		}
	}
	for range 4 {
		exchange()
	}
	before := len(p.query(t, `flow_tcp_sent_bytes_total{way="alone",flow_role="client"}`))
	assert.Equal(t, 8, before, "four servers on each of two hosts, each a series of its own")

	// A restart: counters begin anew, the connections are adopted.
	process.Stop(t)
	process = collector.Start(t, config)
	adopted(t, ways["alone"])
	for range 2 {
		exchange()
	}
	process.Stop(t)
}

// adopted waits until every connection is watched: it is counted as open.
func adopted(t testing.TB, address string) {
	t.Helper()
	require.Eventually(t, func() bool {
		open := 0.0
		client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		r, err := client.Get("http://" + address + "/metrics")
		if err != nil {
			return false
		}
		defer r.Body.Close()
		for _, v := range gauge(r.Body, "flow_tcp_connections_open") {
			open += v
		}
		return open == 2*2*12
	}, 20*time.Second, 200*time.Millisecond)
}

// gauge reads the values of a metric from the text format.
func gauge(body io.Reader, name string) (values []float64) {
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); strings.HasPrefix(lines.Text(), name+"{") {
			if v, err := strconv.ParseFloat(fields[len(fields)-1], 64); err == nil {
				values = append(values, v)
			}
		}
	}
	return values
}
