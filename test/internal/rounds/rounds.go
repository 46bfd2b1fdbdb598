// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package rounds is a backend that knows the rounds of agents: which have come, and what was in them.
package rounds

import (
	"compress/gzip"
	"hash/maphash"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

// Key is a round of an agent: all its points have one end.
type Key struct {
	Host string // host.id
	End  pcommon.Timestamp
}

// Round is what has come of a round. A point that comes again is what it was: a backend that keeps one value for
// each time of a series writes it over, so it counts once here too.
type Round struct {
	Points int
	Sums   map[string]int64 // by metric; of histograms the counts

	seen map[uint64]struct{} // hashes of the points' identities
}

// Backend takes metrics by OTLP over HTTP and keeps sums by round, not points: it lives for hours.
type Backend struct {
	Address string
	Down    atomic.Bool // answers 503

	mu     sync.Mutex
	rounds map[Key]*Round
	noted  Noted
}

// Noted is what a backend has seen besides rounds.
type Noted struct {
	States  map[string]int // windows by the state of their monitor
	Again   int            // points that came again
	Refused int            // requests that got a 503
	Nowhere int            // points of flows without both subnets
}

// Listen starts a backend on a host of the lab. It ends with the test.
func Listen(t testing.TB, n *netlab.Node, port uint16) *Backend {
	t.Helper()
	b := &Backend{rounds: map[Key]*Round{}, noted: Noted{States: map[string]int{}}}
	var listener net.Listener
	require.NoError(t, n.Do(func() (err error) {
		listener, err = net.Listen("tcp4", netip.AddrPortFrom(n.Addr4(), port).String())
		return err
	}))
	b.Address = listener.Addr().String()
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { b.take(t, w, r) })}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		assert.NoError(t, server.Close())
		serving.Wait()
	})
	return b
}

func (b *Backend) take(t testing.TB, w http.ResponseWriter, r *http.Request) {
	if b.Down.Load() {
		b.mu.Lock()
		b.noted.Refused++
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

func (b *Backend) keep(metrics pmetric.Metrics) {
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

func (b *Backend) point(host, name string, attributes pcommon.Map, end pcommon.Timestamp, value int64) {
	if !strings.HasPrefix(name, "flow.tcp.") {
		if state, ok := attributes.Get(flowattr.HealthState); ok && name == flowattr.MetricMonitorHealthState && value == 1 {
			b.noted.States[state.Str()]++
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
	key := Key{host, end}
	r := b.rounds[key]
	if r == nil {
		r = &Round{seen: map[uint64]struct{}{}, Sums: map[string]int64{}}
		b.rounds[key] = r
	}
	if _, known := r.seen[id.Sum64()]; known {
		b.noted.Again++
		return
	}
	r.seen[id.Sum64()] = struct{}{}
	r.Points++
	r.Sums[name] += value
	if _, ok := attributes.Get("network.peer.address"); ok {
		_, local := attributes.Get("flow.local.aws.vpc.subnet.id")
		_, remote := attributes.Get("flow.remote.aws.vpc.subnet.id")
		if !local || !remote {
			b.noted.Nowhere++
		}
	}
}

// Total is the sum of a metric over the rounds of a host.
func (b *Backend) Total(host, metric string) (sum int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, r := range b.rounds {
		if key.Host == host {
			sum += r.Sums[metric]
		}
	}
	return sum
}

// Missing are the points of each round that the other backend has and this one has not.
func (b *Backend) Missing(other *Backend) map[Key]int {
	all := other.Rounds()
	b.mu.Lock()
	defer b.mu.Unlock()
	missing := map[Key]int{}
	for key, r := range all {
		have := 0
		if got := b.rounds[key]; got != nil {
			have = got.Points
		}
		if n := r.Points - have; n != 0 {
			missing[key] = n
		}
	}
	return missing
}

// Rounds are those that have come, as they are now.
func (b *Backend) Rounds() map[Key]Round {
	b.mu.Lock()
	defer b.mu.Unlock()
	copied := make(map[Key]Round, len(b.rounds))
	for key, r := range b.rounds {
		copied[key] = Round{Points: r.Points, Sums: maps.Clone(r.Sums)}
	}
	return copied
}

// Newer tells whether a round of a host has come that ended after a time.
func (b *Backend) Newer(host string, than time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key := range b.rounds {
		if key.Host == host && key.End.AsTime().After(than) {
			return true
		}
	}
	return false
}

// Noted is what the backend has seen besides rounds.
func (b *Backend) Noted() Noted {
	b.mu.Lock()
	defer b.mu.Unlock()
	copied := b.noted
	copied.States = maps.Clone(b.noted.States)
	return copied
}
