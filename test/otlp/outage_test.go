// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package otlp

import (
	"cmp"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/reports"
)

// lab is a collector with the example, hosts that report to it, and what they reported.
type lab struct {
	backend   *backend
	process   *collector.Process
	otlp      string
	self      string
	queue     string
	variables []string

	random *rand.Rand
	now    time.Time
	sent   map[string]int // by metric, what the hosts reported
	points int            // of flows
	watch  int            // bytes of the monitor
}

func newLab(t testing.TB, queueSize int) *lab {
	l := &lab{
		backend: newBackend(t), otlp: collector.FreeAddress(t), self: collector.FreeAddress(t), queue: filepath.Join(t.TempDir(), "queue"),
		random: rand.New(rand.NewPCG(6, 3)), now: time.Now().Add(-3 * time.Hour).Truncate(time.Minute), sent: map[string]int{},
	}
	_, port, err := net.SplitHostPort(l.self)
	require.NoError(t, err)
	l.variables = []string{
		"FLOWMONITOR_OTLP=" + collector.FreeAddress(t), "FLOWMONITOR_OTLP_HTTP=" + l.otlp, "FLOWMONITOR_SELF_PORT=" + port,
		"FLOWMONITOR_RETRY=2s", "FLOWMONITOR_BACKEND=http://" + l.backend.address, "FLOWMONITOR_QUEUE=" + l.queue, "FLOWMONITOR_QUEUE_SIZE=" + strconv.Itoa(queueSize),
	}
	l.start(t)
	return l
}

func (l *lab) start(t testing.TB) {
	l.process = collector.StartExample(t, filepath.Join(example, "gateway.yaml"), l.variables...)
}

// rounds lets the hosts report n rounds of 30 s.
func (l *lab) rounds(t testing.TB, n int) {
	t.Helper()
	for range n {
		w := reports.New(l.now, l.now.Add(30*time.Second))
		l.now = w.End
		for i := 1; i <= 3; i++ {
			for j := 1; j <= 3; j++ {
				r := reports.Report{
					Sent: 1 + l.random.Int64N(1_000_000), Received: 1 + l.random.Int64N(1_000_000), SegmentsSent: 1 + l.random.Int64N(1000),
					Retransmissions: l.random.Int64N(3), Opened: 2, Closed: 2, Open: 3, Active: 4, RTT: []float64{0.001, 0.002 + l.random.Float64()/1000},
				}
				w.Add(reports.Flow{Host: fmt.Sprintf("i-web-%d", i), Local: fmt.Sprintf("10.1.1.1%d", i), Peer: fmt.Sprintf("10.1.2.1%d", j), Port: 5432, Client: true}, r)
				l.watch += int(r.Sent + r.Received)
				l.sent["flow.tcp.sent"] += int(r.Sent)
				l.sent["flow.tcp.received"] += int(r.Received)
				l.sent["flow.tcp.segments.sent"] += int(r.SegmentsSent)
				l.sent["flow.tcp.retransmissions"] += int(r.Retransmissions)
				l.sent["flow.tcp.connections.opened"] += int(r.Opened)
				l.sent["flow.tcp.connections.closed"] += int(r.Closed)
				l.sent["flow.tcp.connections.active"] += int(r.Active)
				l.sent["flow.tcp.rtt"] += len(r.RTT)
			}
		}
		l.points += w.Metrics.DataPointCount()
		status, answer, err := reports.Post("http://"+l.otlp+"/v1/metrics", w.Metrics)
		require.NoError(t, err)
		// Also while the queue is full: this round is taken, and an earlier one is what is lost. A host that was told of it
		// would count its own.
		require.Equal(t, http.StatusOK, status, answer)
	}
}

func (l *lab) metric(t testing.TB, name string) int {
	t.Helper()
	return collector.SelfMetric(t, l.self, name)
}

// released waits until no round is held: all that was reported is with the exporter, or was refused by it.
func (l *lab) released(t testing.TB) {
	t.Helper()
	require.Eventually(t, func() bool { return l.metric(t, "otelcol_processor_flowlimit_held_points") == 0 }, 15*time.Second, 50*time.Millisecond)
}

// delivered waits until the queue is empty.
func (l *lab) delivered(t testing.TB) {
	t.Helper()
	require.Eventually(t, func() bool { return l.metric(t, "otelcol_exporter_queue_size") == 0 }, 40*time.Second, 50*time.Millisecond)
}

// onDisk is how many bytes the queue's files have.
func (l *lab) onDisk(t testing.TB) (n int64) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(l.queue, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		n += info.Size()
		return err
	}))
	return n
}

// flows gives the points of flows that the backend has, after it has been seen that nothing is there twice, and with gapless that
// nothing is missing in between: the points of each stream, by time, follow each other. They need not have come in this order: what
// was under way when a collector ended goes to the end of the queue.
func (l *lab) flows(t testing.TB, gapless bool) []collector.Point {
	t.Helper()
	batches, _ := l.backend.received()
	var flows []collector.Point
	streams := map[string][]collector.Point{}
	for _, p := range collector.Points(batches) {
		if p.Attribute("flow.role") == "" {
			continue
		}
		flows = append(flows, p)
		if p.Metric == "flow.tcp.sent" {
			host, _ := p.Resource.Get("host.id")
			stream := host.Str() + fmt.Sprint(p.Attributes.AsRaw())
			streams[stream] = append(streams[stream], p)
		}
	}
	require.Len(t, streams, 9)
	for _, points := range streams {
		slices.SortFunc(points, func(a, b collector.Point) int { return cmp.Compare(a.Start, b.Start) })
		for i := 1; i < len(points); i++ {
			assert.GreaterOrEqual(t, points[i].Start, points[i-1].End)
			if gapless {
				assert.Equal(t, points[i-1].End, points[i].Start)
			}
		}
	}
	return flows
}

func TestABackendThatIsDownLosesNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t, 64<<20)
	l.backend.start(t, 0)
	l.rounds(t, 10)
	l.backend.stop(t)

	l.rounds(t, 30)
	l.process.Stop(t) // an upgrade, say; the backend is still down
	l.start(t)
	l.rounds(t, 30)
	l.released(t)
	waiting := l.metric(t, "otelcol_exporter_queue_size")
	assert.Positive(t, waiting)
	t.Logf("the queue has %d bytes, and %d on disk", waiting, l.onDisk(t))

	l.backend.start(t, 3) // and is not ready at once
	l.rounds(t, 10)
	l.released(t)
	l.delivered(t)
	assert.Zero(t, l.metric(t, "otelcol_processor_flowlimit_points_lost"))
	assert.Zero(t, l.metric(t, "otelcol_exporter_enqueue_failed_metric_points"))
	assert.Zero(t, l.metric(t, "otelcol_exporter_send_failed_metric_points"))
	l.process.Stop(t) // the last window's sums leave with it

	flows := l.flows(t, true)
	assert.Len(t, flows, l.points)
	for metric, n := range l.sent {
		assert.Equal(t, n, collector.Sum(flows, metric), metric)
	}
	batches, _ := l.backend.received()
	assert.Equal(t, l.watch, collector.Sum(collector.Points(batches), "flow.monitor.data_transferred", "flow.monitor.name", "web-to-db"))
	largest := 0
	for _, b := range batches {
		largest = max(largest, b.DataPointCount())
	}
	assert.LessOrEqual(t, largest, 8000, "batches are split")
	_, points := l.backend.received()
	t.Logf("80 rounds, %d points of flows and %d of monitors, in %d requests of at most %d points", len(flows), points-len(flows), len(batches), largest)
}

func TestACollectorThatIsKilledKeepsItsQueue(t *testing.T) {
	t.Parallel()
	l := newLab(t, 64<<20)
	l.rounds(t, 20)
	l.released(t) // what is held in memory dies with the process: see the README
	l.process.Kill(t)
	l.start(t)
	l.rounds(t, 5)
	l.backend.start(t, 0)
	l.released(t)
	l.delivered(t)
	l.process.Stop(t)
	flows := l.flows(t, true)
	assert.Len(t, flows, l.points)
	for metric, n := range l.sent {
		assert.Equal(t, n, collector.Sum(flows, metric), metric)
	}
}

func TestWhatAFullQueueRefusesIsCounted(t *testing.T) {
	t.Parallel()
	l := newLab(t, 256<<10)
	l.rounds(t, 60)
	l.released(t)
	refused := l.metric(t, "otelcol_processor_flowlimit_points_lost")
	assert.Positive(t, refused)
	assert.LessOrEqual(t, refused, l.metric(t, "otelcol_exporter_enqueue_failed_metric_points"), "with those of monitors")
	assert.LessOrEqual(t, l.metric(t, "otelcol_exporter_queue_size"), 256<<10)
	l.backend.start(t, 0)
	l.delivered(t)
	l.rounds(t, 1) // and all is as before: a round is a third of the queue
	l.released(t)
	l.delivered(t)
	assert.Equal(t, refused, l.metric(t, "otelcol_processor_flowlimit_points_lost"))
	l.process.Stop(t)
	flows := l.flows(t, false)
	assert.Equal(t, l.points, len(flows)+refused, "reported = received + refused")
	t.Logf("%d points reported, %d received, %d refused", l.points, len(flows), refused)
}
