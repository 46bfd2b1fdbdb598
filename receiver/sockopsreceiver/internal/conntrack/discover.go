// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// findNamespaces gives the network namespaces of the machine by inode, each with a file
// that opens it: those of processes, and those that are mounted somewhere, as "ip netns"
// and container runtimes do. Processes that may not be looked at are counted: without
// CAP_SYS_PTRACE those are the ones of others.
func findNamespaces(proc string) (found map[uint32]string, hidden int, err error) {
	found = map[uint32]string{}
	hidden, processes := processNamespaces(found, proc)
	err = errors.Join(
		processes,
		mountedNamespaces(found, filepath.Join(proc, "self"), ""),
		// What the host mounted since this collector's own mount namespace was made.
		mountedNamespaces(found, filepath.Join(proc, "1"), filepath.Join(proc, "1", "root")),
	)
	return found, hidden, err
}

// processNamespaces adds those of processes. Threads of a process that are each in a
// namespace of their own are not looked at.
func processNamespaces(found map[uint32]string, proc string) (hidden int, err error) {
	dir, err := os.Open(proc)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			if name[0] < '1' || name[0] > '9' {
				continue
			}
			path := proc + "/" + name + "/ns/net"
			inode, err := inodeOf(path)
			switch {
			case err == nil:
				if _, ok := found[inode]; !ok {
					found[inode] = path
				}
			case errors.Is(err, fs.ErrPermission):
				hidden++
			}
		}
		if errors.Is(err, io.EOF) {
			return hidden, nil
		}
		if err != nil {
			return hidden, err
		}
	}
}

func inodeOf(path string) (uint32, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return uint32(st.Ino), nil
}

// mountedNamespaces adds those that a process, by its folder in proc, sees mounted below
// its root.
func mountedNamespaces(found map[uint32]string, process, root string) error {
	f, err := os.Open(filepath.Join(process, "mountinfo"))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return nil // no such process, or not ours to see: then there are the processes themselves
		}
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20) // an overlay's options may be long
	for lines.Scan() {
		if inode, path, ok := parseMount(lines.Text()); ok {
			if _, ok := found[inode]; !ok {
				found[inode] = root + path
			}
		}
	}
	return lines.Err()
}

// parseMount reads a line of mountinfo (proc(5)): a mounted network namespace has the file
// system nsfs, and the root net:[INODE].
func parseMount(line string) (inode uint32, path string, ok bool) {
	before, after, _ := strings.Cut(line, " - ")
	if !strings.HasPrefix(after, "nsfs ") {
		return 0, "", false
	}
	fields := strings.Fields(before)
	if len(fields) < 5 {
		return 0, "", false
	}
	number, isNet := strings.CutPrefix(strings.TrimSuffix(fields[3], "]"), "net:[")
	n, err := strconv.ParseUint(number, 10, 32)
	return uint32(n), unescape(fields[4]), isNet && err == nil && n != 0
}

// unescape undoes what the kernel does to space, tab, newline and backslash in a path.
func unescape(path string) string {
	if !strings.Contains(path, `\`) {
		return path
	}
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}

// errGone says that a namespace is no longer where it was found.
var errGone = errors.New("the network namespace is gone")

// enter runs do in the namespace that path opens, if that is still the one with this
// inode, on a thread of its own: one that cannot be brought back ends with its goroutine.
func enter(path string, inode uint32, do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			done <- fmt.Errorf("open own network namespace: %w", err)
			return
		}
		defer unix.Close(home)
		if here, err := inodeOf("/proc/thread-self/ns/net"); err == nil && here == inode {
			err := do() // to enter even one's own takes CAP_SYS_ADMIN
			runtime.UnlockOSThread()
			done <- err
			return
		}
		if err := setns(path, inode); err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		err = do()
		if unix.Setns(home, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

func setns(path string, inode uint32) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return errGone
	}
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w (needs CAP_SYS_PTRACE)", path, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || uint32(st.Ino) != inode {
		return errGone // the process has gone elsewhere, or its id was used again
	}
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w (needs CAP_SYS_ADMIN)", path, err)
	}
	return nil
}
