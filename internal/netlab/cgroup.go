// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// privateMounts holds the cgroup2 mounts of labs on machines that have none.
const privateMounts = "/run/netlab"

// killTimeout bounds the wait for killed processes. A SIGKILL is done in
// milliseconds; longer means a process stuck in the kernel, which no wait ends.
const killTimeout = 10 * time.Second

// findCgroup2 finds where this machine has cgroup2: /sys/fs/cgroup where it is the
// only version, /sys/fs/cgroup/unified on a hybrid machine. It returns "" if there
// is no such mount.
func findCgroup2() (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer f.Close()
	return parseCgroup2Mount(f)
}

// parseCgroup2Mount returns the first cgroup2 mount of a mountinfo file that is
// not a lab's own. Fields: id, parent, device, root, mount point, options,
// optional fields, "-", type, source, super options.
func parseCgroup2Mount(r io.Reader) (string, error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		if !ok {
			continue
		}
		where, kind := strings.Fields(before), strings.Fields(after)
		if len(where) < 6 || len(kind) < 1 || kind[0] != "cgroup2" {
			continue
		}
		path := unescapeMount(where[4])
		if strings.HasPrefix(path, privateMounts+"/") {
			continue // another lab's: it goes away with that lab
		}
		return path, nil
	}
	return "", lines.Err()
}

// unescapeMount undoes the octal escapes of mountinfo: blank, tab, newline and
// backslash.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// cgroupTree is the cgroup of a lab, above those of its nodes.
type cgroupTree struct {
	path  string
	mount string // the private mount, "" when the machine's own is used
}

// newCgroupTree makes the cgroup of lab id.
func newCgroupTree(id string) (*cgroupTree, error) {
	root, err := findCgroup2()
	if err != nil {
		return nil, fmt.Errorf("find cgroup2: %w", err)
	}
	return cgroupTreeBelow(root, id)
}

// cgroupTreeBelow makes it below root; "" makes a mount for it.
func cgroupTreeBelow(root, id string) (*cgroupTree, error) {
	t := &cgroupTree{}
	if root == "" {
		t.mount = filepath.Join(privateMounts, id)
		if err := os.MkdirAll(t.mount, 0o755); err != nil {
			return nil, err
		}
		if err := unix.Mount("cgroup2", t.mount, "cgroup2", 0, ""); err != nil {
			return nil, errors.Join(fmt.Errorf("no cgroup2 is mounted, and mount one at %s: %w", t.mount, err), os.Remove(t.mount))
		}
		root = t.mount
	}
	t.path = filepath.Join(root, id)
	if err := os.Mkdir(t.path, 0o755); err != nil {
		err = fmt.Errorf("make the lab's cgroup: %w", err)
		return nil, errors.Join(err, removePrivateMount(t.mount))
	}
	return t, nil
}

// child makes the cgroup of one node.
func (t *cgroupTree) child(name string) (string, error) {
	path := filepath.Join(t.path, name)
	return path, os.Mkdir(path, 0o755)
}

// remove kills what runs in the tree and removes it.
func (t *cgroupTree) remove() error {
	return errors.Join(removeCgroup(t.path), removePrivateMount(t.mount))
}

// removeCgroup kills the processes at and below path, waits until they are gone,
// and removes the cgroups, innermost first. It is no error if there is none.
func removeCgroup(path string) error {
	if err := killCgroup(path); err != nil {
		return err
	}
	var dirs []string
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // somebody else sweeps too
		}
		if err == nil && d.IsDir() {
			dirs = append(dirs, p)
		}
		return err
	})
	if err != nil {
		return err
	}
	for i := len(dirs) - 1; i >= 0; i-- {
		if err := unix.Rmdir(dirs[i]); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove cgroup %s: %w", dirs[i], err)
		}
	}
	return nil
}

// killCgroup sends SIGKILL to all processes at and below path (also to those that
// fork meanwhile: that is what cgroup.kill, since Linux 5.14, is for) and waits
// until none lives.
func killCgroup(path string) error {
	err := os.WriteFile(filepath.Join(path, "cgroup.kill"), []byte("1"), 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("kill the processes of %s: no cgroup.kill (needs Linux 5.14)", path)
	}
	if err != nil {
		return fmt.Errorf("kill the processes of %s: %w", path, err)
	}
	events, err := os.Open(filepath.Join(path, "cgroup.events"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer events.Close()
	deadline := time.Now().Add(killTimeout)
	for {
		// The kernel marks the file as changed (POLLPRI) after each read of it.
		buf := make([]byte, 256)
		n, err := events.ReadAt(buf, 0)
		if errors.Is(err, unix.ENODEV) {
			return nil
		}
		if err != nil && err != io.EOF {
			return err
		}
		if strings.Contains(string(buf[:n]), "populated 0") {
			return nil
		}
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("processes of %s still live %v after SIGKILL", path, killTimeout)
		}
		fds := []unix.PollFd{{Fd: int32(events.Fd()), Events: unix.POLLPRI}}
		if _, err := unix.Poll(fds, int(left/time.Millisecond)+1); err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// removePrivateMount undoes the mount that a lab made for itself.
func removePrivateMount(path string) error {
	if path == "" {
		return nil
	}
	var errs []error
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		errs = append(errs, fmt.Errorf("unmount %s: %w", path, err))
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	_ = os.Remove(privateMounts) // the last one does
	return errors.Join(errs...)
}
