// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

// short opens connections one after the other, and checks that all of them worked.
func (h twoHosts) short(t *testing.T, n int) netlab.Report {
	t.Helper()
	server, err := h.server.StartServer(t.Context(), netlab.ServerConfig{Listen: netip.MustParseAddrPort("0.0.0.0:0")})
	require.NoError(t, err)
	app := runAll(t, h.client, []netlab.ClientConfig{{
		Targets:     []netip.AddrPort{netip.AddrPortFrom(h.server.Addr4(), server.Port())},
		Connections: n, Concurrency: 10, Upload: netlab.Exactly(1000), Download: netlab.Exactly(1000),
	}})
	_, err = server.Stop(t.Context())
	require.NoError(t, err)
	require.Equal(t, n, app.Opened)
	require.Zero(t, app.Severed)
	return app
}

// The kernel refuses storage beside a socket when its options take too much memory.
func TestConnectionsWithoutStorageWorkAndAreCountedAsUnseen(t *testing.T) {
	const n = 100
	h := newTwoHosts(t)
	program, err := bpf.Load(bpf.Options{CgroupPath: h.client.CgroupPath(), MaxFlows: 100, MaxSockets: 1 << 20})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, program.Close()) })
	require.NoError(t, h.client.Sysctl("net.core.optmem_max", "64")) // of its namespace, since 6.8
	h.short(t, n)
	st, err := program.Stats()
	require.NoError(t, err)
	assert.EqualValues(t, n, st.Unseen)
	sum := &flows{}
	require.NoError(t, program.Harvest(sum.add))
	assert.Zero(t, sum.sent)

	require.NoError(t, h.client.Sysctl("net.core.optmem_max", "131072"))
	app := h.short(t, n)
	require.NoError(t, program.Harvest(sum.add))
	assert.EqualValues(t, app.Written, sum.sent)
	st, err = program.Stats()
	require.NoError(t, err)
	assert.EqualValues(t, n, st.Unseen, "no more than before")
}

// What the kernel keeps for a socket is charged to the memory cgroup of the process that
// made the map. Allocations in interrupts are let through above the limit (__GFP_HIGH in
// try_charge_memcg()): it is for the process in it that nothing is left.
func TestAtTheMemoryLimitConnectionsWorkAndNoneIsLost(t *testing.T) {
	const n = 2000
	root, usage, limit := "/sys/fs/cgroup/memory", "memory.usage_in_bytes", "memory.limit_in_bytes"
	if _, err := os.Stat(root); err != nil { // no v1 hierarchy
		root, usage, limit = "/sys/fs/cgroup", "memory.current", "memory.max"
	}
	group := filepath.Join(root, "flow-test-"+strconv.Itoa(os.Getpid()))
	require.NoError(t, os.Mkdir(group, 0o755))
	t.Cleanup(func() { assert.NoError(t, os.Remove(group)) })
	move := func(to string) {
		require.NoError(t, os.WriteFile(filepath.Join(to, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0))
	}
	h := newTwoHosts(t)
	move(group)
	program, err := bpf.Load(bpf.Options{CgroupPath: h.client.CgroupPath(), MaxFlows: 100, MaxSockets: 1 << 20})
	move(root)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, program.Close()) })
	used := func() int {
		text, err := os.ReadFile(filepath.Join(group, usage))
		require.NoError(t, err)
		bytes, err := strconv.Atoi(strings.TrimSpace(string(text)))
		require.NoError(t, err)
		return bytes
	}
	before := used()
	require.NoError(t, os.WriteFile(filepath.Join(group, limit), []byte(strconv.Itoa(before)), 0))

	server, err := h.server.StartServer(t.Context(), netlab.ServerConfig{Listen: netip.MustParseAddrPort("0.0.0.0:0")})
	require.NoError(t, err)
	client, err := h.client.StartClient(t.Context(), netlab.ClientConfig{
		Targets:     []netip.AddrPort{netip.AddrPortFrom(h.server.Addr4(), server.Port())},
		Connections: n, Stepwise: true, Upload: netlab.Exactly(1), Download: netlab.Exactly(1), Summary: true,
	})
	require.NoError(t, err)
	_, err = client.Exchange(t.Context())
	require.NoError(t, err)
	st, err := program.Stats()
	require.NoError(t, err)
	grown := used() - before
	t.Logf("of %d connections %d are watched, %d are not; %d B each", n, st.Sockets, st.Unseen, grown/n)
	assert.EqualValues(t, n, st.Sockets+st.Unseen)
	// What else the cgroup held may have been given back meanwhile.
	assert.Greater(t, grown, 100*n)
	assert.Less(t, grown, 400*n, "slab class of 384")
	sum := &flows{}
	require.NoError(t, program.Harvest(sum.add))
	report, err := client.Stop(t.Context())
	require.NoError(t, err)
	require.NoError(t, program.Harvest(sum.add))
	assert.Equal(t, n, report.Opened)
	assert.Zero(t, report.Severed)
	if st.Unseen == 0 {
		assert.EqualValues(t, report.Written, sum.sent)
	}
}
