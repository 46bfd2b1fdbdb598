// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNoCgroup2 says that there is no cgroup2 mount to attach to.
var ErrNoCgroup2 = errors.New(`no cgroup2 mount found (mount one: mount -t cgroup2 none /sys/fs/cgroup/unified)`)

var (
	errCgroup1      = errors.New("a cgroup of version 1, which no sockops program can be attached to")
	errNotInCgroup2 = errors.New("not in a cgroup2 file system")
)

// findCgroup gives the directory to attach to and the id by which the programs know it,
// 0 for the root, below which everything is.
func findCgroup(path string) (string, uint64, error) {
	mount, err := ownCgroup2Mount()
	if path == "" {
		if err != nil {
			return "", 0, err
		}
		path = mount
	}
	no := func(why error) (string, uint64, error) {
		if err != nil {
			return "", 0, fmt.Errorf("'cgroup_path' %q: %w: %w", path, why, err)
		}
		return "", 0, fmt.Errorf("'cgroup_path' %q: %w (leave it empty, or use a directory below %q)", path, why, mount)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return no(err)
	}
	switch fs.Type {
	case unix.CGROUP2_SUPER_MAGIC:
	case unix.CGROUP_SUPER_MAGIC:
		return no(errCgroup1)
	default:
		return no(errNotInCgroup2)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return no(err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return no(unix.ENOTDIR)
	}
	if isRoot(path) {
		return path, 0, nil
	}
	return path, st.Ino, nil // the inode of a cgroup directory is the cgroup's id
}

// ownCgroup2Mount finds the mount point in this process's mount namespace.
func ownCgroup2Mount() (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("find the cgroup2 mount: %w", err)
	}
	defer f.Close()
	return cgroup2Mount(f)
}

// isRoot: only the root of the hierarchy has no cgroup.type.
func isRoot(path string) bool {
	_, err := os.Stat(filepath.Join(path, "cgroup.type"))
	return errors.Is(err, os.ErrNotExist)
}

// cgroup2Mount finds the mount point in the lines of /proc/self/mountinfo: the unified
// /sys/fs/cgroup, or /sys/fs/cgroup/unified of a hybrid host. A mount of the whole
// hierarchy goes before one of a part of it, as a container has for itself.
func cgroup2Mount(mountinfo io.Reader) (string, error) {
	var first string
	lines := bufio.NewScanner(mountinfo)
	for lines.Scan() {
		mount, fs, found := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(mount)
		if !found || !strings.HasPrefix(fs, "cgroup2 ") || len(fields) < 5 {
			continue
		}
		path := unescape.Replace(fields[4])
		if isRoot(path) {
			return path, nil
		}
		if first == "" {
			first = path
		}
	}
	if first != "" {
		return first, nil
	}
	return "", errors.Join(lines.Err(), ErrNoCgroup2)
}

// unescape undoes what the kernel does to white space in mountinfo (proc(5)).
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
