// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lockHolder gives the process that holds the flock of a file, as this process's PID
// namespace numbers it; false if the kernel does not tell: it is of another namespace, or
// the lock is free by now.
func lockHolder(path string) (int, bool) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, false
	}
	f, err := os.Open("/proc/locks")
	if err != nil {
		return 0, false
	}
	defer f.Close()
	return findFlock(f, st.Dev, st.Ino)
}

// findFlock reads the lines of /proc/locks (proc_locks(5)): ordinal, kind, mode, access,
// PID, device and inode, range. Those that wait have an arrow behind the ordinal.
func findFlock(locks io.Reader, dev, ino uint64) (int, bool) {
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(dev), unix.Minor(dev), ino)
	lines := bufio.NewScanner(locks)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 || fields[1] != "FLOCK" || fields[5] != file {
			continue
		}
		// 0 or less: a process that this PID namespace does not have.
		if pid, err := strconv.Atoi(fields[4]); err == nil && pid > 0 {
			return pid, true
		}
	}
	return 0, false
}
