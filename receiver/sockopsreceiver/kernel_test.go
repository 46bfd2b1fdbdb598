// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sockopsreceiver

import (
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/metadata"
)

// needKernel skips a test on a machine that cannot count connections, except where it
// must be able to: as root in CI.
func needKernel(t *testing.T) {
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true") // a test asks nobody outside
	err := bpf.Supported()
	if err == nil {
		return
	}
	if os.Getenv("CI") == "true" && os.Geteuid() == 0 {
		t.Fatal(err)
	}
	t.Skip(err)
}

// exchange sends n bytes each way over one connection and closes it orderly.
func exchange(t *testing.T, n int) (port uint16) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	served := make(chan error, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			served <- err
			return
		}
		defer c.Close()
		_, err = io.CopyN(c, c, int64(n)) // an echo
		served <- err
	}()
	c, err := net.Dial("tcp4", ln.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Write(make([]byte, n))
	require.NoError(t, err)
	_, err = io.ReadFull(c, make([]byte, n))
	require.NoError(t, err)
	require.NoError(t, <-served)
	_, err = c.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	return uint16(ln.Addr().(*net.TCPAddr).Port)
}

// total sums one metric over all points of a flow.
func total(batches []pmetric.Metrics, metric string, is func(flowattr.Flow) bool) (n int64) {
	for _, p := range points(batches, metric) {
		if f, ok := flowattr.Read(p.Attributes()); ok && is(f) {
			n += p.IntValue()
		}
	}
	return n
}

// One real connection through the factory's receiver and the real kernel, both ends seen.
func TestARealConnection(t *testing.T) {
	needKernel(t)
	factory := NewFactory()
	cfg := factory.CreateDefaultConfig().(*Config)
	cfg.CollectionInterval = time.Second
	var sink consumertest.MetricsSink
	r, err := factory.CreateMetrics(t.Context(), receivertest.NewNopSettings(metadata.Type), cfg, &sink)
	require.NoError(t, err)
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	defer r.Shutdown(t.Context()) //nolint:errcheck // the second, unless the test failed

	const n = 12345
	port := exchange(t, n)
	client := func(f flowattr.Flow) bool { return f.Role == flowattr.RoleClient && f.PeerPort == port }
	server := func(f flowattr.Flow) bool { return f.Role == flowattr.RoleServer && f.LocalPort == port }
	// Both ends are closed, but the kernel may yet have to see the last FIN acknowledged.
	require.Eventually(t, func() bool {
		all := sink.AllMetrics()
		return total(all, flowattr.MetricConnectionsClosed, client) == 1 && total(all, flowattr.MetricConnectionsClosed, server) == 1
	}, 10*time.Second, 100*time.Millisecond)
	require.NoError(t, r.Shutdown(t.Context()))

	all := sink.AllMetrics()
	for _, end := range []struct {
		name string
		is   func(flowattr.Flow) bool
	}{{"client", client}, {"server", server}} {
		assert.EqualValues(t, n, total(all, flowattr.MetricSent, end.is), end.name)
		assert.EqualValues(t, n, total(all, flowattr.MetricReceived, end.is), end.name)
		assert.EqualValues(t, 1, total(all, flowattr.MetricConnectionsOpened, end.is), end.name)
	}
	assert.EqualValues(t, 1, total(all, flowattr.MetricConnectionsAttempted, client))
}

// Each start finds the kernel as if there had been none before.
func TestStartAndStopOnARealKernel(t *testing.T) {
	needKernel(t)
	for range 3 {
		r, err := NewFactory().CreateMetrics(t.Context(), receivertest.NewNopSettings(metadata.Type), createDefaultConfig(), consumertest.NewNop())
		require.NoError(t, err)
		require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
		require.NoError(t, r.Shutdown(t.Context()))
		require.NoError(t, r.Shutdown(t.Context()))
	}
}
