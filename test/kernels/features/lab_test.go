// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package features

import (
	"bufio"
	"context"
	"errors"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

// lab is a client and a server with a cable between them, and the programs that watch
// both.
type lab struct {
	client, server *netlab.Node
	lab            *netlab.Lab
}

func newLab(t testing.TB) lab {
	t.Helper()
	need(t)
	l := lab{lab: netlab.New()}
	l.client, l.server = l.lab.Host("client", "10.0.0.1", "fd00::1"), l.lab.Host("server", "10.0.1.1", "fd00:1::1")
	l.lab.Link(l.client, l.server)
	require.NoError(t, l.lab.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, l.lab.Close()) })
	return l
}

// spoil makes the cable lose one packet in rate and delay the others, both ways. A kernel
// without netem has nftables for the loss, and no delay.
func (l lab) spoil(t testing.TB, rate float64, delay time.Duration) (delayed time.Duration) {
	t.Helper()
	for _, n := range []*netlab.Node{l.client, l.server} {
		err := n.Do(func() error { return netem(rate, delay) })
		if errors.Is(err, unix.ENOENT) { // no such discipline
			_, err := l.client.Link().Fault(netlab.Loss{Rate: rate}, netlab.Both)
			require.NoError(t, err)
			return 0
		}
		require.NoError(t, err)
	}
	return delay
}

// netem puts the discipline on every device of the namespace.
func netem(rate float64, delay time.Duration) error {
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	for _, link := range links {
		if link.Type() != "veth" {
			continue
		}
		qdisc := netlink.NewNetem(
			netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
			netlink.NetemQdiscAttrs{Loss: float32(100 * rate), Latency: uint32(delay.Microseconds()), Limit: 10_000})
		if err := netlink.QdiscReplace(qdisc); err != nil {
			return err
		}
	}
	return nil
}

// watch loads the programs for both hosts.
func (l lab) watch(t testing.TB, o bpf.Options) *bpf.Sockops {
	t.Helper()
	o.CgroupPath, o.MaxFlows, o.MaxSockets = l.lab.Cgroup(), 1000, 10_000
	p, err := bpf.Load(o)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, p.Close()) })
	return p
}

func (l lab) serve(t testing.TB) netip.AddrPort {
	t.Helper()
	s, err := l.server.StartServer(t.Context(), netlab.ServerConfig{Listen: netip.MustParseAddrPort("0.0.0.0:0")})
	require.NoError(t, err)
	return netip.AddrPortFrom(l.server.Addr4(), s.Port())
}

// destroyed waits for the ends of n connections at a host, and sums up what the kernel
// said of them.
func destroyed(t testing.TB, w *netlab.DestroyWatch, n int) netlab.Totals {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	_, err := w.WaitFor(ctx, "connections", func(ds []netlab.Destroyed) bool { return len(connections(ds)) >= n })
	require.NoError(t, err)
	all, err := w.Close() // reports overruns
	require.NoError(t, err)
	require.Len(t, connections(all), n)
	return netlab.Sum(connections(all))
}

// connections leaves out listeners, and sockets that never were one.
func connections(ds []netlab.Destroyed) (kept []netlab.Destroyed) {
	for _, d := range ds {
		if !d.Listener() && !d.ThrownAway() {
			kept = append(kept, d)
		}
	}
	return kept
}

// netstat reads a counter of the kernel for a host.
func netstat(t testing.TB, n *netlab.Node, file, group, name string) (value int) {
	t.Helper()
	err := n.Do(func() error {
		// Not /proc/net, which is that of the process's first thread.
		f, err := os.Open("/proc/thread-self/net/" + file)
		if err != nil {
			return err
		}
		defer f.Close()
		var names []string
		for lines := bufio.NewScanner(f); lines.Scan(); {
			words := strings.Fields(lines.Text())
			if len(words) == 0 || words[0] != group+":" {
				continue
			}
			if names == nil {
				names = words
				continue
			}
			for i, word := range words {
				if names[i] == name {
					value, err = strconv.Atoi(word)
					return err
				}
			}
		}
		return errors.New("no counter " + name + " in " + file)
	})
	require.NoError(t, err)
	return value
}
