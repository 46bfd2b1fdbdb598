// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
)

// cluster is two nodes of Kubernetes, each with pods, and a host outside. All are on this
// machine but, as far as addresses tell, the one outside with its IPv4 address.
type cluster struct {
	lab                                             *netlab.Lab
	nodeA, nodeB, podA, podA2, podB, podB2, outside *netlab.Node
}

// What kube-proxy and a container runtime write, in short: on node A the service
// 172.20.0.10:443 (fd00:20::10) with two endpoints behind node B, and pods leave the cluster
// as their node, also to each other. The service 172.20.0.11:443 (fd00:20::11) and the node
// port 30080 are of the second pod beside the first. On node B the host port 8080 of its
// first pod.
const (
	nodeARules = `
table ip nat {
  map endpoints { typeof numgen inc mod 2 : ip daddr . tcp dport; elements = { 0 : 10.2.0.2 . 8443, 1 : 10.2.0.3 . 8443 }; }
  chain prerouting { type nat hook prerouting priority -100; ip daddr 172.20.0.10 tcp dport 443 dnat to numgen inc mod 2 map @endpoints; }
  chain here { type nat hook prerouting priority -99; ip daddr 172.20.0.11 tcp dport 443 dnat to 10.1.0.3:8443; ip daddr 10.0.0.1 tcp dport 30080 dnat to 10.1.0.3:8443; }
  chain postrouting {
    type nat hook postrouting priority 100;
    ip saddr 10.1.0.0/16 ip daddr 203.0.113.0/24 snat to 10.0.0.1;
    ip daddr 10.1.0.3 ct original ip daddr 10.1.0.3 masquerade;
    ct original ip daddr 10.0.0.1 ct status dnat masquerade;
  }
}
table ip6 nat {
  map endpoints { typeof numgen inc mod 2 : ip6 daddr . tcp dport; elements = { 0 : fd00:2::2 . 8443, 1 : fd00:2::3 . 8443 }; }
  chain here { type nat hook prerouting priority -99; ip6 daddr fd00:20::11 tcp dport 443 dnat to [fd00:1::3]:8443; }
  chain prerouting { type nat hook prerouting priority -100; ip6 daddr fd00:20::10 tcp dport 443 dnat to numgen inc mod 2 map @endpoints; }
}
`
	nodeBRules = `
table ip nat {
  chain prerouting { type nat hook prerouting priority -100; ip daddr 10.0.0.2 tcp dport 8080 dnat to 10.2.0.2:8443; }
}
`
)

func newCluster(t testing.TB) cluster {
	t.Helper()
	var c cluster
	c.lab = newLab(t, func(lab *netlab.Lab) {
		c.nodeA, c.nodeB = lab.Router("node-a", "10.0.0.1", "fd00::1"), lab.Router("node-b", "10.0.0.2", "fd00::2")
		lab.Link(c.nodeA, c.nodeB)
		c.podA = c.nodeA.Host("pod-a", "10.1.0.2", "fd00:1::2")
		c.podA2 = c.nodeA.Host("pod-a2", "10.1.0.3", "fd00:1::3")
		c.podB, c.podB2 = c.nodeB.Host("pod-b", "10.2.0.2", "fd00:2::2"), c.nodeB.Host("pod-b2", "10.2.0.3", "fd00:2::3")
		c.outside = c.nodeB.Host("outside", "203.0.113.79", "fd00:99::9")
	})
	for node, rules := range map[*netlab.Node]string{c.nodeA: nodeARules, c.nodeB: nodeBRules} {
		cmd := node.Command(t.Context(), "nft", "-f", "-")
		cmd.Stdin = strings.NewReader(rules)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	out, err := c.outside.Command(t.Context(), "sh", "-c", `set -e
		route=$(ip -4 route show default)
		ip route add local 203.0.113.78/31 dev lo
		device=$(echo "$route" | sed 's/.* dev \([^ ]*\).*/\1/')
		ip addr add 169.254.9.9/32 dev "$device" # with its last address the device would lose its neighbours
		ip addr del 203.0.113.79/32 dev "$device"
		ip route replace $route src 203.0.113.79`).CombinedOutput()
	require.NoError(t, err, string(out))
	return c
}

func elsewhere(end netip.AddrPort) bool { return end.Addr() == netip.MustParseAddr("203.0.113.79") }

// receivers watches all of the lab from the machine's own network namespace.
func (c cluster) receivers(more string) string {
	return fmt.Sprintf(`
receivers:
  sockops: {collection_interval: 1s, jitter: 0s, cgroup_path: %q, container: false, resource: {host.id: machine}, nat: true%s}
exporters:
  file: {path: {{output}}}
extensions:
  health_check: {endpoint: {{health}}}
service:
  extensions: [health_check]
  telemetry: {metrics: {level: none}}
  pipelines:
    metrics: {receivers: [sockops], exporters: [file]}
`, c.lab.Cgroup(), more)
}

// identity is a flow as points tell it.
type identity struct {
	role, local, peer, natLocal, natPeer string // addresses and ports
}

func identityOf(p collector.Point) identity {
	end := func(address, port string) string { return p.Attribute(address) + " " + p.Attribute(port) }
	return identity{
		role:     p.Attribute(flowattr.Role),
		local:    end(flowattr.NetworkLocalAddress, flowattr.NetworkLocalPort),
		peer:     end(flowattr.NetworkPeerAddress, flowattr.NetworkPeerPort),
		natLocal: end(flowattr.NATLocalAddress, flowattr.NATLocalPort),
		natPeer:  end(flowattr.NATPeerAddress, flowattr.NATPeerPort),
	}
}

// counts are what the applications say of a flow.
type counts struct{ sent, received, opened int }

// expected adds what one end of each connection is to be reported as: its own socket's
// addresses are what the application was told by the kernel, the peer's are the other
// end's own, and what this end is called is the other end's word only if that is elsewhere. Of connections that are older than the collector the beginning is not seen.
func expected(flows map[identity]counts, role string, here, there []netlab.ConnReport, old map[uint64]bool) {
	other := map[uint64]netlab.ConnReport{}
	for _, c := range there {
		other[c.ID] = c
	}
	for _, c := range here {
		o := other[c.ID]
		local, peer := plain(o.Remote), plain(o.Local)
		heldLocal, heldPeer := plain(c.Local), plain(c.Remote)
		if !elsewhere(peer) {
			local = heldLocal
		}
		id := identity{role: role}
		text := func(a netip.AddrPort, port bool) string {
			if port {
				return fmt.Sprintf("%v %d", a.Addr(), a.Port())
			}
			return a.Addr().String() + " "
		}
		changed := func(beyond, held netip.AddrPort, port bool) string {
			address, number := "", ""
			if beyond.Addr() != held.Addr() {
				address = held.Addr().String()
			}
			if port && beyond.Port() != held.Port() {
				number = fmt.Sprint(held.Port())
			}
			return address + " " + number
		}
		server := role == "server"
		id.local, id.natLocal = text(local, server), changed(local, heldLocal, server)
		id.peer, id.natPeer = text(peer, !server), changed(peer, heldPeer, !server)
		n := flows[id]
		n.sent += int(c.Written)
		n.received += int(c.Read)
		if !old[c.ID] {
			n.opened++
		}
		flows[id] = n
	}
}

func plain(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// The applications at both ends are the oracle: what one of them talks to is what the
// other one holds.
func TestFlowsAreToldByWhatTheyAreBeyondTranslation(t *testing.T) {
	c := newCluster(t)
	ctx := t.Context()
	servers := map[*netlab.Node]*netlab.Server{}
	for _, n := range []*netlab.Node{c.podA2, c.podB, c.podB2, c.outside} {
		s, err := n.StartServer(ctx, netlab.ServerConfig{Listen: netip.MustParseAddrPort("[::]:8443")})
		require.NoError(t, err)
		servers[n] = s
	}
	service := []netip.AddrPort{netip.MustParseAddrPort("172.20.0.10:443"), netip.MustParseAddrPort("[fd00:20::10]:443")}
	beyond := []netip.AddrPort{netip.MustParseAddrPort("203.0.113.79:8443")}
	here := []netip.AddrPort{
		netip.MustParseAddrPort("172.20.0.11:443"), netip.MustParseAddrPort("[fd00:20::11]:443"), netip.MustParseAddrPort("10.0.0.1:30080"),
		netip.MustParseAddrPort("10.1.0.3:8443"), // masqueraded
	}
	hostPort := []netip.AddrPort{netip.MustParseAddrPort("10.0.0.2:8080")}

	config := func(targets []netip.AddrPort, n int, more func(*netlab.ClientConfig)) netlab.ClientConfig {
		cfg := netlab.ClientConfig{Targets: targets, Connections: n, Concurrency: 4, Upload: netlab.Size{Min: 1, Max: 20_000}, Download: netlab.Size{Min: 1, Max: 20_000}, Seed: uint64(n)}
		if more != nil {
			more(&cfg)
		}
		return cfg
	}
	stepwise := func(cfg *netlab.ClientConfig) { cfg.Stepwise = true }
	// Connections that were there before the collector, and stay for several rounds.
	var long []*netlab.Client
	for node, targets := range map[*netlab.Node][]netip.AddrPort{c.podA: slices.Concat(service, beyond, here), c.outside: hostPort, c.podB: beyond} {
		client, err := node.StartClient(ctx, config(targets, 48, stepwise))
		require.NoError(t, err)
		long = append(long, client)
	}
	process := collector.Start(t, c.receivers(""))
	require.Eventually(t, func() bool { // what they transfer before they are adopted is not seen
		last := 0
		for _, batch := range process.Read(t) {
			last = collector.Sum(collector.Points([]pmetric.Metrics{batch}), flowattr.MetricConnectionsOpen)
		}
		return last == 2*3*48
	}, time.Minute, 50*time.Millisecond)
	var short []*netlab.Client
	slow := func(cfg *netlab.ClientConfig) { cfg.Interval = 10 * time.Millisecond }
	for node, targets := range map[*netlab.Node][]netip.AddrPort{c.podA: slices.Concat(service, beyond, here), c.outside: hostPort, c.podB2: beyond} {
		client, err := node.StartClient(ctx, config(targets, 400, slow))
		require.NoError(t, err)
		short = append(short, client)
	}
	// Exchanges over four rounds.
	for range 40 {
		for _, client := range long {
			_, err := client.Exchange(ctx)
			require.NoError(t, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	var atClients, atServers []netlab.ConnReport
	old := map[uint64]bool{}
	for _, client := range short {
		r, err := client.Wait(ctx)
		require.NoError(t, err)
		require.Equal(t, 400, r.Opened)
		atClients = append(atClients, r.Conns...)
	}
	for _, client := range long {
		r, err := client.Stop(ctx)
		require.NoError(t, err)
		require.Equal(t, 48, r.Opened)
		for _, conn := range r.Conns {
			old[conn.ID] = true
		}
		atClients = append(atClients, r.Conns...)
	}
	for _, s := range servers {
		r, err := s.Stop(ctx)
		require.NoError(t, err)
		atServers = append(atServers, r.Conns...)
	}
	time.Sleep(1500 * time.Millisecond)
	process.Stop(t)

	want := map[identity]counts{}
	expected(want, "client", atClients, atServers, old)
	expected(want, "server", atServers, atClients, old)
	got := map[identity]counts{}
	for _, p := range collector.Points(process.Read(t)) {
		require.NotEqual(t, "true", p.Attribute(flowattr.Overflow))
		if p.Attribute(flowattr.Role) == "" {
			continue // listeners, namespaces
		}
		n := got[identityOf(p)]
		switch p.Metric {
		case flowattr.MetricSent:
			n.sent += int(p.Value)
		case flowattr.MetricReceived:
			n.received += int(p.Value)
		case flowattr.MetricConnectionsOpened:
			n.opened += int(p.Value)
		}
		got[identityOf(p)] = n
	}
	assert.Equal(t, want, got)
	assert.Len(t, want, 23, "twelve kinds of connections, two ends each; node port and masquerade are the same to their server")
}

// Young connections take a row each of the kernel's table. What finds no room is in the
// overflow flows, and nothing is lost.
func TestTranslationInATableThatIsTooSmallLosesNothing(t *testing.T) {
	c := newCluster(t)
	for _, n := range []*netlab.Node{c.podB, c.podB2} {
		_, err := n.StartServer(t.Context(), netlab.ServerConfig{Listen: netip.MustParseAddrPort("[::]:8443"), Summary: true})
		require.NoError(t, err)
	}
	process := collector.Start(t, c.receivers(", max_flows: 20"))
	app := runAll(t, c.podA, []netlab.ClientConfig{{
		Targets: []netip.AddrPort{netip.MustParseAddrPort("172.20.0.10:443")}, Connections: 1000, Concurrency: 10,
		Upload: netlab.Size{Min: 1, Max: 20_000}, Download: netlab.Size{Min: 1, Max: 20_000}, Interval: 3 * time.Millisecond, Seed: 1,
	}})
	require.Equal(t, 1000, app.Opened)
	time.Sleep(1500 * time.Millisecond)
	process.Stop(t)
	points := collector.Points(process.Read(t))
	for role, want := range map[string][2]int64{"client": {app.Written, app.Read}, "server": {app.Read, app.Written}} {
		assert.EqualValues(t, want[0], collector.Sum(points, flowattr.MetricSent, flowattr.Role, role), role)
		assert.EqualValues(t, want[1], collector.Sum(points, flowattr.MetricReceived, flowattr.Role, role), role)
		assert.EqualValues(t, 1000, collector.Sum(points, flowattr.MetricConnectionsOpened, flowattr.Role, role), role)
	}
	assert.NotZero(t, collector.Sum(points, flowattr.MetricSent, flowattr.Overflow, "true"))
	assert.NotZero(t, collector.Sum(points, flowattr.MetricSent, flowattr.NATPeerAddress, "172.20.0.10"))
	for _, p := range points {
		if p.Attribute(flowattr.NetworkPeerAddress) == "172.20.0.10" {
			t.Errorf("not translated: %v", p.Attributes.AsRaw())
		}
	}
}
