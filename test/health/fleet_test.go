// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package health

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/hosts"
)

// fleet is the network of examples/demo/topology.yaml, whose transit gateway is two routers of equal
// cost behind one cable:
//
//	client-1 ─┐                           ┌─ plane-1 ─┐               ┌─ server-1
//	client-2 ─┼─ vpc-clients ── trunk ── tgw          vpc-servers ────┼─ server-2
//	client-3 ─┘                           └─ plane-2 ─┘               └─ server-3
type fleet struct {
	lab              *netlab.Lab
	trunk, plane     *netlab.Link // the gateway's cable, and one of its two paths
	clients, servers []*netlab.Node
	listening        map[*netlab.Node]netip.AddrPort
	apps             map[[2]int]*netlab.Client // of a client and a server
}

// ordinary is what a client does with a server.
var ordinary = netlab.ClientConfig{Interval: interval, Upload: netlab.Exactly(size), Download: netlab.Exactly(size)}

func newFleet(t testing.TB) *fleet {
	t.Helper()
	f := &fleet{listening: map[*netlab.Node]netip.AddrPort{}, apps: map[[2]int]*netlab.Client{}}
	var tgw, far *netlab.Node
	f.lab = hosts.NewLab(t, func(lab *netlab.Lab) {
		near := lab.Router("vpc-clients")
		tgw, far = lab.Router("tgw"), lab.Router("vpc-servers")
		f.trunk = lab.Link(near, tgw)
		for i := 1; i <= 2; i++ {
			plane := lab.Router(fmt.Sprint("plane-", i))
			f.plane = lab.Link(tgw, plane)
			lab.Link(plane, far)
		}
		for i := 1; i <= 3; i++ {
			f.clients = append(f.clients, near.Host(fmt.Sprint("client-", i), fmt.Sprint("10.1.0.1", i)))
			f.servers = append(f.servers, far.Host(fmt.Sprint("server-", i), fmt.Sprint("10.2.0.2", i)))
		}
	})
	spread(t, tgw, f.servers)
	spread(t, far, f.clients)
	for _, h := range f.hosts() {
		s, err := h.StartServer(t.Context(), netlab.ServerConfig{Listen: netip.AddrPortFrom(h.Addr4(), 8080), Summary: true})
		require.NoError(t, err)
		f.listening[h] = s.Addr()
	}
	return f
}

func (f *fleet) hosts() []*netlab.Node {
	return append(append([]*netlab.Node(nil), f.clients...), f.servers...)
}

// spread sends what a router has for the hosts over both planes, by the connection's addresses
// and ports.
func spread(t testing.TB, router *netlab.Node, to []*netlab.Node) {
	t.Helper()
	require.NoError(t, router.Sysctl("net.ipv4.fib_multipath_hash_policy", "1"))
	for _, h := range to {
		args := []string{"route", "replace", h.Addr4().String() + "/32"}
		for i := 1; i <= 2; i++ {
			args = append(args, "nexthop", "via", "169.254.1.1", "dev", fmt.Sprint("plane-", i), "onlink")
		}
		out, err := router.Command(t.Context(), "ip", args...).CombinedOutput()
		require.NoError(t, err, string(out))
	}
}

const (
	// size of what a connection sends each way: 45 segments, an ordinary picture.
	size = 64 << 10
	// interval is the time from one connection of a pair of hosts to its next. Nine pairs make
	// 16,500 segments a second across the gateway, and two thirds of them when one server refuses.
	interval = 50 * time.Millisecond
	// asideInterval is the same of hosts of one VPC, among each other. Without them all flows
	// would cross the gateway and the subnets alike, and nothing could tell those apart.
	asideInterval = 100 * time.Millisecond
	// atOnce is how many connections of a pair may be under way: one that waits for its
	// retransmission timer (200 ms) holds up no other.
	atOnce = 16
)

// startTraffic has every client talk to every server, and hosts of one VPC to each other.
func (f *fleet) startTraffic(t testing.TB) {
	t.Helper()
	for c := range f.clients {
		for s := range f.servers {
			f.talk(t, c, s, ordinary)
		}
	}
	for _, vpc := range [][]*netlab.Node{f.clients, f.servers} {
		for i, h := range vpc {
			config := netlab.ClientConfig{
				Interval: asideInterval, Concurrency: atOnce, Summary: true,
				Upload: netlab.Exactly(size), Download: netlab.Exactly(size),
			}
			for j, other := range vpc {
				if j != i {
					config.Targets = append(config.Targets, f.listening[other])
				}
			}
			_, err := h.StartClient(t.Context(), config)
			require.NoError(t, err)
		}
	}
}

// talk begins what a client does with a server.
func (f *fleet) talk(t testing.TB, c, s int, config netlab.ClientConfig) {
	t.Helper()
	config.Targets = []netip.AddrPort{f.listening[f.servers[s]]}
	config.Concurrency, config.Summary = atOnce, true
	app, err := f.clients[c].StartClient(t.Context(), config)
	require.NoError(t, err)
	f.apps[[2]int{c, s}] = app
}

// retalk replaces what all clients do with a server, once their connections have ended.
func (f *fleet) retalk(t testing.TB, s int, config netlab.ClientConfig) {
	t.Helper()
	var stopping sync.WaitGroup
	for c := range f.clients {
		stopping.Go(func() {
			_, err := f.apps[[2]int{c, s}].Stop(t.Context())
			assert.NoError(t, err)
		})
	}
	stopping.Wait()
	for c := range f.clients {
		f.talk(t, c, s, config)
	}
}
