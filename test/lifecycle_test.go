// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
)

func TestSIGTERMFlushesTheLastRound(t *testing.T) {
	h := newTwoHosts(t)
	process := collector.Start(t, `
receivers:
  sockops: {collection_interval: 10m, cgroup_path: `+h.client.CgroupPath()+`}
exporters:
  file: {path: {{output}}}
extensions:
  health_check: {endpoint: {{health}}}
service:
  extensions: [health_check]
  pipelines:
    metrics: {receivers: [sockops], exporters: [file]}
`)
	server, err := h.server.StartServer(t.Context(), netlab.ServerConfig{Listen: netip.MustParseAddrPort("0.0.0.0:0")})
	require.NoError(t, err)
	app := runAll(t, h.client, []netlab.ClientConfig{{
		Targets:     []netip.AddrPort{netip.AddrPortFrom(h.server.Addr4(), server.Port())},
		Connections: 3, Upload: netlab.Exactly(12_345), Download: netlab.Exactly(54_321),
	}})
	process.Stop(t)
	points := collector.Points(process.Read(t))
	assert.EqualValues(t, app.Written, collector.Sum(points, flowattr.MetricSent))
	assert.EqualValues(t, app.Read, collector.Sum(points, flowattr.MetricReceived))
}

func TestStartingAndStoppingAHundredTimesLeavesNothing(t *testing.T) {
	newTwoHosts(t) // for its check of what this machine can do, and for namespaces with sockets to adopt
	factory := sockopsreceiver.NewFactory()
	cycle := func() {
		settings := receivertest.NewNopSettings(component.MustNewType("sockops"))
		r, err := factory.CreateMetrics(t.Context(), settings, factory.CreateDefaultConfig(), consumertest.NewNop())
		require.NoError(t, err)
		require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
		require.NoError(t, r.Shutdown(t.Context()))
		require.NoError(t, r.Shutdown(t.Context()))
	}
	cycle() // what the runtime and the libraries open once
	since := newest(t)
	before := held(t, since)
	for range 100 {
		cycle()
	}
	// The kernel frees programs and maps after a grace period.
	require.EventuallyWithT(t, func(c *assert.CollectT) { assert.Equal(c, before, held(t, since)) }, 10*time.Second, 50*time.Millisecond)
}

// ids are those of the newest program and map: what the kernel frees of earlier tests
// meanwhile does not count.
type ids struct {
	program ebpf.ProgramID
	aMap    ebpf.MapID
}

func newest(t testing.TB) (n ids) {
	t.Helper()
	for id, err := ebpf.ProgramGetNextID(0); err == nil; id, err = ebpf.ProgramGetNextID(id) {
		n.program = id
	}
	for id, err := ebpf.MapGetNextID(0); err == nil; id, err = ebpf.MapGetNextID(id) {
		n.aMap = id
	}
	return n
}

// holdings are the kernel's newer objects by the names that ours have, the descriptors of
// this process, and the network namespaces that its threads are in.
type holdings struct{ programs, maps, descriptors, namespaces int }

func held(t testing.TB, since ids) (h holdings) {
	t.Helper()
	for id, err := ebpf.ProgramGetNextID(since.program); err == nil; id, err = ebpf.ProgramGetNextID(id) {
		if p, err := ebpf.NewProgramFromID(id); err == nil { // else it is gone by now
			if info, err := p.Info(); err == nil && strings.HasPrefix(info.Name, "flow_") {
				h.programs++ // a link holds its program
			}
			p.Close()
		}
	}
	for id, err := ebpf.MapGetNextID(since.aMap); err == nil; id, err = ebpf.MapGetNextID(id) {
		if m, err := ebpf.NewMapFromID(id); err == nil {
			if info, err := m.Info(); err == nil && (info.Name == "conns" || strings.HasPrefix(info.Name, "flows")) {
				h.maps++
			}
			m.Close()
		}
	}
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	h.descriptors = len(entries)

	threads, err := filepath.Glob("/proc/self/task/*/ns/net")
	require.NoError(t, err)
	namespaces := map[string]bool{}
	for _, path := range threads {
		if ns, err := os.Readlink(path); err == nil {
			namespaces[ns] = true
		}
	}
	h.namespaces = len(namespaces)
	return h
}
