// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package soak

import (
	"compress/gzip"
	"hash/maphash"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

// roundKey is a round of an agent: all its points have one end.
type roundKey struct {
	host string
	end  pcommon.Timestamp
}

// round is what has come of a round. A point that comes again is what it was: a backend that keeps one value for
// each time of a series writes it over, so it counts once here too.
type round struct {
	points map[uint64]struct{} // hashes of their identities
	sums   map[string]int64
}

// backend takes metrics by OTLP over HTTP and keeps sums by round, not points: it lives for hours.
type backend struct {
	address  string
	down     atomic.Bool // answers 503
	mu       sync.Mutex
	rounds   map[roundKey]*round
	verdicts map[string]int // windows by state of the monitor
	monitor  map[string]int64
	again    int // points that came again
	refused  int // requests that got a 503
	nowhere  int // points of flows without both subnets
}

// newBackend listens on a host of the lab.
func newBackend(t testing.TB, n *netlab.Node, port uint16) *backend {
	t.Helper()
	b := &backend{rounds: map[roundKey]*round{}, verdicts: map[string]int{}, monitor: map[string]int64{}}
	var listener net.Listener
	require.NoError(t, n.Do(func() (err error) {
		listener, err = net.Listen("tcp4", netip.AddrPortFrom(n.Addr4(), port).String())
		return err
	}))
	b.address = listener.Addr().String()
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { b.take(t, w, r) })}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		assert.NoError(t, server.Close())
		serving.Wait()
	})
	return b
}

func (b *backend) take(t testing.TB, w http.ResponseWriter, r *http.Request) {
	if b.down.Load() {
		b.mu.Lock()
		b.refused++
		b.mu.Unlock()
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(r.Body)
		if err != nil {
			return // the sender has been killed
		}
		body = unzipped
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return
	}
	// The request is on the wire what MetricsData is: resource_metrics is field 1 of both.
	metrics, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(data)
	if !assert.NoError(t, err) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	b.keep(metrics)
	w.Header().Set("Content-Type", "application/x-protobuf") // of an empty response: all was taken
}

func (b *backend) keep(metrics pmetric.Metrics) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, rm := range metrics.ResourceMetrics().All() {
		host := ""
		if id, ok := rm.Resource().Attributes().Get("host.id"); ok {
			host = id.Str()
		}
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				switch m.Type() {
				case pmetric.MetricTypeSum:
					for _, dp := range m.Sum().DataPoints().All() {
						b.point(host, m.Name(), dp.Attributes(), dp.Timestamp(), dp.IntValue())
					}
				case pmetric.MetricTypeGauge:
					for _, dp := range m.Gauge().DataPoints().All() {
						b.point(host, m.Name(), dp.Attributes(), dp.Timestamp(), dp.IntValue())
					}
				case pmetric.MetricTypeExponentialHistogram:
					for _, dp := range m.ExponentialHistogram().DataPoints().All() {
						b.point(host, m.Name(), dp.Attributes(), dp.Timestamp(), int64(dp.Count()))
					}
				}
			}
		}
	}
}

// identity are the attributes that tell the streams of one agent apart; the others are enrichment.
var identity = []string{
	"network.type", "network.local.address", "network.local.port", "network.peer.address", "network.peer.port", flowattr.Role,
	"flow.phase", "error.type", "flow.limit", "network.tcp.retransmit.type", "flow.overflow", "flow.aggregated",
}

var seed = maphash.MakeSeed()

func (b *backend) point(host, name string, attributes pcommon.Map, end pcommon.Timestamp, value int64) {
	if !strings.HasPrefix(name, "flow.tcp.") {
		switch name {
		case flowattr.MetricMonitorHealthState:
			if state, ok := attributes.Get(flowattr.HealthState); ok && value == 1 {
				b.verdicts[state.Str()]++
			}
		case flowattr.MetricMonitorDataTransferred:
			b.monitor[name] += value
		}
		return
	}
	var id maphash.Hash
	id.SetSeed(seed)
	id.WriteString(name)
	for _, key := range identity {
		id.WriteByte(0)
		if v, ok := attributes.Get(key); ok {
			id.WriteString(v.AsString())
		}
	}
	key := roundKey{host, end}
	r := b.rounds[key]
	if r == nil {
		r = &round{points: map[uint64]struct{}{}, sums: map[string]int64{}}
		b.rounds[key] = r
	}
	if _, known := r.points[id.Sum64()]; known {
		b.again++
		return
	}
	r.points[id.Sum64()] = struct{}{}
	r.sums[name] += value
	if _, ok := attributes.Get("network.peer.address"); ok {
		_, local := attributes.Get("flow.local.aws.vpc.subnet.id")
		_, remote := attributes.Get("flow.remote.aws.vpc.subnet.id")
		if !local || !remote {
			b.nowhere++
		}
	}
}

// total is the sum of a metric over the rounds of a host.
func (b *backend) total(host, metric string) (sum int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, r := range b.rounds {
		if key.host == host {
			sum += r.sums[metric]
		}
	}
	return sum
}

// missing are the rounds, or the points of rounds, that the other one has and this one has not.
func (b *backend) missing(other *backend) map[roundKey]int {
	other.mu.Lock()
	defer other.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	missing := map[roundKey]int{}
	for key, r := range other.rounds {
		have := 0
		if got := b.rounds[key]; got != nil {
			have = len(got.points)
		}
		if n := len(r.points) - have; n != 0 {
			missing[key] = n
		}
	}
	return missing
}
