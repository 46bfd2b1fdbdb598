// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package gateway

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/hosts"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/rounds"
)

const (
	// example is the folder of the configurations under test.
	example = "../../examples/gateway"
	// port is the applications', which faults are limited to: agents and gateways share the cables.
	port = 8080
	// window and lateness are short, so that a fault and its end fit into a test.
	window, lateness = 2 * time.Second, 2 * time.Second
)

// tier is the network of examples/demo/topology.yaml, with the hosts of the gateway tier at the transit gateway:
//
//	client-1 ─┐                                   ┌─ server-1
//	client-2 ─┼─ vpc-clients ── tgw ── vpc-servers ─ server-2
//	client-3 ─┘                  │                └─ server-3
//	                             └─ gateway-1 to -3, verdict, alone, broker, backend
type tier struct {
	clients, servers []*netlab.Node
	gateways         [3]*netlab.Node // the third is a spare
	verdict, alone   *netlab.Node
	broker           *netlab.Node
	trunk            *netlab.Link
	backend, witness *rounds.Backend // what has come through the gateways, and straight from the agents
	interval         time.Duration   // of the agents' rounds
	names            string          // if not empty: where agents look the gateways up, in place of /etc/hosts
	topology         string
	queues           [3]string
	listening        map[*netlab.Node]netip.AddrPort
	running          map[*netlab.Node]*collector.OnNode
}

func newTier(t *testing.T) *tier {
	t.Helper()
	f := &tier{interval: time.Second, listening: map[*netlab.Node]netip.AddrPort{}, running: map[*netlab.Node]*collector.OnNode{}}
	var at *netlab.Node
	hosts.NewLab(t, func(lab *netlab.Lab) {
		near, tgw, far := lab.Router("vpc-clients"), lab.Router("tgw"), lab.Router("vpc-servers")
		lab.Link(near, tgw)
		f.trunk = lab.Link(tgw, far)
		for i := 1; i <= 3; i++ {
			f.clients = append(f.clients, near.Host(fmt.Sprint("client-", i), fmt.Sprint("10.1.0.1", i)))
			f.servers = append(f.servers, far.Host(fmt.Sprint("server-", i), fmt.Sprint("10.2.0.2", i)))
		}
		for i := range f.gateways {
			f.gateways[i] = tgw.Host(fmt.Sprint("gateway-", i+1), fmt.Sprint("10.9.0.", i+1))
			f.queues[i] = t.TempDir()
		}
		f.verdict, f.alone, at = tgw.Host("verdict", "10.9.1.1"), tgw.Host("alone", "10.9.1.2"), tgw.Host("backend", "10.9.1.3")
		f.broker = tgw.Host("broker", "10.9.1.4")
	})
	f.backend, f.witness = rounds.Listen(t, at, 4318), rounds.Listen(t, at, 4319)
	var err error
	f.topology, err = filepath.Abs("../../examples/demo/topology.yaml")
	require.NoError(t, err)
	for _, n := range f.watched() {
		s, err := n.StartServer(t.Context(), netlab.ServerConfig{Listen: netip.AddrPortFrom(n.Addr4(), port), Summary: true})
		require.NoError(t, err)
		f.listening[n] = s.Addr()
	}
	return f
}

func (f *tier) watched() []*netlab.Node {
	return append(append([]*netlab.Node(nil), f.clients...), f.servers...)
}

// startAgents runs an agent for each host. more are exporters that get every round besides, and their configuration.
func (f *tier) startAgents(t *testing.T, names, more string) {
	t.Helper()
	f.startAgentsOf(t, "agent.yaml", "load_balancing", names, more)
}

// startAgentsOf is startAgents with another example and its exporter.
func (f *tier) startAgentsOf(t *testing.T, file, exporter, names, more string, variables ...string) {
	t.Helper()
	for _, n := range f.watched() {
		start := collector.StartOn
		if f.names != "" {
			start = func(t testing.TB, n *netlab.Node, file, more string, variables ...string) *collector.OnNode {
				return collector.StartNaming(t, n, f.names, file, more, variables...)
			}
		}
		f.running[n] = start(t, n, filepath.Join(example, file), fmt.Sprintf(`
receivers:
  sockops: {collection_interval: %[7]v, jitter: 0s, cgroup_path: %[1]q, resource: {host.id: i-%[2]s, host.name: %[2]s}}
exporters:
  %[3]s: {retry_on_failure: {initial_interval: 100ms, max_interval: 1s}}
  otlp_http/witness: {endpoint: "http://%[4]s"}
%[5]s
service:
  pipelines:
    metrics: {exporters: [%[3]s, otlp_http/witness%[6]s]}
`, n.CgroupPath(), n.Name(), exporter, f.witness.Address, more, names, f.interval),
			append(variables, "FLOWMONITOR_GATEWAY_1="+grpc(f.gateways[0]), "FLOWMONITOR_GATEWAY_2="+grpc(f.gateways[1]))...)
	}
}

// alive are the hosts on which a gateway runs.
func (f *tier) alive() (hosts []*netlab.Node) {
	for _, n := range f.gateways {
		if f.running[n] != nil {
			hosts = append(hosts, n)
		}
	}
	return hosts
}

// kill ends a gateway without a warning.
func (f *tier) kill(t *testing.T, i int) {
	t.Helper()
	f.running[f.gateways[i]].Kill(t)
	delete(f.running, f.gateways[i])
}

// startGateways runs two.
func (f *tier) startGateways(t *testing.T, more string) {
	t.Helper()
	for i := range 2 {
		f.startGateway(t, i, more)
	}
}

// startGateway runs a gateway as the example has it, but for the times, which are a second for its thirty, and what
// more changes.
func (f *tier) startGateway(t *testing.T, i int, more string) {
	t.Helper()
	f.startGatewayOf(t, "gateway.yaml", i, more)
}

// startGatewayOf is startGateway with another example.
func (f *tier) startGatewayOf(t *testing.T, file string, i int, more string, variables ...string) {
	t.Helper()
	n := f.gateways[i]
	f.running[n] = collector.StartOn(t, n, filepath.Join(example, file), fmt.Sprintf(`
processors:
  nhi: {window: %v, lateness: %v}
  flowlimit: {round_timeout: 2s}
exporters:
  otlp_http/backend: {retry_on_failure: {initial_interval: 100ms, max_interval: 1s}}
  otlp_grpc/verdict: {retry_on_failure: {initial_interval: 100ms, max_interval: 1s}}
%s`, window, lateness, more), append(variables, "FLOWMONITOR_LISTEN="+grpc(n), "FLOWMONITOR_TOPOLOGY="+f.topology, "FLOWMONITOR_VERDICT="+grpc(f.verdict),
		"FLOWMONITOR_BACKEND=http://"+f.backend.Address, "FLOWMONITOR_QUEUE="+f.queues[i])...)
}

// startVerdict runs the last stage, which writes its verdicts to a file.
func (f *tier) startVerdict(t *testing.T) {
	t.Helper()
	f.running[f.verdict] = collector.StartOn(t, f.verdict, filepath.Join(example, "verdict.yaml"), fmt.Sprintf(`
processors:
  nhi: {window: %v, lateness: %v}
exporters:
  file: {path: {{output}}, flush_interval: 100ms}
service:
  pipelines:
    metrics: {exporters: [file]}
`, window, lateness), "FLOWMONITOR_LISTEN="+grpc(f.verdict))
}

// startAlone runs one process that does what all of the tier does: gateway.yaml with nhi in both roles.
func (f *tier) startAlone(t *testing.T) {
	t.Helper()
	f.running[f.alone] = collector.StartOn(t, f.alone, filepath.Join(example, "gateway.yaml"), fmt.Sprintf(`
processors:
  nhi: {window: %v, lateness: %v, role: both}
  filter/evidence: {metrics: {metric: ['IsMatch(name, "^flow\\.tcp\\.")']}}
exporters:
  file/verdicts: {path: {{output}}, flush_interval: 100ms}
  file/flows: {path: {{output}}.flows, flush_interval: 100ms}
service:
  pipelines:
    metrics/flows: {exporters: [file/flows]}
    metrics/evidence: {exporters: [file/verdicts]}
`, window, lateness), "FLOWMONITOR_LISTEN="+grpc(f.alone), "FLOWMONITOR_TOPOLOGY="+f.topology, "FLOWMONITOR_QUEUE="+t.TempDir())
}

// grpc is where a collector takes OTLP on a host.
func grpc(n *netlab.Node) string { return netip.AddrPortFrom(n.Addr4(), 4317).String() }

// caughtUp waits until the backend has a round of every host that the agents made after now.
func (f *tier) caughtUp(t *testing.T) {
	t.Helper()
	from := time.Now()
	require.Eventually(t, func() bool {
		for _, n := range f.watched() {
			if !f.backend.Newer("i-"+n.Name(), from) {
				return false
			}
		}
		return true
	}, time.Minute, 50*time.Millisecond, "rounds of every host reach the backend")
}
