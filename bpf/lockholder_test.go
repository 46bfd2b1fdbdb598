// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestTheHolderOfALockIsTheProcessThatTheKernelTells(t *testing.T) {
	path := t.TempDir()
	_, ok := lockHolder(path)
	assert.False(t, ok, "nobody has locked it")
	dir, err := os.Open(path)
	require.NoError(t, err)
	defer dir.Close()
	require.NoError(t, unix.Flock(int(dir.Fd()), unix.LOCK_EX))
	pid, ok := lockHolder(path)
	assert.True(t, ok)
	assert.Equal(t, os.Getpid(), pid)
	_, ok = lockHolder(path + "/none")
	assert.False(t, ok)
}

func TestLinesOfProcLocks(t *testing.T) {
	dev := unix.Mkdev(0xfd, 0x2)
	for name, tt := range map[string]struct {
		lines string
		pid   int
	}{
		"a lock":                               {"1: FLOCK  ADVISORY  WRITE 1234 fd:02:77 0 EOF", 1234},
		"among others":                         {"1: POSIX  ADVISORY  READ 5 fd:02:77 0 EOF\n2: FLOCK  ADVISORY  WRITE 6 fd:02:78 0 EOF\n3: FLOCK  ADVISORY  WRITE 7 fd:02:77 0 EOF", 7},
		"one that waits":                       {"1: -> FLOCK  ADVISORY  WRITE 8 fd:02:77 0 EOF", 0},
		"a holder in another PID namespace":    {"1: FLOCK  ADVISORY  WRITE 0 fd:02:77 0 EOF", 0},
		"a line that is cut off":               {"1: FLOCK  ADVISORY  WRITE", 0},
		"a process that is no number":          {"1: FLOCK  ADVISORY  WRITE x fd:02:77 0 EOF", 0},
		"the same inode of a different device": {"1: FLOCK  ADVISORY  WRITE 9 fd:03:77 0 EOF", 0},
	} {
		t.Run(name, func(t *testing.T) {
			pid, ok := findFlock(strings.NewReader(tt.lines), dev, 77)
			assert.Equal(t, tt.pid, pid)
			assert.Equal(t, tt.pid != 0, ok)
		})
	}
}

func FuzzFindFlock(f *testing.F) {
	f.Add("1: FLOCK  ADVISORY  WRITE 1234 fd:02:77 0 EOF")
	f.Add("1: -> FLOCK  ADVISORY  WRITE -1 fd:02:77")
	f.Fuzz(func(t *testing.T, lines string) {
		if pid, ok := findFlock(strings.NewReader(lines), unix.Mkdev(0xfd, 2), 77); ok != (pid > 0) {
			t.Errorf("process %d, told: %v", pid, ok)
		}
	})
}
