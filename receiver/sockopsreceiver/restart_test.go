// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sockopsreceiver

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"golang.org/x/sys/unix"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/metadata"
)

// pinPath mounts a BPF file system for a test.
func pinPath(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bpf")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, unix.Mount("bpf", dir, "bpf", 0, ""))
	t.Cleanup(func() { assert.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return filepath.Join(dir, "flowmonitor")
}

// Real connections before, between and after real receivers with pins: the points of all
// of them together are those of one that never ended.
func TestReceiversThatFollowEachOtherAreLikeOne(t *testing.T) {
	needKernel(t)
	cfg := createDefaultConfig().(*Config)
	cfg.CollectionInterval = 10 * time.Minute // one round a process: its last
	cfg.PinPath = pinPath(t)
	require.NoError(t, cfg.Validate())
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	port := uint16(ln.Addr().(*net.TCPAddr).Port)
	var sink consumertest.MetricsSink
	run := func(during func()) {
		r, err := NewFactory().CreateMetrics(t.Context(), receivertest.NewNopSettings(metadata.Type), cfg, &sink)
		require.NoError(t, err)
		require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
		during()
		require.NoError(t, r.Shutdown(t.Context()))
	}

	const n, rounds = 10_000, 4
	for range rounds {
		run(func() { connectTo(t, ln, n) })
		connectTo(t, ln, n) // nobody runs
	}
	client := func(f flowattr.Flow) bool { return f.Role == flowattr.RoleClient && f.PeerPort == port }
	server := func(f flowattr.Flow) bool { return f.Role == flowattr.RoleServer && f.LocalPort == port }
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		run(func() {})
		all := sink.AllMetrics()
		for _, end := range []func(flowattr.Flow) bool{client, server} {
			assert.EqualValues(c, 2*rounds, total(all, flowattr.MetricConnectionsOpened, end))
			assert.EqualValues(c, 2*rounds, total(all, flowattr.MetricConnectionsClosed, end))
		}
	}, 10*time.Second, 100*time.Millisecond)
	all := sink.AllMetrics()
	assert.EqualValues(t, 2*rounds*n, total(all, flowattr.MetricSent, client))
	assert.EqualValues(t, 2*rounds*n, total(all, flowattr.MetricReceived, server))

	var sent []pmetric.NumberDataPoint
	for _, p := range points(all, flowattr.MetricSent) {
		if f, ok := flowattr.Read(p.Attributes()); ok && client(f) {
			sent = append(sent, p)
		}
	}
	require.GreaterOrEqual(t, len(sent), rounds)
	for i := range sent[1:] {
		assert.Equal(t, sent[i].Timestamp(), sent[i+1].StartTimestamp(), "no gap before point %d, and no overlap", i+1)
	}
}

// connectTo sends n bytes over one connection.
func connectTo(t *testing.T, ln net.Listener, n int) {
	t.Helper()
	client, err := net.Dial("tcp4", ln.Addr().String())
	require.NoError(t, err)
	defer client.Close()
	server, err := ln.Accept()
	require.NoError(t, err)
	defer server.Close()
	_, err = client.Write(make([]byte, n))
	require.NoError(t, err)
	require.NoError(t, client.Close())
	read, err := io.Copy(io.Discard, server)
	require.NoError(t, err)
	require.EqualValues(t, n, read)
}
