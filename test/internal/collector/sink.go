// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package collector

import (
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// Sink takes metrics by OTLP over HTTP and keeps what it has got, whatever then becomes
// of who sent it.
type Sink struct {
	URL     string
	mu      sync.Mutex
	batches []pmetric.Metrics
}

// NewSink starts a sink, which ends with the test. It answers after a while of at most
// delay: half of that before it keeps the batch, half after it.
func NewSink(t testing.TB, delay time.Duration) *Sink {
	s := &Sink{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the sender has been killed
		}
		// The request is on the wire what MetricsData is: resource_metrics is field 1 of both.
		metrics, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(body)
		if !assert.NoError(t, err) {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		time.Sleep(rand.N(delay / 2))
		s.mu.Lock()
		s.batches = append(s.batches, metrics)
		s.mu.Unlock()
		time.Sleep(rand.N(delay / 2))
		w.Header().Set("Content-Type", "application/x-protobuf") // of an empty response: all was taken
	}))
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Batches gives what has come so far, in order.
func (s *Sink) Batches() []pmetric.Metrics {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]pmetric.Metrics(nil), s.batches...)
}

// Forget begins anew.
func (s *Sink) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches = nil
}
