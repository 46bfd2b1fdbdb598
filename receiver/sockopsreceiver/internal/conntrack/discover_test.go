// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

func TestParseMount(t *testing.T) {
	for _, tt := range []struct {
		name, line string
		inode      uint32
		path       string
	}{
		{
			name:  "ip netns",
			line:  "512 27 0:4 net:[4026532178] /run/netns/blue rw shared:7 - nsfs nsfs rw",
			inode: 4026532178, path: "/run/netns/blue",
		},
		{
			name:  "no optional fields, a space in the path",
			line:  `512 27 0:4 net:[4026532178] /run/my\040netns/a\134b rw - nsfs nsfs rw`,
			inode: 4026532178, path: `/run/my netns/a\b`,
		},
		{name: "another kind of namespace", line: "512 27 0:4 mnt:[4026532178] /run/snapd/ns/x.mnt rw - nsfs nsfs rw"},
		{name: "another file system", line: "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw"},
		{name: "a path that looks like one", line: "27 1 254:0 net:[4026532178] /x rw - ext4 /dev/root rw"},
		{name: "too large a number", line: "512 27 0:4 net:[99999999999] /run/netns/blue rw - nsfs nsfs rw"},
		{name: "no number", line: "512 27 0:4 net:[] /run/netns/blue rw - nsfs nsfs rw"},
		{name: "cut off", line: "512 27 0:4 - nsfs nsfs rw"},
		{name: "nothing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inode, path, ok := parseMount(tt.line)
			assert.Equal(t, tt.path != "", ok)
			if ok {
				assert.Equal(t, tt.inode, inode)
				assert.Equal(t, tt.path, path)
			}
		})
	}
}

// FuzzParseMount: nothing that anybody mounts makes it crash.
func FuzzParseMount(f *testing.F) {
	f.Add(`512 27 0:4 net:[4026532178] /run/my\040netns rw shared:7 - nsfs nsfs rw`)
	f.Add("512 27 0:4 - nsfs ")
	f.Fuzz(func(t *testing.T, line string) {
		if inode, path, ok := parseMount(line); ok && (inode == 0 || path == "") {
			t.Fatal(inode, path)
		}
	})
}

// sleeper is a process in a network namespace that nobody mounted.
type sleeper struct {
	cmd   *exec.Cmd
	inode uint32
}

func newSleeper(t testing.TB) *sleeper {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	require.NoError(t, cmd.Start())
	s := &sleeper{cmd: cmd}
	t.Cleanup(s.end)
	inode, err := inodeOf(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid))
	require.NoError(t, err)
	s.inode = inode
	return s
}

func (s *sleeper) end() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func follows(tracker *Tracker, inode uint32) bool {
	tracker.discovery.mu.Lock()
	defer tracker.discovery.mu.Unlock()
	return tracker.discovery.followed[inode] != nil
}

func TestNamespacesComeAndGo(t *testing.T) {
	host := emptyHost(t)
	tracker := track(t, host, Settings{})
	mustSync(t, tracker)
	require.True(t, follows(tracker, inode(t, host)))
	s := newSleeper(t)
	mustSync(t, tracker)
	require.True(t, follows(tracker, s.inode))
	before := tracker.Stats().Namespaces

	var other *netlab.Node
	t.Run("mounted, without a process", func(t *testing.T) {
		other = emptyHost(t)
		mustSync(t, tracker)
		require.True(t, follows(tracker, inode(t, other)))
		c := newCreator(t, other)
		c.create(entry{src: ap(client), dst: ap(virtual), dstNAT: ap(backend)})
		mustSync(t, tracker)
		_, result := tracker.Resolve(0, ap(client), ap(virtual))
		require.Equal(t, Translated, result)
	}) // its host goes
	s.end()
	for range missedOften {
		mustSync(t, tracker)
	}
	require.False(t, follows(tracker, s.inode))
	assert.Less(t, tracker.Stats().Namespaces, before+1)
	_, result := tracker.Resolve(0, ap(client), ap(virtual))
	assert.Equal(t, Translated, result, "what was there is known for a while")
	assert.True(t, follows(tracker, inode(t, host)))
}

func TestNamespacesPastTheBoundAreRefused(t *testing.T) {
	host := emptyHost(t)
	tracker := track(t, host, Settings{MaxNamespaces: 2})
	newSleeper(t)
	newSleeper(t)
	mustSync(t, tracker)
	st := tracker.Stats()
	assert.Equal(t, 2, st.Namespaces)
	assert.NotZero(t, st.NamespacesRefused)
	assert.True(t, follows(tracker, inode(t, host)), "the collector's own is always one of them")
}

// followEnv has this program follow the namespaces that it may, and say how many.
const followEnv = "CONNTRACK_FOLLOW"

func followAndTell(string) error {
	tracker := New(Settings{})
	if err := tracker.Start(); err != nil {
		return err
	}
	defer tracker.Close()
	for range 2 {
		if err := tracker.Sync(context.Background()); err != nil {
			return err
		}
	}
	st := tracker.Stats()
	_, err := fmt.Println(st.Namespaces, st.NamespacesFailed)
	return err
}

func TestWithoutCapSysAdminOthersAreCounted(t *testing.T) {
	needLab(t)
	newSleeper(t)
	for _, tt := range []struct {
		name, without string
		others        bool
	}{
		{"with all capabilities", "", true},
		{"without CAP_SYS_ADMIN", "-sys_admin", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			self, err := os.Executable()
			require.NoError(t, err)
			cmd := exec.CommandContext(testContext(t), self)
			if tt.without != "" {
				cmd = exec.CommandContext(testContext(t), "setpriv", "--bounding-set", tt.without, "--inh-caps", tt.without, self)
			}
			cmd.Env = append(os.Environ(), followEnv+"=1")
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			require.NoError(t, err)
			var followed, failed int
			_, err = fmt.Sscan(string(out), &followed, &failed)
			require.NoError(t, err)
			if tt.others {
				assert.Greater(t, followed, 1)
				assert.Zero(t, failed)
			} else {
				assert.Equal(t, 1, followed, "its own")
				assert.NotZero(t, failed)
			}
		})
	}
}

func TestFindNamespacesReadsWhatItCan(t *testing.T) {
	proc := t.TempDir()
	write := func(path, content string) {
		path = filepath.Join(proc, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	}
	write("self/mountinfo", "1 1 0:4 net:[11] /run/netns/a rw - nsfs nsfs rw\n")
	write("1/mountinfo", "1 1 0:4 net:[11] /run/netns/a rw - nsfs nsfs rw\n2 1 0:4 net:[12] /run/netns/b rw - nsfs nsfs rw\n")
	write("345/ns/net", "")
	write("678/ns/other", "") // gone
	write("version", "")
	process, err := inodeOf(filepath.Join(proc, "345/ns/net"))
	require.NoError(t, err)
	found, hidden, err := findNamespaces(proc)
	require.NoError(t, err)
	assert.Zero(t, hidden)
	assert.Equal(t, map[uint32]string{
		11:      "/run/netns/a",
		12:      filepath.Join(proc, "1/root/run/netns/b"),
		process: filepath.Join(proc, "345/ns/net"),
	}, found)
	_, _, err = findNamespaces(filepath.Join(proc, "missing"))
	assert.Error(t, err)
}

func TestANamespaceThatIsNotTheExpectedOneIsNotEntered(t *testing.T) {
	needLab(t)
	s := newSleeper(t)
	path := fmt.Sprintf("/proc/%d/ns/net", s.cmd.Process.Pid)
	entered := false
	require.NoError(t, enter(path, s.inode, func() error { entered = true; return nil }))
	require.True(t, entered)
	assert.ErrorIs(t, enter(path, s.inode+1, func() error { return nil }), errGone)
	s.end()
	assert.ErrorIs(t, enter(path, s.inode, func() error { return nil }), errGone)
}

func BenchmarkFindNamespaces(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := findNamespaces("/proc"); err != nil {
			b.Fatal(err)
		}
	}
}
