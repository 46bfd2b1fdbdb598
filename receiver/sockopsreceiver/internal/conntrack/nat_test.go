// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

// ends is what a socket holds.
type ends struct{ Local, Peer netip.AddrPort }

func endsOf(c net.Conn) ends {
	plain := func(a net.Addr) netip.AddrPort {
		ap := a.(*net.TCPAddr).AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return ends{plain(c.LocalAddr()), plain(c.RemoteAddr())}
}

// serve answers each connection with what the server's own socket holds, and keeps it
// until the client closes.
func serve(t testing.TB, n *netlab.Node, port string) {
	t.Helper()
	var ln net.Listener
	require.NoError(t, n.Do(func() (err error) {
		ln, err = net.Listen("tcp", "[::]:"+port)
		return err
	}))
	var running sync.WaitGroup
	t.Cleanup(func() {
		ln.Close()
		running.Wait()
	})
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				_ = json.NewEncoder(c).Encode(endsOf(c))
				_ = c.SetReadDeadline(time.Now().Add(patience))
				_, _ = c.Read(make([]byte, 1)) // until the end
			})
		}
	})
}

// dial connects from a node, and gives what both sockets hold.
func dial(t testing.TB, n *netlab.Node, target string) (conn net.Conn, client, server ends) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, n.Do(func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", target)
		return err
	}))
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	require.NoError(t, json.NewDecoder(conn).Decode(&server))
	return conn, endsOf(conn), server
}

// rules loads a script of nft in a node.
func rules(t testing.TB, n *netlab.Node, script string) {
	t.Helper()
	require.NoError(t, n.Do(func() error {
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(script)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s: %s", script, out)
		return nil
	}))
}

// cluster is two nodes of Kubernetes with their pods, a fabric between them, and a client
// outside.
type cluster struct {
	fabric, nodeA, nodeB, podA, podA2, podB, podB2, outside *netlab.Node
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	needLab(t)
	lab := netlab.New()
	var c cluster
	c.fabric = lab.Router("fabric", "10.255.0.1", "fd00:ff::1")
	c.nodeA, c.nodeB = lab.Router("node-a", "10.0.0.1", "fd00::1"), lab.Router("node-b", "10.0.0.2", "fd00::2")
	lab.Link(c.nodeA, c.fabric)
	lab.Link(c.nodeB, c.fabric)
	c.outside = c.fabric.Host("outside", "203.0.113.77", "fd00:99::9")
	c.podA = c.nodeA.Host("pod-a", "10.1.0.2", "fd00:1::2")
	c.podA2 = c.nodeA.Host("pod-a2", "10.1.0.3", "fd00:1::3")
	c.podB = c.nodeB.Host("pod-b", "10.2.0.2", "fd00:2::2")
	c.podB2 = c.nodeB.Host("pod-b2", "10.2.0.3", "fd00:2::3")
	startLab(t, lab)
	// A router knows the addresses of the lab, and these are of none.
	for _, args := range []string{"route add 172.20.0.0/16 dev fabric src 10.0.0.1", "route add fd00:20::/64 dev fabric src fd00::1"} {
		require.NoError(t, c.nodeA.Command(t.Context(), "ip", strings.Fields(args)...).Run())
	}
	moveElsewhere(t, c.outside)
	return &c
}

// moveElsewhere lets a node's IPv4 address be of no interface, like those of another
// machine: it is the node's own by its routes alone. IPv6 takes no such source address.
func moveElsewhere(t testing.TB, n *netlab.Node) {
	t.Helper()
	out, err := n.Command(t.Context(), "sh", "-c", fmt.Sprintf(`set -e
		route=$(ip -4 route show default)
		ip route add local %[2]v dev lo
		device=$(echo "$route" | sed 's/.* dev \([^ ]*\).*/\1/')
		ip addr add 169.254.9.9/32 dev "$device" # with its last address the device would lose its neighbours
		ip addr del %[1]v/32 dev "$device"
		ip route replace $route src %[1]v`, n.Addr4(), netip.PrefixFrom(n.Addr4(), 31).Masked())).CombinedOutput()
	require.NoError(t, err, string(out))
}

func elsewhereInTheLab(end netip.AddrPort) bool { return end.Addr() == outsideAddress }

var outsideAddress = netip.MustParseAddr("203.0.113.77")

// What kube-proxy writes, in short: service 172.20.0.10:443 (fd00:20::10) with two
// endpoints; host port 8080 of the node for a pod behind it, and node port 30080 with a pod
// elsewhere, whose answers have to come back this way; pods leave the cluster as their node.
const clusterIP = `
table ip nat {
  map endpoints { typeof numgen inc mod 2 : ip daddr . tcp dport; elements = { 0 : 10.2.0.2 . 8443, 1 : 10.2.0.3 . 8443 }; }
  chain services { ip daddr 172.20.0.10 tcp dport 443 dnat to numgen inc mod 2 map @endpoints; }
  chain output { type nat hook output priority -100; jump services; }
  chain prerouting { type nat hook prerouting priority -100; jump services; }
}
table ip6 nat {
  map endpoints { typeof numgen inc mod 2 : ip6 daddr . tcp dport; elements = { 0 : fd00:2::2 . 8443, 1 : fd00:2::3 . 8443 }; }
  chain services { ip6 daddr fd00:20::10 tcp dport 443 dnat to numgen inc mod 2 map @endpoints; }
  chain output { type nat hook output priority -100; jump services; }
  chain prerouting { type nat hook prerouting priority -100; jump services; }
}
`

// hook writes a table with a chain at a hook of the network address translation.
func hook(family, name, rule string) string {
	priority := map[string]string{"output": "-100", "prerouting": "-99", "postrouting": "100"}[name]
	return fmt.Sprintf("table %s at_%s {\n chain c {\n type nat hook %[2]s priority %s;\n %s\n }\n}\n", family, name, priority, rule)
}

var (
	hostPort = hook("ip", "prerouting", "ip daddr 10.0.0.2 tcp dport 8080 dnat to 10.2.0.2:8443") +
		hook("ip6", "prerouting", "ip6 daddr fd00::2 tcp dport 8080 dnat to [fd00:2::2]:8443")
	nodePort = hook("ip", "prerouting", "ip daddr 10.0.0.1 tcp dport 30080 dnat to 10.2.0.2:8443") +
		hook("ip", "postrouting", "ip daddr 10.2.0.2 snat to 10.0.0.1") +
		hook("ip6", "prerouting", "ip6 daddr fd00::1 tcp dport 30080 dnat to [fd00:2::2]:8443") +
		hook("ip6", "postrouting", "ip6 daddr fd00:2::2 snat to fd00::1")
	leaveAsNode = hook("ip", "postrouting", "ip saddr 10.1.0.0/16 snat to 10.0.0.1") +
		hook("ip6", "postrouting", "ip6 saddr fd00:1::/64 snat to fd00::1")
	leaveAsFabric = hook("ip", "postrouting", "ip daddr 10.2.0.0/16 snat to 10.255.0.1") +
		hook("ip6", "postrouting", "ip6 daddr fd00:2::/64 snat to fd00:ff::1")
	// Of one node: a service with an endpoint beside the client, a node port likewise, and
	// pods that reach each other as their node.
	clusterIPHere = hook("ip", "prerouting", "ip daddr 172.20.0.10 tcp dport 443 dnat to 10.1.0.3:8443") +
		hook("ip6", "prerouting", "ip6 daddr fd00:20::10 tcp dport 443 dnat to [fd00:1::3]:8443")
	nodePortHere = hook("ip", "prerouting", "ip daddr 10.0.0.1 tcp dport 30080 dnat to 10.1.0.3:8443") +
		hook("ip", "postrouting", "ip daddr 10.1.0.3 masquerade") +
		hook("ip6", "prerouting", "ip6 daddr fd00::1 tcp dport 30080 dnat to [fd00:1::3]:8443") +
		hook("ip6", "postrouting", "ip6 daddr fd00:1::3 masquerade")
	proxy = hook("ip", "output", "tcp dport 80 redirect to :15001")
)

// The oracle are the two ends themselves: whom one really talks to holds, as its own
// addresses, what the other's translation says.
func TestBothEndsAreFound(t *testing.T) {
	type namespaceRules struct {
		node  func(*cluster) *netlab.Node
		rules string
	}
	nodeA := func(c *cluster) *netlab.Node { return c.nodeA }
	nodeB := func(c *cluster) *netlab.Node { return c.nodeB }
	podA := func(c *cluster) *netlab.Node { return c.podA }
	fabric := func(c *cluster) *netlab.Node { return c.fabric }
	outside := func(c *cluster) *netlab.Node { return c.outside }
	for _, tt := range []struct {
		name    string
		rules   []namespaceRules
		host    func(*cluster) *netlab.Node // where the collector is
		client  func(*cluster) *netlab.Node
		targets []string
		held    ends // by the server of the first target; ports 0: any
	}{
		{
			name:    "a ClusterIP, translated in the client's own namespace",
			rules:   []namespaceRules{{podA, clusterIP}},
			host:    podA,
			client:  podA,
			targets: []string{"172.20.0.10:443", "172.20.0.10:443", "[fd00:20::10]:443", "[fd00:20::10]:443"},
			held:    ends{ap("10.2.0.2:8443"), ap("10.1.0.2:0")},
		},
		{
			name:    "a ClusterIP, translated in the client's own namespace, which is not the collector's",
			rules:   []namespaceRules{{podA, clusterIP}},
			host:    outside,
			client:  podA,
			targets: []string{"172.20.0.10:443", "[fd00:20::10]:443"},
			held:    ends{ap("10.2.0.2:8443"), ap("10.1.0.2:0")},
		},
		{
			name:    "a ClusterIP, translated in the host's namespace for its pod",
			rules:   []namespaceRules{{nodeA, clusterIP}},
			host:    nodeA,
			client:  podA,
			targets: []string{"172.20.0.10:443", "172.20.0.10:443", "[fd00:20::10]:443", "[fd00:20::10]:443"},
			held:    ends{ap("10.2.0.2:8443"), ap("10.1.0.2:0")},
		},
		{
			name:    "a ClusterIP, translated in the host's namespace for the host itself",
			rules:   []namespaceRules{{nodeA, clusterIP}},
			host:    nodeA,
			client:  nodeA,
			targets: []string{"172.20.0.10:443", "[fd00:20::10]:443"},
			held:    ends{ap("10.2.0.2:8443"), ap("10.0.0.1:0")},
		},
		{
			name:    "a host port of a pod",
			rules:   []namespaceRules{{nodeB, hostPort}},
			host:    nodeB,
			client:  outside,
			targets: []string{"10.0.0.2:8080", "[fd00::2]:8080"},
			held:    ends{ap("10.2.0.2:8443"), ap("203.0.113.77:0")},
		},
		{
			name:    "a pod that leaves as its host",
			rules:   []namespaceRules{{nodeA, leaveAsNode}},
			host:    nodeA,
			client:  podA,
			targets: []string{"203.0.113.77:8443", "[fd00:99::9]:8443"},
			held:    ends{ap("203.0.113.77:8443"), ap("10.0.0.1:0")},
		},
		{
			name:    "a node port: both ends changed",
			rules:   []namespaceRules{{nodeA, nodePort}},
			host:    nodeA,
			client:  outside,
			targets: []string{"10.0.0.1:30080", "[fd00::1]:30080"},
			held:    ends{ap("10.2.0.2:8443"), ap("10.0.0.1:0")},
		},
		{
			name:    "a ClusterIP whose endpoint is a pod of the same node",
			rules:   []namespaceRules{{nodeA, clusterIPHere}},
			host:    nodeA,
			client:  podA,
			targets: []string{"172.20.0.10:443", "[fd00:20::10]:443"},
			held:    ends{ap("10.1.0.3:8443"), ap("10.1.0.2:0")},
		},
		{
			name:    "a node port whose pod is of the same node as the client",
			rules:   []namespaceRules{{nodeA, nodePortHere}},
			host:    nodeA,
			client:  podA,
			targets: []string{"10.0.0.1:30080", "[fd00::1]:30080"},
			held:    ends{ap("10.1.0.3:8443"), ap("10.0.0.1:0")},
		},
		{
			name:    "a node port from outside, whose pod is here",
			rules:   []namespaceRules{{nodeA, nodePortHere}},
			host:    nodeA,
			client:  outside,
			targets: []string{"10.0.0.1:30080", "[fd00::1]:30080"},
			held:    ends{ap("10.1.0.3:8443"), ap("10.0.0.1:0")},
		},
		{
			name:    "a pod that reaches another of the same node as its host",
			rules:   []namespaceRules{{nodeA, leaveAsNode}},
			host:    nodeA,
			client:  podA,
			targets: []string{"10.1.0.3:8443", "[fd00:1::3]:8443"},
			held:    ends{ap("10.1.0.3:8443"), ap("10.0.0.1:0")},
		},
		{
			name:    "a router that is neither end's namespace nor the collector's",
			rules:   []namespaceRules{{fabric, leaveAsFabric}},
			host:    nodeA,
			client:  podA,
			targets: []string{"10.2.0.3:8443", "[fd00:2::3]:8443"},
			held:    ends{ap("10.2.0.3:8443"), ap("10.255.0.1:0")},
		},
		{
			name:    "a ClusterIP in the host's namespace and a router that changes the client, one after the other",
			rules:   []namespaceRules{{nodeA, clusterIP}, {fabric, leaveAsFabric}},
			host:    nodeA,
			client:  podA,
			targets: []string{"172.20.0.10:443", "172.20.0.10:443", "[fd00:20::10]:443"},
			held:    ends{ap("10.2.0.2:8443"), ap("10.255.0.1:0")},
		},
		{
			name:    "a proxy beside the client",
			rules:   []namespaceRules{{podA, proxy}},
			host:    nodeA,
			client:  podA,
			targets: []string{"198.51.100.1:80"},
			held:    ends{ap("127.0.0.1:15001"), ap("10.1.0.2:0")},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(t)
			for _, r := range tt.rules {
				rules(t, r.node(c), r.rules)
			}
			servers := map[*netlab.Node]string{c.podB: "8443", c.podB2: "8443", c.outside: "8443", c.podA: "15001", c.podA2: "8443"}
			for node, port := range servers {
				serve(t, node, port)
			}
			// The first connection is there before anybody looks.
			old, oldClient, oldServer := dial(t, tt.client(c), tt.targets[0])
			tracker := track(t, tt.host(c), Settings{})
			require.Equal(t, tt.held.Local, oldServer.Local)
			require.Equal(t, tt.held.Peer.Addr(), oldServer.Peer.Addr())

			var conns []net.Conn
			pairs := [][2]ends{{oldClient, oldServer}}
			for _, target := range tt.targets {
				conn, client, server := dial(t, tt.client(c), target)
				conns = append(conns, conn)
				pairs = append(pairs, [2]ends{client, server})
			}
			clientNS := inode(t, tt.client(c))
			verify := func(when string) {
				t.Helper()
				mustSync(t, tracker)
				for _, pair := range pairs {
					client, server := pair[0], pair[1]
					got, result := tracker.Resolve(clientNS, client.Local, client.Peer)
					assert.Equal(t, Translated, result, "%s: the client's %v", when, client)
					assert.Equal(t, Translation{Local: server.Peer, Peer: server.Local, PeerHere: !elsewhereInTheLab(server.Local)}, got, "%s: the client's %v", when, client)
					serverNS := uint32(0)
					for node := range servers {
						if a := server.Local.Addr(); a == node.Addr4() || a == node.Addr6() || a.IsLoopback() && node == c.podA {
							serverNS = inode(t, node)
						}
					}
					require.NotZero(t, serverNS)
					got, result = tracker.Resolve(serverNS, server.Local, server.Peer)
					assert.Equal(t, Translated, result, "%s: the server's %v", when, server)
					assert.Equal(t, Translation{Local: client.Peer, Peer: client.Local, PeerHere: !elsewhereInTheLab(client.Local)}, got, "%s: the server's %v", when, server)
				}
			}
			verify("open")
			for _, conn := range append(conns, old) {
				require.NoError(t, conn.Close())
			}
			verify("just closed")
			assert.Zero(t, tracker.Stats().Ambiguous)
			assert.Zero(t, tracker.Stats().Malformed)
		})
	}
}
