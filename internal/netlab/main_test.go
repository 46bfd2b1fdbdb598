// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	Main()
	beMortal()
	goleak.VerifyTestMain(m)
}

// needLab skips without root, and fails where a lab must be possible: in CI.
func needLab(t testing.TB) {
	t.Helper()
	err := Supported()
	if err == nil {
		return
	}
	if os.Geteuid() == 0 && os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	t.Skip(err)
}

// start makes a lab and removes it after the test.
func start(t testing.TB, lab *Lab) {
	t.Helper()
	require.NoError(t, lab.Start(t.Context()))
	t.Cleanup(func() {
		require.NoError(t, lab.Close())
	})
}

// pair is the smallest lab with a router: two hosts and what is between.
func pair(t testing.TB) (a, r, b *Node) {
	t.Helper()
	needLab(t)
	lab := New()
	r = lab.Router("router")
	a = r.Host("a", "10.0.1.1", "fd00:1::1")
	b = r.Host("b", "10.0.2.1", "fd00:2::1")
	start(t, lab)
	return a, r, b
}

// timeout bounds what a test waits for; nothing takes that long.
const timeout = 60 * time.Second

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	return ctx
}

// dual is where a server for both families listens.
var dual = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)

// serverOn starts a server for both families.
func serverOn(t testing.TB, n *Node) *Server {
	t.Helper()
	s, err := n.StartServer(testContext(t), ServerConfig{Listen: dual})
	require.NoError(t, err)
	return s
}

func to(n *Node, s *Server) []netip.AddrPort {
	return []netip.AddrPort{netip.AddrPortFrom(n.Addr4(), s.Port())}
}

func portString(s *Server) string { return strconv.Itoa(int(s.Port())) }

// ssPid finds the ss that watches a node.
func ssPid(t testing.TB, n *Node) (int, error) {
	t.Helper()
	var table []byte
	err := n.Do(func() (err error) {
		table, err = os.ReadFile("/proc/thread-self/net/netlink")
		return err
	})
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) < 4 || f[3] != "00000005" {
			continue
		}
		pid, err := strconv.Atoi(f[2])
		if err != nil {
			continue
		}
		if comm, err := os.ReadFile("/proc/" + f[2] + "/comm"); err == nil && string(comm) == "ss\n" {
			return pid, nil
		}
	}
	return 0, errors.New("no ss")
}

func signalSS(t testing.TB, n *Node, s unix.Signal) error {
	pid, err := ssPid(t, n)
	if err != nil {
		return err
	}
	return unix.Kill(pid, s)
}

func drops(t testing.TB, n *Node) (uint64, error) {
	pid, err := ssPid(t, n)
	if err != nil {
		return 0, err
	}
	s, err := findNetlinkSocket(pid)
	return s.drops, err
}
