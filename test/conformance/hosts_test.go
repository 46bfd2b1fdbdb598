// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conformance

import (
	"maps"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/hosts"
)

// twoHosts is a client and a server with a router between them.
type twoHosts struct {
	client, server *netlab.Node
}

func newTwoHosts(t testing.TB) twoHosts {
	t.Helper()
	var h twoHosts
	hosts.NewLab(t, func(lab *netlab.Lab) {
		router := lab.Router("router")
		h.client = router.Host("client", "10.0.0.1", "fd00::1")
		h.server = router.Host("server", "10.0.1.1", "fd00:1::1")
	})
	return h
}

// observed runs the program under test on both hosts.
func (h twoHosts) observed(t testing.TB) (client, server *subject) {
	t.Helper()
	s := observe(t, h.client, h.server)
	return s[0], s[1]
}

// serve starts a server, and gives where clients find it.
func (h twoHosts) serve(t testing.TB, config netlab.ServerConfig) (*netlab.Server, []netip.AddrPort) {
	t.Helper()
	if !config.Listen.IsValid() {
		config.Listen = netip.MustParseAddrPort("[::]:0")
	}
	server, err := h.server.StartServer(t.Context(), config)
	require.NoError(t, err)
	return server, targets(addressOf(h.server, server.Port()))
}

func addressOf(n *netlab.Node, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(n.Addr4(), port)
}

func targets(to ...netip.AddrPort) []netip.AddrPort { return to }

// counters are those of the kernel for a network namespace, by nstat.
type counters map[string]int

func count(t testing.TB, n *netlab.Node) counters {
	t.Helper()
	out, err := n.Command(t.Context(), "nstat", "--zeros", "--ignore", "--noupdate").Output()
	require.NoError(t, err)
	c := counters{}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] != "#kernel" {
			c[f[0]], err = strconv.Atoi(f[1])
			require.NoError(t, err, line)
		}
	}
	return c
}

// since is how much they grew.
func (c counters) since(before counters) counters {
	grown := maps.Clone(c)
	for name := range grown {
		grown[name] -= before[name]
	}
	return grown
}
