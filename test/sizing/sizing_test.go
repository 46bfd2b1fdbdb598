// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sizing

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/hosts"
)

const example = "../../examples/gateway"

// level is a rate to measure at.
type level struct {
	hosts, flows int
	interval     time.Duration
	rounds       int // to warm up in, and to measure over, each
	more         string
	moreVerdict  string
	variables    []string
	what         string // of more, for the table
}

// levels are what FLOWMONITOR_SIZING_INTO measures, with the times of the example.
var levels = []level{
	{hosts: 20, flows: 500, interval: 30 * time.Second, rounds: 4},
	{hosts: 50, flows: 500, interval: 30 * time.Second, rounds: 4},
	{hosts: 50, flows: 500, interval: 30 * time.Second, rounds: 4, what: ", queue in memory", more: "exporters: {otlp_http/backend: {sending_queue: {storage: null}}}"},
	{hosts: 50, flows: 500, interval: 30 * time.Second, rounds: 4, what: ", zstd", more: "exporters: {otlp_http/backend: {compression: zstd}, otlp_grpc/verdict: {compression: zstd}}"},
	// As examples/kubernetes has it.
	{hosts: 50, flows: 500, interval: 30 * time.Second, rounds: 4, what: ", `role: both`, queue in memory, `GOMEMLIMIT=800MiB`",
		more: "processors: {nhi: {role: both}}\nexporters: {otlp_http/backend: {sending_queue: {storage: null}}}", variables: []string{"GOMEMLIMIT=800MiB"}},
}

// small is what runs with make test: that the measurement works.
var small = level{hosts: 10, flows: 50, interval: time.Second, rounds: 3, more: "processors: {nhi: {window: 2s, lateness: 1s}, flowlimit: {round_timeout: 500ms}}", moreVerdict: "processors: {nhi: {window: 2s, lateness: 1s}}"}

// measured is what a level took.
type measured struct {
	level
	points           float64 // a second
	gateway, verdict process
}

// process is what a collector took: cores, bytes of RssAnon (the largest) and of VmRSS, and bytes a second on the wire.
type process struct {
	cores             float64
	anon, rss         int64
	received, sent    float64
	rows, capacity    float64
	decision, windows float64
}

// TestWhatAGatewayTakesAtAKnownRate is make sizing; with make test it is a small one.
func TestWhatAGatewayTakesAtAKnownRate(t *testing.T) {
	into, run := os.Getenv("FLOWMONITOR_SIZING_INTO"), []level{small}
	if into != "" {
		run = levels
	}
	var results []measured
	for _, l := range run {
		t.Run(fmt.Sprintf("%d hosts, %d flows%s", l.hosts, l.flows, l.what), func(t *testing.T) { results = append(results, measure(t, l)) })
	}
	table := table(results)
	t.Log("\n" + table)
	if into != "" {
		require.False(t, t.Failed())
		require.NoError(t, write(into, table))
	}
}

func measure(t *testing.T, l level) measured {
	var agents, gateway, verdict, backend *netlab.Node
	hosts.NewLab(t, func(lab *netlab.Lab) {
		router := lab.Router("router")
		agents, gateway = router.Host("agents", "10.200.0.1"), router.Host("gateway", "10.200.0.2")
		verdict, backend = router.Host("verdict", "10.200.0.3"), router.Host("backend", "10.200.0.4")
	})
	file := filepath.Join(t.TempDir(), "topology.yaml")
	require.NoError(t, os.WriteFile(file, []byte(topology()), 0o600))
	to := discard(t, backend)
	last := collector.StartOn(t, verdict, filepath.Join(example, "verdict.yaml"), l.moreVerdict,
		"FLOWMONITOR_LISTEN="+grpcAddress(verdict), "FLOWMONITOR_BACKEND=http://"+to)
	web := netip.AddrPortFrom(gateway.Addr4(), 4318).String()
	first := collector.StartOn(t, gateway, filepath.Join(example, "gateway.yaml"), fmt.Sprintf("receivers: {otlp: {protocols: {http: {endpoint: %q}}}}\n%s", web, l.more),
		append(l.variables, "FLOWMONITOR_LISTEN="+grpcAddress(gateway), "FLOWMONITOR_TOPOLOGY="+file, "FLOWMONITOR_VERDICT="+grpcAddress(verdict),
			"FLOWMONITOR_BACKEND=http://"+to, "FLOWMONITOR_QUEUE="+t.TempDir())...)
	f := startFleet(t, agents, web, l.hosts, l.flows, l.interval)
	time.Sleep(time.Duration(l.rounds) * l.interval)

	watched := []*watch{watching(t, gateway, first), watching(t, verdict, last)}
	sent, began := f.sent.Load(), time.Now()
	for range l.rounds * 10 {
		time.Sleep(l.interval / 10)
		for _, w := range watched {
			w.look(t)
		}
	}
	seconds := time.Since(began).Seconds()
	m := measured{level: l, points: float64(f.sent.Load()-sent) / seconds, gateway: watched[0].end(t, seconds), verdict: watched[1].end(t, seconds)}
	f.end()
	want := float64(l.hosts*l.flows*pointsOfAFlow) / l.interval.Seconds()
	assert.InEpsilon(t, want, m.points, 0.1, "points a second: what was measured is not what the level says")
	t.Logf("%d rounds began more than a second late", f.late.Load())
	said := first.Telemetry(t)
	assert.Zero(t, said["otelcol_processor_nhi_points_misplaced"], "the gateway's nhi was over a bound")
	assert.Zero(t, said["otelcol_processor_flowlimit_points_lost"])
	assert.Zero(t, last.Telemetry(t)["otelcol_processor_nhi_points_misplaced"], "the verdict's nhi was over a bound")
	return m
}

// discard is a backend that takes everything.
func discard(t *testing.T, n *netlab.Node) string {
	t.Helper()
	var listener net.Listener
	require.NoError(t, n.Do(func() (err error) {
		listener, err = net.Listen("tcp4", netip.AddrPortFrom(n.Addr4(), 4318).String())
		return err
	}))
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/x-protobuf")
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		assert.NoError(t, server.Close())
		serving.Wait()
	})
	return listener.Addr().String()
}

func grpcAddress(n *netlab.Node) string { return netip.AddrPortFrom(n.Addr4(), 4317).String() }

// watch is a collector under measurement.
type watch struct {
	node           *netlab.Node
	p              *collector.OnNode
	cpu            float64
	received, sent float64
	largest        process
}

func watching(t *testing.T, n *netlab.Node, p *collector.OnNode) *watch {
	w := &watch{node: n, p: p, cpu: cpu(t, p.Pid())}
	w.received, w.sent = wire(t, n)
	return w
}

func (w *watch) look(t *testing.T) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.p.Pid()))
	require.NoError(t, err)
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		var n int64
		_, _ = fmt.Sscan(value, &n)
		switch name {
		case "VmRSS":
			w.largest.rss = max(w.largest.rss, n<<10)
		case "RssAnon":
			w.largest.anon = max(w.largest.anon, n<<10)
		}
	}
}

func (w *watch) end(t *testing.T, seconds float64) process {
	p := w.largest
	p.cores = (cpu(t, w.p.Pid()) - w.cpu) / seconds
	received, sent := wire(t, w.node)
	p.received, p.sent = (received-w.received)/seconds, (sent-w.sent)/seconds
	said := w.p.Telemetry(t)
	p.rows, p.capacity = said["otelcol_processor_nhi_flows"], said["otelcol_processor_nhi_flows_capacity"]
	p.decision, p.windows = said["otelcol_processor_nhi_decision_duration_sum"], said["otelcol_processor_nhi_decision_duration_count"]
	return p
}

// cpu is the processor time of a process in seconds. Fields 14 and 15 of proc(5), in ticks of 10 ms, after a name that
// may have anything in it.
func cpu(t *testing.T, pid int) float64 {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	var user, system float64
	_, _ = fmt.Sscan(fields[11], &user)
	_, _ = fmt.Sscan(fields[12], &system)
	return (user + system) / 100
}

// wire is what has come to a host and left it, in bytes with the headers of Ethernet, IP and TCP.
func wire(t *testing.T, n *netlab.Node) (received, sent float64) {
	t.Helper()
	var table []byte
	require.NoError(t, n.Do(func() (err error) {
		table, err = os.ReadFile("/proc/thread-self/net/dev")
		return err
	}))
	for line := range strings.Lines(string(table)) {
		name, values, ok := strings.Cut(line, ":")
		fields := strings.Fields(values)
		if !ok || strings.TrimSpace(name) == "lo" || len(fields) < 9 {
			continue
		}
		var in, out float64
		_, _ = fmt.Sscan(fields[0], &in)
		_, _ = fmt.Sscan(fields[8], &out)
		received, sent = received+in, sent+out
	}
	return received, sent
}

func table(results []measured) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s, %d CPUs. Every host sends its flows every 30 s, %d points each; nothing is merged by `flowlimit`.\n\n", time.Now().UTC().Format(time.DateOnly), runtime.Version(), runtime.NumCPU(), pointsOfAFlow)
	b.WriteString("| hosts × flows | points a second | gateway: cores | µs a point | memory | in, a second | out, a second | rows of `nhi` | verdict: cores | memory | in, a second | rows | a decision |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	memory := func(p process) string {
		return fmt.Sprintf("%.0f MiB (%.0f)", float64(p.anon)/(1<<20), float64(p.rss)/(1<<20))
	}
	rate := func(n float64) string { return fmt.Sprintf("%.0f kB", n/1000) }
	for _, m := range results {
		decision := "–"
		if m.verdict.windows > 0 {
			decision = fmt.Sprintf("%.0f ms", 1000*m.verdict.decision/m.verdict.windows)
		}
		fmt.Fprintf(&b, "| %d × %d%s | %.0f | %.3f | %.1f | %s | %s | %s | %.0f | %.3f | %s | %s | %.0f | %s |\n", m.hosts, m.flows, m.what, m.points, m.gateway.cores, 1e6*m.gateway.cores/m.points, memory(m.gateway),
			rate(m.gateway.received), rate(m.gateway.sent), m.gateway.rows, m.verdict.cores, memory(m.verdict), rate(m.verdict.received), m.verdict.rows, decision)
	}
	return b.String()
}

const begin, end = "<!-- sizing -->\n", "<!-- end sizing -->"

func write(path, table string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, more := strings.Cut(rest, end)
	if !ok || !more {
		return fmt.Errorf("%s: no %q … %q", path, begin, end)
	}
	return os.WriteFile(path, []byte(before+begin+table+end+after), 0o644)
}
