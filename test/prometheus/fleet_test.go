// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package prometheus

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// step is the receivers' round: a minute, so that hours are few rounds.
const step = time.Minute

// end is one end of a conversation, as one agent reports it. flow.* of the agent on the other end is another end.
type end struct {
	host, local, peer string
	port              int64
	client            bool
	from, to          string // zones; "" outside
	via               string // nat_gateway or transit_gateway, "" for neither
	lossy             bool   // what it sends crosses the component that loses
	last              map[string]time.Time
	quiet             func(round int) bool
}

// totals is ground truth: what all agents together have reported, by flow metric, and the bytes by what they cost.
type totals struct {
	metric map[string]float64            // of all hosts
	host   map[string]map[string]float64 // host, metric
	pair   map[string]float64            // "from>to", each byte once
	watch  map[string]float64            // bytes by monitor
	nat    float64                       // both directions
	tgw    float64                       // each byte once
}

// copy is the state of now.
func (t totals) copy() totals {
	c := totals{metric: maps.Clone(t.metric), pair: maps.Clone(t.pair), watch: maps.Clone(t.watch), nat: t.nat, tgw: t.tgw, host: map[string]map[string]float64{}}
	for host, of := range t.host {
		c.host[host] = maps.Clone(of)
	}
	return c
}

// fleet writes what agents of the hosts in examples/prometheus/topology.yaml would report, at any time.
type fleet struct {
	ends  []*end
	rand  *rand.Rand
	truth totals
	now   time.Time // end of the last round
	round int
	rtt   []float64 // every sample, for the truth of the buckets
}

func newFleet(start time.Time) *fleet {
	f := &fleet{rand: rand.New(rand.NewPCG(1, 2)), now: start, truth: totals{metric: map[string]float64{}, host: map[string]map[string]float64{}, pair: map[string]float64{}, watch: map[string]float64{}}}
	both := func(client, clientAddress, server, serverAddress string, port int64, from, to, via string, lossy bool, quiet func(int) bool) {
		f.ends = append(f.ends,
			&end{host: client, local: clientAddress, peer: serverAddress, port: port, client: true, from: from, to: to, via: via, lossy: lossy, quiet: quiet},
			&end{host: server, local: serverAddress, peer: clientAddress, port: port, from: to, to: from, via: via, lossy: lossy, quiet: quiet})
	}
	for i := 1; i <= 3; i++ {
		web, webAddress := fmt.Sprintf("i-web-%d", i), fmt.Sprintf("10.1.1.1%d", i)
		for j := 1; j <= 3; j++ {
			both(web, webAddress, fmt.Sprintf("i-db-%d", j), fmt.Sprintf("10.1.2.1%d", j), 5432, "euw1-az1", "euw1-az2", "", false,
				// One conversation rests for forty minutes, longer than Prometheus looks back, and one begins late.
				func(round int) bool {
					return i == 1 && j == 1 && round > 50 && round <= 90 || i == 2 && j == 2 && round <= 30
				})
			both(web, webAddress, fmt.Sprintf("i-data-%d", j), fmt.Sprintf("10.2.1.1%d", j), 9092, "euw1-az1", "euw1-az1", "transit_gateway", true, nil)
		}
		// To the Internet; the other end has no agent.
		f.ends = append(f.ends, &end{host: web, local: webAddress, peer: fmt.Sprintf("203.0.113.%d", i), port: 443, client: true, from: "euw1-az1", via: "nat_gateway"})
	}
	for _, e := range f.ends {
		e.last = map[string]time.Time{}
	}
	return f
}

// next makes one round of all agents. With loss, what crosses the transit gateway loses one segment of twenty.
func (f *fleet) next(loss bool) pmetric.Metrics {
	f.round++
	start := f.now
	f.now = f.now.Add(step)
	md := pmetric.NewMetrics()
	hosts := map[string]pmetric.MetricSlice{}
	// The two ends of a conversation stand one after the other and carry the same bytes.
	var up, down int64
	for _, e := range f.ends {
		if e.client {
			up, down = 1+f.rand.Int64N(1_000_000), 1+f.rand.Int64N(4_000_000)
		}
		if e.quiet != nil && e.quiet(f.round) {
			continue
		}
		metrics, ok := hosts[e.host]
		if !ok {
			rm := md.ResourceMetrics().AppendEmpty()
			for k, v := range map[string]string{"service.name": "flowmonitor-agent", "service.instance.id": e.host, "host.id": e.host, "cloud.region": "eu-west-1"} {
				rm.Resource().Attributes().PutStr(k, v)
			}
			metrics = rm.ScopeMetrics().AppendEmpty().Metrics()
			hosts[e.host] = metrics
		}
		sent, received := up, down
		if !e.client {
			sent, received = down, up
		}
		segments := 1 + sent/1448
		lost := int64(0)
		if loss && e.lossy {
			lost = segments / 20
		}
		w := writer{f, e, metrics, start}
		w.sum("flow.tcp.sent", "By", sent)
		w.sum("flow.tcp.received", "By", received)
		w.sum("flow.tcp.segments.sent", "{segment}", segments+lost)
		w.sum("flow.tcp.segments.received", "{segment}", 1+received/1448)
		w.sum("flow.tcp.retransmissions", "{segment}", lost+f.rand.Int64N(2), "flow.phase", "established")
		w.sum("flow.tcp.timeouts", "{timeout}", lost/10, "flow.phase", "established")
		w.sum("flow.tcp.connections.opened", "{connection}", 10)
		w.sum("flow.tcp.connections.closed", "{connection}", 9)
		w.sum("flow.tcp.connections.closed", "{connection}", 1, "error.type", "reset")
		w.sum("flow.tcp.connections.active", "{connection}", 12)
		w.sum("flow.tcp.connections.retransmitting", "{connection}", min(12, lost))
		w.gauge("flow.tcp.connections.open", "{connection}", 12, "flow.phase", "established")
		if e.client {
			w.sum("flow.tcp.connections.attempted", "{connection}", 11)
			w.sum("flow.tcp.connections.failed", "{connection}", 1, "error.type", "refused")
			w.histogram("flow.tcp.connect.duration", 10)
		}
		w.histogram("flow.tcp.rtt", 40)
		f.cost(e, sent, received)
	}
	return md
}

// cost books the bytes of one end: those it sends, and those it receives from where no agent is.
func (f *fleet) cost(e *end, sent, received int64) {
	if e.from != "" && e.to != "" && e.from != e.to {
		f.truth.pair[e.from+">"+e.to] += float64(sent)
	}
	// A monitor looks from its local resources: what the other end's agent says of the same bytes is not in it.
	switch {
	case e.client && e.port == 5432:
		f.truth.watch["web-to-db"] += float64(sent + received)
	case e.client && e.port == 9092:
		f.truth.watch["web-to-data"] += float64(sent + received)
	}
	switch e.via {
	case "nat_gateway":
		f.truth.nat += float64(sent + received)
	case "transit_gateway":
		f.truth.tgw += float64(sent)
	}
}

// writer appends the points of one end in one round.
type writer struct {
	*fleet
	end     *end
	metrics pmetric.MetricSlice
	start   time.Time
}

func (w writer) identify(attributes pcommon.Map, extra []string) {
	attributes.PutStr("network.transport", "tcp")
	attributes.PutStr("network.type", "ipv4")
	attributes.PutStr("network.local.address", w.end.local)
	attributes.PutStr("network.peer.address", w.end.peer)
	if w.end.client {
		attributes.PutStr("flow.role", "client")
		attributes.PutInt("network.peer.port", w.end.port)
	} else {
		attributes.PutStr("flow.role", "server")
		attributes.PutInt("network.local.port", w.end.port)
	}
	for i := 0; i < len(extra); i += 2 {
		attributes.PutStr(extra[i], extra[i+1])
	}
}

// from gives the start of a stream's point: the end of the one before it, as the contract has it.
func (w writer) from(name string, extra []string) pcommon.Timestamp {
	stream := fmt.Sprint(name, extra)
	start, ok := w.end.last[stream]
	if !ok {
		start = w.start
	}
	w.end.last[stream] = w.now
	return pcommon.NewTimestampFromTime(start)
}

func (w writer) sum(name, unit string, value int64, extra ...string) {
	m := w.metrics.AppendEmpty()
	m.SetName(name)
	m.SetUnit(unit)
	s := m.SetEmptySum()
	s.SetIsMonotonic(true)
	s.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	dp := s.DataPoints().AppendEmpty()
	dp.SetIntValue(value)
	dp.SetStartTimestamp(w.from(name, extra))
	dp.SetTimestamp(pcommon.NewTimestampFromTime(w.now))
	w.identify(dp.Attributes(), extra)
	w.book(name, float64(value))
}

func (w writer) gauge(name, unit string, value int64, extra ...string) {
	m := w.metrics.AppendEmpty()
	m.SetName(name)
	m.SetUnit(unit)
	dp := m.SetEmptyGauge().DataPoints().AppendEmpty()
	dp.SetIntValue(value)
	dp.SetTimestamp(pcommon.NewTimestampFromTime(w.now))
	w.identify(dp.Attributes(), extra)
}

// histogram writes n round-trip times around a millisecond, scale 2 as the receiver has it.
func (w writer) histogram(name string, n int) {
	m := w.metrics.AppendEmpty()
	m.SetName(name)
	m.SetUnit("s")
	h := m.SetEmptyExponentialHistogram()
	h.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	dp := h.DataPoints().AppendEmpty()
	dp.SetScale(2)
	const offset, buckets = -64, 88 // 16 µs … 64 s
	counts := make([]uint64, buckets)
	sum, least, most := 0.0, math.Inf(1), 0.0
	for range n {
		v := 0.001 * math.Exp(1.5*w.rand.NormFloat64())
		index := int(math.Ceil(math.Log2(v)*4)) - 1
		counts[min(max(index-offset, 0), buckets-1)]++
		sum, least, most = sum+v, min(least, v), max(most, v)
		if name == "flow.tcp.rtt" {
			w.rtt = append(w.rtt, v)
		}
	}
	dp.Positive().SetOffset(offset)
	dp.Positive().BucketCounts().FromRaw(counts)
	dp.SetCount(uint64(n))
	dp.SetSum(sum)
	dp.SetMin(least)
	dp.SetMax(most)
	dp.SetStartTimestamp(w.from(name, nil))
	dp.SetTimestamp(pcommon.NewTimestampFromTime(w.now))
	w.identify(dp.Attributes(), nil)
	w.book(name, float64(n))
}

func (w writer) book(name string, value float64) {
	w.truth.metric[name] += value
	if w.truth.host[w.end.host] == nil {
		w.truth.host[w.end.host] = map[string]float64{}
	}
	w.truth.host[w.end.host][name] += value
}

// send posts a round over OTLP, as agents do.
func send(t testing.TB, address string, md pmetric.Metrics) {
	t.Helper()
	// The request is on the wire what MetricsData is: resource_metrics is field 1 of both.
	body, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(md)
	require.NoError(t, err)
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Post("http://"+address+"/v1/metrics", "application/x-protobuf", bytes.NewReader(body))
	require.NoError(t, err)
	defer r.Body.Close()
	answer, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, r.StatusCode, "%s", answer)
}

// quantile is the nearest-rank quantile of samples.
func quantile(samples []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[int(math.Ceil(q*float64(len(sorted))))-1]
}

// port gives the port of an address.
func port(address string) string {
	_, p, _ := net.SplitHostPort(address)
	return p
}
