// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package prometheus

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
)

// names are the flow metrics in Prometheus's form.
var names = map[string]string{
	"flow.tcp.sent":                       "flow_tcp_sent_bytes_total",
	"flow.tcp.received":                   "flow_tcp_received_bytes_total",
	"flow.tcp.segments.sent":              "flow_tcp_segments_sent_total",
	"flow.tcp.segments.received":          "flow_tcp_segments_received_total",
	"flow.tcp.retransmissions":            "flow_tcp_retransmissions_total",
	"flow.tcp.timeouts":                   "flow_tcp_timeouts_total",
	"flow.tcp.connections.attempted":      "flow_tcp_connections_attempted_total",
	"flow.tcp.connections.opened":         "flow_tcp_connections_opened_total",
	"flow.tcp.connections.failed":         "flow_tcp_connections_failed_total",
	"flow.tcp.connections.closed":         "flow_tcp_connections_closed_total",
	"flow.tcp.connections.active":         "flow_tcp_connections_active_total",
	"flow.tcp.connections.retransmitting": "flow_tcp_connections_retransmitting_total",
	"flow.tcp.rtt":                        "flow_tcp_rtt_seconds",
	"flow.tcp.connect.duration":           "flow_tcp_connect_duration_seconds",
}

// TestSixHoursOfRoundsAreTheSameInPrometheus sends six hours of rounds of nine hosts through examples/prometheus/remote-write.yaml
// with their own times, restarts the collector twice, and asks the server for increase() over all of it.
func TestSixHoursOfRoundsAreTheSameInPrometheus(t *testing.T) {
	t.Parallel()
	const rounds = 6 * 60
	s := startServer(t, "global: {}\n")
	otlp := collector.FreeAddress(t)
	variables := []string{
		"FLOWMONITOR_OTLP=" + collector.FreeAddress(t), "FLOWMONITOR_OTLP_HTTP=" + otlp,
		"FLOWMONITOR_SELF_PORT=" + port(collector.FreeAddress(t)), "FLOWMONITOR_REMOTE_WRITE=http://" + s.address + "/api/v1/write",
	}
	start := time.Now().Add(-rounds * step).Truncate(step)
	f := newFleet(start)
	topology, err := filepath.Abs(filepath.Join(example, "topology.yaml"))
	require.NoError(t, err)
	variables = append(variables, "FLOWMONITOR_TOPOLOGY="+topology)
	// nhi dates what it hands over at its end by the clock, which is the end of the six hours: Prometheus would take
	// nothing older after it. So only the last collector has it.
	text, err := os.ReadFile(filepath.Join(example, "remote-write.yaml"))
	require.NoError(t, err)
	require.Contains(t, string(text), "[flowmonitor, nhi, flowlimit,")
	without := filepath.Join(t.TempDir(), "without-nhi.yaml")
	require.NoError(t, os.WriteFile(without, []byte(strings.Replace(string(text), "[flowmonitor, nhi, flowlimit,", "[flowmonitor, flowlimit,", 1)), 0o600))
	process := collector.StartExample(t, without, variables...)

	// increase() cannot know what a series counted before its first sample. So its truth is that of the hosts whose
	// series begin with the first round, from that round's end on.
	send(t, otlp, f.next(false))
	first, began := f.now, f.truth.copy()
	var before totals
	for f.round < rounds {
		send(t, otlp, f.next(f.round > 150))
		switch f.round {
		case 120:
			process.Stop(t)
			process = collector.StartExample(t, without, variables...)
		case 250:
			process.Stop(t)
			process, before = collector.StartExample(t, filepath.Join(example, "remote-write.yaml"), variables...), f.truth.copy()
		}
	}
	process.Stop(t)
	end := f.now

	// Both edges of the range are samples, so increase() has nothing to extrapolate.
	span := end.Sub(first)
	for metric, name := range names {
		for _, host := range []string{"i-web-1", "i-web-3", "i-db-1", "i-db-3", "i-data-1", "i-data-2", "i-data-3"} {
			want := f.truth.host[host][metric] - began.host[host][metric]
			if want == 0 { // servers attempt nothing
				continue
			}
			expr := fmt.Sprintf(`sum(increase(%s{instance=%q}[%ds]))`, name, host, int(span.Seconds()))
			if strings.HasSuffix(name, "_seconds") {
				expr = "histogram_count(" + expr + ")"
			}
			assert.InDelta(t, want, s.value(t, expr, end), 0.5, "%s", expr)
		}
	}
	resets := s.value(t, fmt.Sprintf(`max(resets(flow_tcp_sent_bytes_total{instance="i-web-3"}[%ds]))`, int(span.Seconds())), end)
	assert.Equal(t, 2.0, resets, "two restarts: the totals above went over two resets")

	t.Run("every flow, also those that begin late and those that rest, is in the ledger of the cost", func(t *testing.T) {
		// The rules themselves, at each minute of the six hours, by the server.
		ledger := rules(t, "cost.yaml")
		total := func(record string, inner func(string) string) []sample {
			expr := ledger[record]
			for replaced := true; replaced; { // rules read what other rules have recorded
				replaced = false
				for other, its := range ledger {
					if strings.Contains(expr, other) {
						expr, replaced = inline(expr, other, its), true
					}
				}
			}
			return s.query(t, inner(fmt.Sprintf("sum_over_time((%s)[%ds:1m])", expr, int(end.Sub(start).Seconds())+120)), end.Truncate(time.Minute).Add(time.Minute))
		}
		pairs := map[string]float64{}
		for _, p := range total("az_pair:flow_bytes:increase1m", func(e string) string { return "max without (observer) (" + e + ")" }) {
			pairs[p.labels["from_az"]+">"+p.labels["to_az"]] = p.value
		}
		assert.Equal(t, f.truth.pair, pairs)
		nat := total("nat_gateway:flow_bytes:increase1m", func(e string) string { return e })
		require.Len(t, nat, 1)
		assert.Equal(t, sample{map[string]string{"nat_gateway": "nat-1"}, f.truth.nat}, nat[0])
		tgw := total("transit_gateway:flow_bytes:increase1m", func(e string) string {
			return "sum by (transit_gateway) (max without (observer) (" + e + "))"
		})
		require.Len(t, tgw, 1)
		assert.Equal(t, sample{map[string]string{"transit_gateway": "tgw-hub"}, f.truth.tgw}, tgw[0])
	})

	t.Run("quantiles from native histograms are within a bucket of the samples", func(t *testing.T) {
		q := s.value(t, fmt.Sprintf(`histogram_quantile(0.9, sum(increase(flow_tcp_rtt_seconds[%ds])))`, int(span.Seconds())), end)
		want := quantile(f.rtt, 0.9)
		assert.InDelta(t, 0, math.Log2(q/want), 0.25, "scale 2: a factor of 1.19; %v, not %v", q, want)
	})

	t.Run("the monitors' sums are those of the rounds that nhi saw", func(t *testing.T) {
		for monitor, total := range f.truth.watch {
			expr := fmt.Sprintf(`flow_monitor_data_transferred_bytes_total{flow_monitor_name=%q}`, monitor)
			assert.Equal(t, total-before.watch[monitor], s.value(t, expr, time.Now()), expr)
		}
		assert.Equal(t, 1.0, s.value(t, `flow_monitor_health_indicator{flow_monitor_name="web-to-data"}`, end), "its path loses")
		assert.Equal(t, 0.0, s.value(t, `flow_monitor_health_indicator{flow_monitor_name="web-to-db"}`, end))
	})

	t.Run("the monitors' rules have values from native histograms", func(t *testing.T) {
		for record, expr := range rules(t, "rtt-native.yaml") {
			for _, r := range s.query(t, expr, end) {
				assert.InDelta(t, 0.001, r.value, 0.05, "%s of %v", record, r.labels)
			}
			assert.NotEmpty(t, s.query(t, expr, end), record)
		}
	})
}

// inline puts the expression of a rule where another one reads what it has recorded. Only for selectors with one matcher on
// flow_cost_path, which narrows the recorded series.
func inline(expr, record, its string) string {
	for {
		at := strings.Index(expr, record)
		if at < 0 {
			return expr
		}
		rest := expr[at+len(record):]
		stop := 0
		matcher := ""
		if strings.HasPrefix(rest, "{") {
			stop = strings.Index(rest, "}") + 1
			matcher = strings.TrimPrefix(rest[:stop], "{flow_cost_path=~")
			matcher = strings.TrimSuffix(matcher, "}")
		}
		inner := "(" + its + ")"
		if matcher != "" {
			// A label that only the wanted series have, and no other.
			inner = "(" + strings.ReplaceAll(its, `{flow_cost_path=~".*/.*"}`, "{flow_cost_path=~"+matcher+"}") + ")"
		}
		expr = expr[:at] + inner + rest[stop:]
	}
}

// rules reads the recording rules of one file of the example.
func rules(t testing.TB, file string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(example, "rules", file))
	require.NoError(t, err)
	var read struct {
		Groups []struct {
			Rules []struct{ Record, Expr string }
		}
	}
	require.NoError(t, yaml.Unmarshal(text, &read))
	found := map[string]string{}
	for _, g := range read.Groups {
		for _, r := range g.Rules {
			found[r.Record] = r.Expr
		}
	}
	require.NotEmpty(t, found)
	return found
}
