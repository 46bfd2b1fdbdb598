// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestProcessIsBornInTheNamespaceAndTheCgroup(t *testing.T) {
	a, _, _ := pair(t)
	out, err := a.Command(t.Context(), "sh", "-c", "readlink /proc/self/ns/net; grep ^0:: /proc/self/cgroup; ls -d "+a.CgroupPath()).Output()
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	require.Len(t, lines, 3)

	var here, there string
	here, err = os.Readlink("/proc/thread-self/ns/net")
	require.NoError(t, err)
	require.NoError(t, a.Do(func() (err error) {
		there, err = os.Readlink("/proc/thread-self/ns/net")
		return err
	}))
	assert.NotEqual(t, here, there)
	assert.Equal(t, there, lines[0])
	assert.True(t, strings.HasSuffix(lines[1], "/"+a.lab.ID()+"/a"), lines[1])
	assert.Equal(t, a.CgroupPath(), lines[2], "the cgroup is seen from within")
	after, err := os.Readlink("/proc/thread-self/ns/net")
	require.NoError(t, err)
	assert.Equal(t, here, after, "the caller came back")
}

func TestCommandBehavesLikeExec(t *testing.T) {
	a, _, _ := pair(t)
	out, err := a.Command(t.Context(), "sh", "-c", "echo out; echo err >&2; exit 7").Output()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 7, exit.ExitCode())
	assert.Equal(t, "err\n", string(exit.Stderr))
	assert.Equal(t, "out\n", string(out))

	both, err := a.Command(t.Context(), "sh", "-c", "echo out; echo err >&2").CombinedOutput()
	require.NoError(t, err)
	assert.Equal(t, "out\nerr\n", string(both))

	cmd := a.Command(t.Context(), "cat")
	cmd.Stdin = strings.NewReader("in")
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	require.NoError(t, cmd.Run())
	assert.Equal(t, "in", stdout.String())
	_, err = cmd.Output()
	assert.Error(t, err)
	_, err = cmd.CombinedOutput()
	assert.Error(t, err)

	assert.Error(t, a.Command(t.Context(), "/nonexistent").Run())
	ctx, cancel := context.WithCancel(t.Context())
	cmd = a.Command(ctx, "sleep", "1000")
	require.NoError(t, cmd.Start())
	cancel()
	assert.Error(t, cmd.Wait())
}

func TestCloseKillsEverythingThatWasStarted(t *testing.T) {
	a, _, _ := pair(t)
	cmd := a.Command(t.Context(), "sh", "-c", "sleep 1000 & setsid sh -c 'trap \"\" TERM; sleep 1000' & echo; wait")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = out.Read(make([]byte, 1))
	require.NoError(t, err)
	procs, err := os.ReadFile(filepath.Join(a.CgroupPath(), "cgroup.procs"))
	require.NoError(t, err)
	pids := strings.Fields(string(procs))
	require.GreaterOrEqual(t, len(pids), 3)
	require.NoError(t, a.lab.Close())
	err = cmd.Wait()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, unix.SIGKILL, exit.Sys().(interface{ Signal() unix.Signal }).Signal())
	for _, pid := range pids {
		b, err := os.ReadFile("/proc/" + pid + "/stat")
		if err == nil {
			_, err = parseStartTime(b)
		}
		assert.Error(t, err, "process %s lives", pid)
	}
}

func TestDoReturnsTheErrorAndTheThread(t *testing.T) {
	a, _, b := pair(t)
	want := errors.New("mine")
	assert.Same(t, want, a.Do(func() error { return want }))
	assert.Panics(t, func() { _ = a.Do(func() error { panic("x") }) })

	before, err := net.Interfaces()
	require.NoError(t, err)
	// One in the other: each brings back what it found.
	require.NoError(t, a.Do(func() error {
		if err := b.Do(func() error { return nil }); err != nil {
			return err
		}
		all, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		assert.Equal(t, a.Link().a.mac, all.HardwareAddr)
		return nil
	}))
	after, err := net.Interfaces()
	require.NoError(t, err)
	assert.Equal(t, len(before), len(after))
}

func TestNodesHaveTheParametersOfALab(t *testing.T) {
	a, r, _ := pair(t)
	read := func(n *Node, name string) string {
		var b []byte
		require.NoError(t, n.Do(func() (err error) {
			b, err = os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
			return err
		}))
		return strings.TrimSpace(string(b))
	}
	for _, s := range append(append([]sysctl(nil), sysctls...), sysctls6...) {
		assert.Equal(t, s.value, read(a, s.name), s.name)
	}
	for _, s := range append(append([]sysctl(nil), routerSysctls...), routerSysctls6...) {
		assert.Equal(t, s.value, read(r, s.name), s.name)
	}
	assert.Equal(t, "0", read(a, "net.ipv4.ip_forward"), "hosts do not forward")

	require.NoError(t, a.Sysctl("net.ipv4.tcp_syn_retries", "2"))
	assert.Equal(t, "2", read(a, "net.ipv4.tcp_syn_retries"))
	assert.Error(t, a.Sysctl("net.ipv4.no_such_thing", "2"))
	assert.Error(t, a.Sysctl("kernel.hostname", "x"), "that would change the machine")
}

func TestConnectionsBetweenNodesUseCubic(t *testing.T) {
	a, _, b := pair(t)
	server := serverOn(t, b)
	for _, addr := range []string{"tcp4", "tcp6"} {
		target := b.Addr4().String()
		if addr == "tcp6" {
			target = b.Addr6().String()
		}
		require.NoError(t, a.Do(func() error {
			conn, err := net.Dial(addr, net.JoinHostPort(target, portString(server)))
			if err != nil {
				return err
			}
			defer conn.Close()
			raw, err := conn.(*net.TCPConn).SyscallConn()
			if err != nil {
				return err
			}
			var name string
			if err := raw.Control(func(fd uintptr) {
				name, err = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
			}); err != nil {
				return err
			}
			assert.Equal(t, "cubic", strings.TrimRight(name, "\x00"))
			return err
		}))
	}
	out, err := b.Command(t.Context(), "ss", "-Htin", "state", "established").Output()
	require.NoError(t, err)
	assert.NotContains(t, string(out), "bbr", "the server's end")
}
