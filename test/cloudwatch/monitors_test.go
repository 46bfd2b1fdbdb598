// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cloudwatch

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/reports"
)

// The metrics that the managed service publishes of a monitor, with its units, and percentiles.
var units = map[string]string{
	"DataTransferred": "Bytes", "Retransmissions": "Count", "Timeouts": "Count", "RoundTripTime": "Microseconds", "HealthIndicator": "None",
	"RoundTripTimeP50": "Microseconds", "RoundTripTimeP90": "Microseconds", "RoundTripTimeP99": "Microseconds",
}

const prefix = "arn:aws:networkflowmonitor:eu-west-1:111122223333:monitor/"

// truth is what a monitor's flows have reported.
type truth struct {
	bytes, retransmissions, timeouts int64
	rtt                              map[int64][]float64 // s, by the end of the window in ms
}

// TestTheMonitorsAreInCloudWatchAsTheyWereSent sends twenty minutes of rounds of nine hosts through examples/cloudwatch/gateway.yaml.
func TestTheMonitorsAreInCloudWatchAsTheyWereSent(t *testing.T) {
	const minutes = 20
	cloud := startLogs(t, 1) // and its first answer is that it is busy
	otlp := collector.FreeAddress(t)
	_, self, err := net.SplitHostPort(collector.FreeAddress(t))
	require.NoError(t, err)
	process := collector.StartExample(t, filepath.Join(example, "gateway.yaml"),
		"FLOWMONITOR_OTLP="+collector.FreeAddress(t), "FLOWMONITOR_OTLP_HTTP="+otlp, "FLOWMONITOR_SELF_PORT="+self,
		"FLOWMONITOR_LOGS_ENDPOINT="+cloud.URL, "FLOWMONITOR_MONITOR_PREFIX="+prefix,
		"AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=secret", "HOSTNAME=gateway-1")

	want := map[string]*truth{"web-to-db": {rtt: map[int64][]float64{}}, "web-to-data": {rtt: map[int64][]float64{}}}
	// A window is over when something later is seen, and takes the exporter a fifth of a second: it waits that long between its calls.
	published := func(windows int) {
		t.Helper()
		require.Eventually(t, func() bool {
			events, _, _ := cloud.seen()
			return strings.Count(strings.Join(events, ""), `"Name":"RoundTripTime"`) == windows*len(want)
		}, 20*time.Second, 10*time.Millisecond, "one statistic set of each window of each monitor")
	}
	random := rand.New(rand.NewPCG(6, 2))
	start := time.Now().Add(-(minutes + 5) * time.Minute).Truncate(time.Minute)
	for minute := range minutes {
		w := reports.New(start.Add(time.Duration(minute)*time.Minute), start.Add(time.Duration(minute+1)*time.Minute))
		for i := 1; i <= 3; i++ {
			for j := 1; j <= 3; j++ {
				for monitor, to := range map[string]struct {
					host, address string
					port          int64
					lossy         bool
					rtt           float64
				}{
					"web-to-db":   {fmt.Sprintf("i-db-%d", j), fmt.Sprintf("10.1.2.1%d", j), 5432, false, 0.0008},
					"web-to-data": {fmt.Sprintf("i-data-%d", j), fmt.Sprintf("10.2.1.1%d", j), 9092, true, 0.004},
				} {
					web := reports.Flow{Host: fmt.Sprintf("i-web-%d", i), Local: fmt.Sprintf("10.1.1.1%d", i), Peer: to.address, Port: to.port, Client: true}
					segments := 2000 + random.Int64N(2000)
					r := reports.Report{
						Sent: segments*1400 + random.Int64N(1000), Received: random.Int64N(5_000_000),
						SegmentsSent: segments, SegmentsReceived: 900, Opened: 10, Closed: 10, Active: 10, Open: 10,
					}
					if to.lossy && minute >= minutes/2 {
						r.Retransmissions, r.Timeouts, r.RetransmittingOfActive = segments/20, segments/400, 10
					}
					for range 50 {
						r.RTT = append(r.RTT, to.rtt*math.Exp(random.NormFloat64()))
					}
					w.Add(web, r)
					// The other end is no flow of the monitor, but evidence of the same path.
					w.Add(reports.Flow{Host: to.host, Local: to.address, Peer: web.Local, Port: to.port},
						reports.Report{Sent: r.Received, Received: r.Sent, SegmentsSent: 900, SegmentsReceived: segments, Opened: 10, Closed: 10, Active: 10})
					m := want[monitor]
					m.bytes += r.Sent + r.Received
					m.retransmissions += r.Retransmissions
					m.timeouts += r.Timeouts
					m.rtt[w.End.UnixMilli()] = append(m.rtt[w.End.UnixMilli()], r.RTT...)
				}
			}
		}
		reports.Send(t, otlp, w.Metrics)
		published(minute)
	}
	later := reports.New(start.Add(minutes*time.Minute), start.Add((minutes+1)*time.Minute))
	later.Add(reports.Flow{Host: "i-other", Local: "192.0.2.1", Peer: "192.0.2.2", Port: 22, Client: true}, reports.Report{Sent: 1})
	reports.Send(t, otlp, later.Metrics)
	published(minutes)
	process.Stop(t)
	events, refused, calls := cloud.seen()
	assert.Empty(t, refused, "the API would not have taken it")
	require.NotEmpty(t, events)

	schema := emfSchema(t)
	series := map[string][]measured{} // by dimensions and name
	for _, e := range events {
		found, err := extract(schema, e)
		require.NoError(t, err, "%s", e)
		require.NotEmpty(t, found, "an event without a metric is paid for nothing: %s", e)
		for _, m := range found {
			assert.Equal(t, "NetworkFlowMonitor", m.namespace)
			assert.Equal(t, units[m.name], m.unit, m.name)
			series[m.dimensions+" "+m.name] = append(series[m.dimensions+" "+m.name], m)
		}
	}
	var names, wanted []string
	for name := range series {
		names = append(names, name)
	}
	for monitor := range want {
		for name := range units {
			wanted = append(wanted, "MonitorId="+prefix+monitor+" "+name)
		}
	}
	slices.Sort(names)
	slices.Sort(wanted)
	require.Equal(t, wanted, names, "eight metrics a monitor, by one dimension, and none besides: each is charged")

	for monitor, m := range want {
		t.Run(monitor, func(t *testing.T) {
			of := func(name string) []measured { return series["MonitorId="+prefix+monitor+" "+name] }
			total := func(name string) (sum float64) {
				for _, v := range of(name) {
					sum += v.sum
				}
				return sum
			}
			assert.EqualValues(t, m.bytes, total("DataTransferred"))
			assert.EqualValues(t, m.retransmissions, total("Retransmissions"))
			assert.EqualValues(t, m.timeouts, total("Timeouts"))
			for name := range units {
				stamps := map[int64]bool{}
				for _, v := range of(name) {
					assert.False(t, stamps[v.at], "%s twice at %d: CloudWatch would add them up", name, v.at)
					stamps[v.at] = true
				}
			}
			for _, v := range of("HealthIndicator") {
				assert.Contains(t, []float64{0, 1}, v.sum)
			}
			health := of("HealthIndicator")
			sort.Slice(health, func(a, b int) bool { return health[a].at < health[b].at })
			last := health[len(health)-1].sum
			assert.Equal(t, 0.0, health[0].sum, "no loss at first")
			assert.Equal(t, monitor == "web-to-data", last == 1, "the transit gateway loses one segment of twenty in the end")
			roundTripTime(t, of, m.rtt)
		})
	}

	t.Run("the policy allows the calls that were made, and no other", func(t *testing.T) {
		text, err := os.ReadFile(filepath.Join(example, "publisher.json"))
		require.NoError(t, err)
		var policy struct{ Statement []struct{ Action []string } }
		require.NoError(t, json.Unmarshal(text, &policy))
		require.Len(t, policy.Statement, 1)
		var made []string
		for operation := range calls {
			made = append(made, "logs:"+operation)
		}
		assert.ElementsMatch(t, policy.Statement[0].Action, made)
	})
	t.Logf("%d events of %d bytes on the average, for %d windows of %d monitors", len(events), len(strings.Join(events, ""))/len(events), minutes, len(want))
}

// roundTripTime holds what CloudWatch has of a monitor's round-trip times against the samples of each window.
func roundTripTime(t *testing.T, of func(string) []measured, samples map[int64][]float64) {
	const micro = 1e6
	require.Len(t, of("RoundTripTime"), len(samples))
	for _, m := range of("RoundTripTime") {
		want, sum := samples[m.at], 0.0
		require.NotEmpty(t, want, "no window ends at %d", m.at)
		for _, s := range want {
			sum += s
		}
		assert.EqualValues(t, len(want), m.count)
		assert.InEpsilon(t, sum*micro, m.sum, 1e-9, "so that the average is exact")
		assert.InEpsilon(t, slices.Min(want)*micro, m.least, 1e-12)
		assert.InEpsilon(t, slices.Max(want)*micro, m.most, 1e-12)
	}
	for name, q := range map[string]float64{"RoundTripTimeP50": 0.5, "RoundTripTimeP90": 0.9, "RoundTripTimeP99": 0.99} {
		require.Len(t, of(name), len(samples), name)
		worst := 0.0
		for _, m := range of(name) {
			sorted := slices.Sorted(slices.Values(samples[m.at]))
			want := sorted[int(math.Ceil(q*float64(len(sorted))))-1] * micro
			assert.LessOrEqual(t, math.Abs(math.Log2(m.sum/want)), 0.25, "%s is %v, not %v: scale 2 is a factor of 1.19", name, m.sum, want)
			worst = max(worst, math.Abs(m.sum/want-1))
		}
		t.Logf("%s: at most %.1f %% from the samples'", name, 100*worst)
	}
}
