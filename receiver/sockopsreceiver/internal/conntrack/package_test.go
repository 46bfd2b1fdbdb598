// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

func TestMain(m *testing.M) {
	// This program plays other parts too, in processes of its own.
	for variable, part := range map[string]func(string) error{floodEnv: flood, followEnv: followAndTell} {
		if value, ok := os.LookupEnv(variable); ok {
			if err := part(value); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	netlab.Main()
	goleak.VerifyTestMain(m)
}

// needLab skips without root, and fails where a lab must be possible: in CI.
func needLab(t testing.TB) {
	t.Helper()
	err := netlab.Supported()
	if err == nil {
		return
	}
	if os.Geteuid() == 0 && os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	t.Skip(err)
}

// patience bounds what a test waits for; nothing takes that long.
const patience = 60 * time.Second

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// lab makes a network and removes it after the test.
func startLab(t testing.TB, lab *netlab.Lab) {
	t.Helper()
	require.NoError(t, lab.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, lab.Close()) })
}

// emptyHost is a host without anything around it.
func emptyHost(t testing.TB) *netlab.Node {
	t.Helper()
	needLab(t)
	lab := netlab.New()
	h := lab.Host("host", "10.9.0.1", "fd00:9::1")
	startLab(t, lab)
	return h
}

// track follows the machine, with the node in the place of the collector's namespace.
func track(t testing.TB, own *netlab.Node, s Settings) *Tracker {
	t.Helper()
	s.Namespace = own.NetnsPath()
	tracker := New(s)
	require.NoError(t, tracker.Start())
	t.Cleanup(tracker.Close)
	return tracker
}

func inode(t testing.TB, n *netlab.Node) uint32 {
	t.Helper()
	i, err := inodeOf(n.NetnsPath())
	require.NoError(t, err)
	return i
}

func mustSync(t testing.TB, tracker *Tracker) {
	t.Helper()
	require.NoError(t, tracker.Sync(testContext(t)))
}
