// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package test

import (
	"fmt"
	"testing"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/hosts"
)

// twoHosts is a client and a server with a router between them.
type twoHosts struct {
	client, server *netlab.Node
}

func newTwoHosts(t testing.TB) twoHosts {
	t.Helper()
	var h twoHosts
	newLab(t, func(lab *netlab.Lab) {
		router := lab.Router("router")
		h.client = router.Host("client", "10.0.0.1", "fd00::1")
		h.server = router.Host("server", "10.0.1.1", "fd00:1::1")
	})
	return h
}

// receivers is a collector that plays both hosts and writes every point to a file.
// Rounds are as short as they may be, so that much happens while the kernel is read.
func (h twoHosts) receivers(more string) string {
	return fmt.Sprintf(`
receivers:
  sockops/client: {collection_interval: 1s, jitter: 0s, cgroup_path: %q, resource: {host.id: client}%[3]s}
  sockops/server: {collection_interval: 1s, jitter: 0s, cgroup_path: %[2]q, resource: {host.id: server}%[3]s}
exporters:
  file: {path: {{output}}}
extensions:
  health_check: {endpoint: {{health}}}
service:
  extensions: [health_check]
  telemetry: {metrics: {level: none}}
  pipelines:
    metrics: {receivers: [sockops/client, sockops/server], exporters: [file]}
`, h.client.CgroupPath(), h.server.CgroupPath(), more)
}

// ofHost keeps the points of one host.
func ofHost(points []collector.Point, host string) (kept []collector.Point) {
	for _, p := range points {
		if id, ok := p.Resource.Get("host.id"); ok && id.Str() == host {
			kept = append(kept, p)
		}
	}
	return kept
}

// oracle is what the kernel says of each socket at its end.
type oracle struct{ hosts.Oracle }

func watch(t testing.TB, n *netlab.Node) oracle {
	t.Helper()
	return oracle{hosts.Watch(t, n)}
}

func (o oracle) ended(t testing.TB, n int) netlab.Totals {
	t.Helper()
	return o.Ended(t, n)
}

func newLab(t testing.TB, declare func(*netlab.Lab)) *netlab.Lab {
	t.Helper()
	return hosts.NewLab(t, declare)
}

func runAll(t testing.TB, n *netlab.Node, configs []netlab.ClientConfig) netlab.Report {
	t.Helper()
	return hosts.RunAll(t, n, configs)
}
