// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// process is one that is in a network namespace. Its descriptor is of its folder in
// /proc: nothing can be read there once it has ended, even if another process has its
// number by then. It keeps neither the process nor the namespace alive.
type process struct {
	pid, fd int
}

// errGone says that a process has ended, or is in another namespace now.
var errGone = errors.New("the process has left the network namespace")

func openProcess(pid int) (process, error) {
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return process{pid, fd}, err
}

func (p process) close() { _ = unix.Close(p.fd) }

// in says whether the process is in a network namespace: nil, errGone, or why it must not
// be looked at.
func (p process) in(inode uint32) error {
	var st unix.Stat_t
	if err := unix.Fstatat(p.fd, "ns/net", &st, 0); err != nil {
		return p.explain("ns/net", err)
	}
	if uint32(st.Ino) != inode {
		return errGone
	}
	return nil
}

// explain tells an end of the process from errors.
func (p process) explain(file string, err error) error {
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
		return errGone
	}
	return fmt.Errorf("read /proc/%d/%s: %w", p.pid, file, err)
}

// read reads one of the files of /proc/<pid>/net into buffer and gives the part that it
// fills, or a larger buffer if that was too small.
func (p process) read(name string, buffer []byte) ([]byte, error) {
	fd, err := unix.Openat(p.fd, "net/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, p.explain("net/"+name, err)
	}
	defer unix.Close(fd)
	buffer = buffer[:0]
	for {
		buffer = slices.Grow(buffer, 4096)
		n, err := unix.Read(fd, buffer[len(buffer):cap(buffer)])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, p.explain("net/"+name, err)
		}
		if n == 0 {
			return buffer, nil
		}
		buffer = buffer[:len(buffer)+n]
	}
}

// processes calls yield for the number of each process that /proc shows, the oldest
// numbers first: those of a container's first processes, which live the longest.
func processes(yield func(pid int)) error {
	dir, err := os.Open("/proc")
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("list the processes in /proc: %w", err)
	}
	pids := make([]int, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	for _, pid := range pids {
		yield(pid)
	}
	return nil
}

// namespaceOf gives the inode of the network namespace that a process is in.
func namespaceOf(pid int) (uint32, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/"+strconv.Itoa(pid)+"/ns/net", &st); err != nil {
		return 0, err
	}
	return uint32(st.Ino), nil
}
