// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package otlp

import (
	"compress/gzip"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
)

// backend takes OTLP over HTTP at one address, and can be stopped and started again there.
type backend struct {
	address string

	mu       sync.Mutex
	batches  []pmetric.Metrics
	points   int
	starting int // of the next requests, those that are answered with 503, as a server does that is not ready
	server   *http.Server
	stopped  chan struct{}
}

func newBackend(t testing.TB) *backend {
	b := &backend{address: collector.FreeAddress(t)}
	t.Cleanup(func() { b.stop(t) })
	return b
}

// start begins to listen.
func (b *backend) start(t testing.TB, starting int) {
	t.Helper()
	listener, err := net.Listen("tcp", b.address)
	require.NoError(t, err)
	b.mu.Lock()
	b.starting = starting
	b.mu.Unlock()
	b.server, b.stopped = &http.Server{Handler: b, ReadHeaderTimeout: 10 * time.Second}, make(chan struct{})
	go func(server *http.Server, stopped chan struct{}) {
		defer close(stopped)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			panic(err)
		}
	}(b.server, b.stopped)
}

// stop ends it as a process that is killed: connections break.
func (b *backend) stop(t testing.TB) {
	t.Helper()
	if b.server != nil {
		require.NoError(t, b.server.Close())
		<-b.stopped
		b.server = nil
	}
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	body, err := io.ReadAll(z)
	if err != nil {
		return // it breaks
	}
	md, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.starting > 0 {
		b.starting--
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	b.batches = append(b.batches, md)
	b.points += md.DataPointCount()
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// received gives all that was taken, in its order.
func (b *backend) received() ([]pmetric.Metrics, int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]pmetric.Metrics(nil), b.batches...), b.points
}
