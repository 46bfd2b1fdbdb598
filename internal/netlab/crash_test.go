// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// mortalEnv makes this program one that builds a lab and is killed.
const mortalEnv = "NETLAB_TEST_MORTAL"

// beMortal builds a lab with all that a lab can have, says so, and never ends.
func beMortal() {
	if os.Getenv(mortalEnv) == "" {
		return
	}
	os.Unsetenv(mortalEnv)
	lab := New()
	r := lab.Router("r")
	a, b := r.Host("a", "10.0.0.1", "fd00::1"), r.Host("b", "10.0.0.2")
	check := func(err error) {
		if err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
	}
	ctx := context.Background()
	check(lab.Start(ctx))
	_, err := a.Fault(Delay{Delay: time.Millisecond}, Both)
	check(err)
	_, err = b.Fault(Loss{Rate: 0.5}, Both)
	check(err)
	s, err := b.StartServer(ctx, ServerConfig{Listen: dual})
	check(err)
	_, err = a.StartClient(ctx, ClientConfig{Targets: to(b, s), Summary: true})
	check(err)
	// One that hears nothing of its parent's end, and has children.
	sleep := a.Command(ctx, "sh", "-c", "sleep 1000 & setsid sleep 1000 & wait")
	check(sleep.Start())
	fmt.Println(lab.ID(), sleep.Process.Pid)
	select {}
}

func TestSweepRemovesWhatAKilledProcessLeft(t *testing.T) {
	needLab(t)
	for name, reap := range map[string]bool{
		"when the dead process is waited for":         true,
		"while it is a zombie that nobody waited for": false,
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), mortalEnv+"=1")
			out, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			line, err := bufio.NewReader(out).ReadString('\n')
			require.NoError(t, err, line)
			var id string
			var pid int
			_, err = fmt.Sscan(line, &id, &pid)
			require.NoError(t, err, line)

			require.NoError(t, Sweep())
			left := traces(t, id)
			assert.GreaterOrEqual(t, len(left), 3+1+3, "a living lab was swept: 3 namespaces, a cgroup, 3 mounts; got %q", left)
			require.NoError(t, unix.Kill(pid, 0))

			require.NoError(t, cmd.Process.Kill())
			if reap {
				_ = cmd.Wait()
			} else {
				// Until it is dead: the kernel says so at the end of its output.
				_, _ = out.Read(make([]byte, 1))
				require.Eventually(t, func() bool {
					_, err := startTime(cmd.Process.Pid)
					return err == errDead
				}, timeout, time.Millisecond)
				defer func() { _ = cmd.Wait() }()
			}
			require.NoError(t, Sweep())
			assert.Empty(t, traces(t, id))
			// The shell and what it started are gone, or are init's to wait for.
			_, err = startTime(pid)
			assert.Error(t, err)
			require.NoError(t, Sweep(), "again")
		})
	}
}

func TestSweepTouchesNothingElse(t *testing.T) {
	needLab(t)
	root, err := findCgroup2()
	require.NoError(t, err)
	self, err := startTime(os.Getpid())
	require.NoError(t, err)
	for _, name := range []string{
		"netlab-", "netlab-notes", "my-netlab-1.1.1", "netlab-1.2", // no lab's
		fmt.Sprintf("netlab-%d.%d.999999", os.Getpid(), self), // alive
	} {
		dir := filepath.Join(root, name)
		require.NoError(t, os.Mkdir(dir, 0o755))
		t.Cleanup(func() { require.NoError(t, os.Remove(dir)) })
	}
	// Owned by this process id, but before it was this process.
	stale := filepath.Join(root, fmt.Sprintf("netlab-%d.%d.1", os.Getpid(), self-1), "host")
	require.NoError(t, os.MkdirAll(stale, 0o755))
	// A name without a namespace: its owner died between the two.
	file := filepath.Join(netnsDir, "netlab-1.1.1-x")
	require.NoError(t, os.WriteFile(file, nil, 0o444))

	require.NoError(t, Sweep())
	assert.NoDirExists(t, filepath.Dir(stale))
	assert.NoFileExists(t, file)
	assert.DirExists(t, filepath.Join(root, "netlab-notes"))
	assert.DirExists(t, filepath.Join(root, fmt.Sprintf("netlab-%d.%d.999999", os.Getpid(), self)))
}

func TestLabWithoutACgroup2MountMakesItsOwn(t *testing.T) {
	needLab(t)
	make := func(id string) *cgroupTree {
		tree, err := cgroupTreeBelow("", id)
		require.NoError(t, err)
		assert.Equal(t, filepath.Join("/run/netlab", id, id), tree.path)
		dir, err := tree.child("host")
		require.NoError(t, err)
		assert.FileExists(t, filepath.Join(dir, "cgroup.procs"))
		root, err := findCgroup2()
		require.NoError(t, err)
		assert.NotEqual(t, tree.mount, root, "another lab would take it for the machine's")
		return tree
	}
	id, err := newID()
	require.NoError(t, err)
	require.NoError(t, make(id).remove())
	assert.Empty(t, traces(t, id))

	const dead = "netlab-4194305.1.1" // past the largest process id
	make(dead)
	require.NotEmpty(t, traces(t, dead))
	require.NoError(t, Sweep())
	assert.Empty(t, traces(t, dead))
}

func TestSupportedSaysWhatIsMissing(t *testing.T) {
	if os.Geteuid() != 0 {
		assert.ErrorContains(t, Supported(), "needs root")
		return
	}
	// The same program as nobody.
	cmd := exec.Command("/proc/self/exe", "-test.run=TestSupportedSaysWhatIsMissing$", "-test.v")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, os.ErrPermission) {
		t.Skip("nobody may not run this test's program")
	}
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "--- PASS: TestSupportedSaysWhatIsMissing")

	t.Setenv("PATH", "/nonexistent")
	_, err = lookTool("a-program-that-is-not-there")
	assert.ErrorContains(t, err, "a-program-that-is-not-there")
	path, err := lookTool("nft")
	assert.NoError(t, err, "found where an ordinary PATH does not look")
	assert.Contains(t, path, "bin/nft")
}

func TestHundredLabsLeaveNothing(t *testing.T) {
	needLab(t)
	once := func() string {
		lab := New()
		r := lab.Router("r")
		a, b := r.Host("a", "10.0.0.1"), r.Host("b", "10.0.0.2")
		require.NoError(t, lab.Start(t.Context()))
		_, err := a.Fault(Delay{Delay: time.Millisecond}, Out)
		require.NoError(t, err)
		_, err = b.Fault(Loss{Rate: 0.5}, Both)
		require.NoError(t, err)
		_, err = a.WatchDestroyed(t.Context())
		require.NoError(t, err)
		require.NoError(t, a.Command(t.Context(), "true").Run())
		// A connection of this process, which is open when the lab is closed.
		var l net.Listener
		require.NoError(t, b.Do(func() (err error) {
			l, err = net.Listen("tcp", "10.0.0.2:80")
			return err
		}))
		require.NoError(t, lab.Close())
		require.NoError(t, l.Close())
		return lab.ID()
	}
	once() // what is opened once and kept, is open now
	fds, goroutines, links := descriptors(t), runtime.NumGoroutine(), interfaces(t)
	var ids []string
	for range 100 {
		ids = append(ids, once())
	}
	for _, id := range ids {
		assert.Empty(t, traces(t, id+"-"))
	}
	assert.Empty(t, traces(t, strings.Join(strings.Split(ids[0], ".")[:2], ".")+"."))
	assert.Equal(t, fds, descriptors(t))
	assert.Equal(t, links, interfaces(t))
	assert.LessOrEqual(t, runtime.NumGoroutine(), goroutines)
	out, err := exec.Command("nft", "list", "tables").Output()
	require.NoError(t, err)
	assert.NotContains(t, string(out), "netdev fault")
	assert.NotContains(t, string(out), "netdev delay")
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

func interfaces(t *testing.T) int {
	t.Helper()
	all, err := net.Interfaces()
	require.NoError(t, err)
	return len(all)
}

func TestCloseAbortsConnectionsThatHaveNoProcess(t *testing.T) {
	a, _, b := pair(t)
	server := serverOn(t, b)
	require.NoError(t, a.Do(func() error {
		conn, err := net.Dial("tcp4", to(b, server)[0].String())
		if err != nil {
			return err
		}
		// Its last bytes are never acknowledged: it lives on without its descriptor.
		if _, err := b.Fault(Blackhole{}, In); err != nil {
			return err
		}
		if _, err := conn.Write([]byte("last words")); err != nil {
			return err
		}
		return conn.Close()
	}))
	sockets := func() int {
		out, err := a.Command(t.Context(), "ss", "-Htan", "state", "fin-wait-1").Output()
		require.NoError(t, err)
		return len(strings.Fields(string(out)))
	}
	require.NotZero(t, sockets())
	require.NoError(t, a.ns.do(abortSockets))
	require.Zero(t, sockets())
}

func TestCgroupOfALabIsAtThePublishedPath(t *testing.T) {
	a, _, _ := pair(t)
	root, err := findCgroup2()
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(root, a.lab.ID()), a.lab.Cgroup())
	assert.Equal(t, filepath.Join(a.lab.Cgroup(), "a"), a.CgroupPath())
	assert.Equal(t, filepath.Join("/run/netns", a.lab.ID()+"-a"), a.NetnsPath())
}
