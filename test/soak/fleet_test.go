// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package soak

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/hosts"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/rounds"
)

const (
	// lossy is the port of the server whose packets are lost, unlocked the one that nobody listens on.
	lossy, refusing = 8080, 8081
	// lost is the share of segments that the trunk loses.
	lost = 0.003
	// disk is the size of each gateway's queue folder. It holds minutes of this load.
	disk = "8m"
)

// fleet is the network of examples/demo/topology.yaml with fewer hosts, and what examples/gateway adds to it:
//
//	client-1 ─┐                                 ┌─ server-1
//	client-2 ─┴─ vpc-clients ── tgw ── vpc-servers
//	                             ├─ gateway-1, gateway-2
//	                             └─ verdict, backend
type fleet struct {
	watched  []*netlab.Node // clients and server: each has an agent
	gateways [2]*netlab.Node
	verdict  *netlab.Node
	backend  *rounds.Backend // what gateways and verdict export to
	witness  *rounds.Backend // what agents have sent, from themselves

	topology string
	queues   [2]string

	mu   sync.Mutex // guards running: a gateway is replaced while others look
	runs map[string]*collector.OnNode
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{runs: map[string]*collector.OnNode{}}
	var trunk *netlab.Link
	var at *netlab.Node
	hosts.NewLab(t, func(lab *netlab.Lab) {
		near, tgw, far := lab.Router("vpc-clients"), lab.Router("tgw"), lab.Router("vpc-servers")
		lab.Link(near, tgw)
		trunk = lab.Link(tgw, far)
		for i := 1; i <= 2; i++ {
			f.watched = append(f.watched, near.Host(fmt.Sprint("client-", i), fmt.Sprint("10.1.0.1", i)))
			f.gateways[i-1] = tgw.Host(fmt.Sprint("gateway-", i), fmt.Sprint("10.9.0.", i))
		}
		f.watched = append(f.watched, far.Host("server-1", "10.2.0.21"))
		f.verdict, at = tgw.Host("verdict", "10.9.0.3"), tgw.Host("backend", "10.9.0.4")
	})
	_, err := trunk.Fault(netlab.Loss{Rate: lost, Port: lossy}, netlab.Both)
	require.NoError(t, err)
	server := f.watched[len(f.watched)-1]
	_, err = server.StartServer(t.Context(), netlab.ServerConfig{Listen: netip.AddrPortFrom(server.Addr4(), lossy), Summary: true})
	require.NoError(t, err)
	f.backend, f.witness = rounds.Listen(t, at, 4318), rounds.Listen(t, at, 4319)

	demo, err := os.ReadFile("../../examples/demo/topology.yaml")
	require.NoError(t, err)
	f.topology = filepath.Join(t.TempDir(), "topology.yaml")
	require.NoError(t, os.WriteFile(f.topology, demo, 0o600))
	for i := range f.queues {
		f.queues[i] = filepath.Join(t.TempDir(), "queue")
		require.NoError(t, os.Mkdir(f.queues[i], 0o700))
		require.NoError(t, unix.Mount("tmpfs", f.queues[i], "tmpfs", 0, "size="+disk))
		t.Cleanup(func() { assert.NoError(t, unix.Unmount(f.queues[i], unix.MNT_DETACH)) })
	}
	return f
}

// start runs all collectors, the last stage first.
func (f *fleet) start(t *testing.T) {
	t.Helper()
	f.startVerdict(t)
	for i := range f.gateways {
		f.startGateway(t, i)
	}
	for _, n := range f.watched {
		f.startAgent(t, n)
	}
}

const example = "../../examples/gateway"

func (f *fleet) keep(name string, p *collector.OnNode) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.runs[name] = p
}

// running are the collectors of now, by the host that they run on.
func (f *fleet) running() map[string]*collector.OnNode {
	f.mu.Lock()
	defer f.mu.Unlock()
	copied := make(map[string]*collector.OnNode, len(f.runs))
	for name, p := range f.runs {
		copied[name] = p
	}
	return copied
}

// forget says that a collector is to be killed: nobody looks at it from here on.
func (f *fleet) forget(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.runs, name)
}

func (f *fleet) startAgent(t *testing.T, n *netlab.Node) {
	t.Helper()
	// A second between rounds, for the shipped thirty. The witness gets every round, too.
	f.keep(n.Name(), collector.StartOn(t, n, filepath.Join(example, "agent.yaml"), fmt.Sprintf(`
receivers:
  sockops: {collection_interval: 1s, jitter: 0s, cgroup_path: %q, resource: {host.id: i-%s, host.name: %[2]s}}
exporters:
  load_balancing: {retry_on_failure: {initial_interval: 200ms, max_interval: 2s}}
  otlp_http/witness: {endpoint: "http://%s"}
service:
  pipelines:
    metrics: {exporters: [load_balancing, otlp_http/witness]}
`, n.CgroupPath(), n.Name(), f.witness.Address),
		"FLOWMONITOR_GATEWAY_1="+grpc(f.gateways[0]), "FLOWMONITOR_GATEWAY_2="+grpc(f.gateways[1])))
}

func (f *fleet) startGateway(t *testing.T, i int) {
	t.Helper()
	n := f.gateways[i]
	f.keep(n.Name(), collector.StartOn(t, n, filepath.Join(example, "gateway.yaml"), `
processors:
  nhi: {window: 2s, lateness: 1s}
  flowlimit: {round_timeout: 2s}
exporters:
  otlp_http/backend: {retry_on_failure: {initial_interval: 200ms, max_interval: 2s}}
  otlp_grpc/verdict: {retry_on_failure: {initial_interval: 200ms, max_interval: 2s}}
`, "FLOWMONITOR_LISTEN="+grpc(n), "FLOWMONITOR_TOPOLOGY="+f.topology, "FLOWMONITOR_VERDICT="+grpc(f.verdict),
		"FLOWMONITOR_BACKEND=http://"+f.backend.Address, "FLOWMONITOR_QUEUE="+f.queues[i]))
}

func (f *fleet) startVerdict(t *testing.T) {
	t.Helper()
	f.keep(f.verdict.Name(), collector.StartOn(t, f.verdict, filepath.Join(example, "verdict.yaml"), `
processors:
  nhi: {window: 2s, lateness: 1s}
exporters:
  otlp_http/backend: {retry_on_failure: {initial_interval: 200ms, max_interval: 2s}}
`, "FLOWMONITOR_LISTEN="+grpc(f.verdict), "FLOWMONITOR_BACKEND=http://"+f.backend.Address))
}

// grpc is where a collector takes OTLP on a host.
func grpc(n *netlab.Node) string { return netip.AddrPortFrom(n.Addr4(), 4317).String() }
