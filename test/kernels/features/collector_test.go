// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package features

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
)

// The built distribution, not only its packages.
func TestTheCollectorCountsWhatTheApplicationsDid(t *testing.T) {
	l := newLab(t)
	process := collector.Start(t, fmt.Sprintf(`
receivers:
  sockops: {collection_interval: 1s, jitter: 0s, cgroup_path: %q, detail: [limits, retransmit_type, zero_windows, ecn, netns]}
exporters:
  file: {path: {{output}}}
extensions:
  health_check: {endpoint: {{health}}}
service:
  extensions: [health_check]
  telemetry: {metrics: {level: none}}
  pipelines:
    metrics: {receivers: [sockops], exporters: [file]}
`, l.lab.Cgroup()))
	const n = 20
	app, err := l.client.RunClient(t.Context(), netlab.ClientConfig{
		Targets: []netip.AddrPort{l.serve(t)}, Connections: n, Concurrency: 4,
		Upload: netlab.Size{Min: 1, Max: 50_000}, Download: netlab.Size{Min: 1, Max: 50_000}, Seed: 1,
	})
	require.NoError(t, err)
	require.Equal(t, n, app.Opened)
	process.Stop(t)
	points := collector.Points(process.Read(t))
	client, server := []string{flowattr.Role, "client"}, []string{flowattr.Role, "server"}
	assert.EqualValues(t, app.Written, collector.Sum(points, flowattr.MetricSent, client...))
	assert.EqualValues(t, app.Written, collector.Sum(points, flowattr.MetricReceived, server...))
	assert.EqualValues(t, app.Read, collector.Sum(points, flowattr.MetricReceived, client...))
	assert.Equal(t, n, collector.Sum(points, flowattr.MetricConnectionsAttempted))
	found(t, "the collector", "runs")
}

// refused says what the built collector ends with.
func refused(t testing.TB) string {
	t.Helper()
	config := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(config, []byte(`
receivers: {sockops: }
exporters: {debug: }
service: {telemetry: {metrics: {level: none}}, pipelines: {metrics: {receivers: [sockops], exporters: [debug]}}}
`), 0o600))
	out, err := exec.CommandContext(t.Context(), collector.Binary(t), "--config", config).CombinedOutput()
	require.Error(t, err)
	return string(out)
}
