// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package awsagent

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
)

// monitor is what the reports of a monitor's flows add up to.
type monitor struct {
	bytes, retransmissions, timeouts uint64
	rtt                              samples
}

// TestAFleetOfUnmodifiedAgentsIsMonitored publishes twenty minutes of reports of nine hosts to examples/aws-agent/gateway.yaml.
func TestAFleetOfUnmodifiedAgentsIsMonitored(t *testing.T) {
	const rounds = 40 // of 30 s
	output := filepath.Join(t.TempDir(), "output.jsonl")
	publish := collector.FreeAddress(t)
	process := collector.StartExample(t, withFile(t, output), "FLOWMONITOR_PUBLISH="+publish,
		"FLOWMONITOR_OTLP="+collector.FreeAddress(t), "FLOWMONITOR_LISTEN="+collector.FreeAddress(t), "FLOWMONITOR_SELF_PORT="+port(t),
		"FLOWMONITOR_TOPOLOGY="+absolute(t, "../../examples/prometheus/topology.yaml"))
	process.Output = output

	random := rand.New(rand.NewPCG(6, 5))
	want := map[string]*monitor{"web-to-db": {}, "web-to-data": {}}
	totals := map[string]uint64{}
	start := time.Now().Add(-(rounds + 4) * 30 * time.Second).Truncate(time.Minute)
	for round := range rounds {
		at := start.Add(time.Duration(round)*30*time.Second + 10*time.Second) // jitter of the fleet is no matter here
		reports := map[string]*agent{}
		report := func(host string) *agent {
			if reports[host] == nil {
				reports[host] = newReport(host, at)
			}
			return reports[host]
		}
		for i := 1; i <= 3; i++ {
			for j := 1; j <= 3; j++ {
				for name, to := range map[string]struct {
					host, address string
					port          int64
					lossy         bool
				}{
					"web-to-db":   {fmt.Sprintf("i-db-%d", j), fmt.Sprintf("10.1.2.1%d", j), 5432, false},
					"web-to-data": {fmt.Sprintf("i-data-%d", j), fmt.Sprintf("10.2.1.1%d", j), 9092, true},
				} {
					segments := 1000 + random.Uint64N(1000)
					local := fmt.Sprintf("10.1.1.1%d", i)
					s := stats{values: map[string]uint64{
						"bytes_delivered": segments * 1400, "bytes_received": random.Uint64N(5_000_000), "segments_delivered": segments, "segments_received": 900,
						"connect_attempts": 12, "retrans_syn": 2, "sockets_completed": 10, "severed_establish": 1, "severed_connect": 1, "sockets_established": 5,
					}}
					if to.lossy && round >= rounds/2 {
						s.values["retrans_est"], s.values["retrans_close"], s.values["rtos_est"] = segments/20, 1, segments/400
					}
					for range 20 {
						s.rtt.add(200 + random.Uint64N(3000))
					}
					for range 9 {
						s.open.add(300 + random.Uint64N(500))
					}
					// Sockets for both families have mapped addresses at their end only.
					from := local
					if i == 1 {
						from = "::ffff:" + local
					}
					remote := to.address
					if i == 1 {
						remote = "::ffff:" + to.address
					}
					report(fmt.Sprintf("i-web-%d", i)).flow(from, 0, remote, to.port, s)
					back := stats{values: map[string]uint64{"bytes_delivered": s.values["bytes_received"], "bytes_received": s.values["bytes_delivered"], "segments_delivered": 900, "segments_received": segments}}
					report(to.host).flow(to.address, to.port, local, 0, back)
					m := want[name]
					m.bytes += s.values["bytes_delivered"] + s.values["bytes_received"]
					m.retransmissions += s.values["retrans_syn"] + s.values["retrans_est"] + s.values["retrans_close"]
					m.timeouts += s.values["rtos_est"]
					m.rtt = samples{m.rtt.count + s.rtt.count, m.rtt.sum + s.rtt.sum, min(m.rtt.least, s.rtt.least), max(m.rtt.most, s.rtt.most)}
					if m.rtt.least == 0 {
						m.rtt.least = s.rtt.least
					}
					totals["flow.tcp.sent"] += s.values["bytes_delivered"] + back.values["bytes_delivered"]
					totals["flow.tcp.received"] += s.values["bytes_received"] + back.values["bytes_received"]
					totals["flow.tcp.segments.sent"] += segments + 900
					totals["flow.tcp.segments.received"] += segments + 900
					totals["flow.tcp.retransmissions"] += s.values["retrans_syn"] + s.values["retrans_est"] + s.values["retrans_close"]
					totals["flow.tcp.timeouts"] += s.values["rtos_est"]
					totals["flow.tcp.connections.attempted"] += 10
					totals["flow.tcp.connections.opened"] += 9
					totals["flow.tcp.connections.failed"]++
					totals["flow.tcp.connections.closed"]++
					totals["flow.tcp.rtt"] += s.rtt.count
					totals["flow.tcp.connect.duration"] += s.open.count
				}
			}
		}
		for _, r := range reports {
			r.publish(t, publish)
		}
	}
	process.Stop(t)

	batches := process.Read(t)
	points := collector.Points(batches)
	for name, n := range totals {
		assert.EqualValues(t, n, collector.Sum(points, name), name)
	}
	for _, p := range points {
		require.True(t, strings.HasPrefix(p.Metric, "flow."), "%s is about the agent, no flow", p.Metric)
	}
	for name, m := range want {
		t.Run(name, func(t *testing.T) {
			of := []string{"flow.monitor.name", name}
			assert.EqualValues(t, m.bytes, collector.Sum(points, "flow.monitor.data_transferred", of...))
			assert.EqualValues(t, m.retransmissions, collector.Sum(points, "flow.monitor.retransmissions", of...))
			assert.EqualValues(t, m.timeouts, collector.Sum(points, "flow.monitor.timeouts", of...))
			count, sum, least, most := roundTripTimes(batches, name)
			assert.Equal(t, m.rtt.count, count)
			assert.InEpsilon(t, float64(m.rtt.sum)/1e6, sum, 1e-9)
			assert.Equal(t, float64(m.rtt.least)/1e6, least)
			assert.Equal(t, float64(m.rtt.most)/1e6, most)
			verdicts := map[float64]int{}
			last := math.NaN()
			for _, p := range points {
				if p.Metric == "flow.monitor.health_indicator" && p.Attribute("flow.monitor.name") == name {
					verdicts[p.Value]++
					last = p.Value
				}
			}
			t.Logf("verdicts: %v", verdicts)
			assert.Positive(t, verdicts[0], "healthy at first")
			assert.Equal(t, name == "web-to-data", last == 1, "the transit gateway loses one segment of twenty in the end")
		})
	}
	t.Run("streams have no gaps and no overlaps behind flowlimit", func(t *testing.T) {
		ends := map[string]pcommon.Timestamp{}
		checked := 0
		for _, p := range points {
			if p.Metric != "flow.tcp.sent" {
				continue
			}
			instance, _ := p.Resource.Get("host.id")
			stream := instance.Str() + fmt.Sprint(p.Attributes.AsRaw())
			if end, ok := ends[stream]; ok {
				assert.Equal(t, end, p.Start)
				checked++
			}
			ends[stream] = p.End
			buckets, _ := p.Resource.Get("flow.rtt.buckets")
			assert.Equal(t, "mean", buckets.Str())
		}
		assert.Equal(t, 36*(rounds-1), checked)
	})
}

// roundTripTimes adds up a monitor's histograms.
func roundTripTimes(batches []pmetric.Metrics, name string) (count uint64, sum, least, most float64) {
	least = math.Inf(1)
	for _, b := range batches {
		for _, rm := range b.ResourceMetrics().All() {
			for _, sm := range rm.ScopeMetrics().All() {
				for _, m := range sm.Metrics().All() {
					if m.Name() != "flow.monitor.round_trip_time" {
						continue
					}
					for _, dp := range m.ExponentialHistogram().DataPoints().All() {
						if v, _ := dp.Attributes().Get("flow.monitor.name"); v.Str() == name {
							count, sum, least, most = count+dp.Count(), sum+dp.Sum(), min(least, dp.Min()), max(most, dp.Max())
						}
					}
				}
			}
		}
	}
	return count, sum, least, most
}

// withFile is the example with the file exporter beside its own.
func withFile(t testing.TB, output string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(example, "gateway.yaml"))
	require.NoError(t, err)
	const exporters = "      exporters: [prometheus]\n"
	require.Equal(t, 1, strings.Count(string(text), exporters))
	changed := strings.Replace(string(text), exporters, "      exporters: [prometheus, file]\n", 1)
	changed = strings.Replace(changed, "\nexporters:\n", fmt.Sprintf("\nexporters:\n  file: {path: %q}\n", output), 1)
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	require.NoError(t, os.WriteFile(file, []byte(changed), 0o600))
	return file
}

func absolute(t testing.TB, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	require.NoError(t, err)
	return path
}

func port(t testing.TB) string {
	t.Helper()
	_, p, err := net.SplitHostPort(collector.FreeAddress(t))
	require.NoError(t, err)
	return p
}
