// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ownCgroup moves this process into a new cgroup until the test ends.
func ownCgroup(t testing.TB) string {
	t.Helper()
	root, _, err := findCgroup("")
	require.NoError(t, err)
	home := currentCgroup(t, root)
	dir := makeCgroup(t, root)
	enter(t, dir, home)
	return dir
}

// enter moves this process into a cgroup, and at the end of the test into another.
func enter(t testing.TB, dir, home string) {
	t.Helper()
	move := func(to string) {
		require.NoError(t, os.WriteFile(filepath.Join(to, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0))
	}
	move(dir)
	t.Cleanup(func() { move(home) })
}

func emptyCgroup(t testing.TB, parent string) string {
	t.Helper()
	return makeCgroup(t, parent)
}

func makeCgroup(t testing.TB, parent string) string {
	t.Helper()
	dir, err := os.MkdirTemp(parent, "flow-test-")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.Remove(dir)) })
	return dir
}

func currentCgroup(t testing.TB, root string) string {
	t.Helper()
	lines, err := os.ReadFile("/proc/self/cgroup")
	require.NoError(t, err)
	for line := range strings.Lines(string(lines)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return filepath.Join(root, path)
		}
	}
	return root
}

func TestCgroup2MountIsFoundOnUnifiedAndHybridHosts(t *testing.T) {
	for name, tt := range map[string]struct{ mountinfo, want string }{
		"unified": {`35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw`, "/sys/fs/cgroup"},
		"hybrid": {`32 24 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs ro
33 32 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
34 32 0:30 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw`, "/sys/fs/cgroup/unified"},
		"white space": {`35 24 0:30 / /mnt/my\040groups rw - cgroup2 none rw`, "/mnt/my groups"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := cgroup2Mount(strings.NewReader(tt.mountinfo))
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)
		})
	}
	_, err := cgroup2Mount(strings.NewReader("33 32 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"))
	assert.ErrorIs(t, err, ErrNoCgroup2)
}

func FuzzCgroup2Mount(f *testing.F) {
	f.Add("35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw")
	f.Add(" - cgroup2 ")
	f.Fuzz(func(t *testing.T, mountinfo string) {
		if path, err := cgroup2Mount(strings.NewReader(mountinfo)); err == nil && path == "" {
			t.Errorf("found an empty path in %q", mountinfo)
		}
	})
}

func TestACgroupPathThatIsNoneIsRefusedWithWhatToDo(t *testing.T) {
	mount, err := ownCgroup2Mount()
	require.NoError(t, err)
	file := filepath.Join(mount, "cgroup.procs")
	for path, why := range map[string]string{
		t.TempDir():                  "not in a cgroup2 file system",
		"/nonexistent":               "no such file or directory",
		file:                         "not a directory",
		filepath.Join(mount, "gone"): "no such file or directory",
	} {
		_, _, err := findCgroup(path)
		assert.EqualError(t, err, fmt.Sprintf("'cgroup_path' %q: %s (leave it empty, or use a directory below %q)", path, why, mount))
	}
	if data, _ := os.ReadFile("/proc/self/mountinfo"); strings.Contains(string(data), " - cgroup cgroup ") {
		for line := range strings.Lines(string(data)) {
			if strings.Contains(line, " - cgroup cgroup ") {
				_, _, err := findCgroup(strings.Fields(line)[4])
				assert.ErrorContains(t, err, "a cgroup of version 1")
				assert.ErrorContains(t, err, fmt.Sprintf("use a directory below %q", mount))
			}
		}
	}
}

func TestCgroupPathThatIsNone(t *testing.T) {
	_, _, err := findCgroup(t.TempDir())
	assert.ErrorContains(t, err, "'cgroup_path'")
	_, _, err = findCgroup("/nonexistent")
	assert.ErrorIs(t, err, os.ErrNotExist)
}
