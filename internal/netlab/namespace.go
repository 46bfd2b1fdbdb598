// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// netnsDir is where iproute2 looks for named namespaces.
const netnsDir = "/run/netns"

// threadNetns is the namespace of the calling thread.
const threadNetns = "/proc/thread-self/ns/net"

// namespace is a named network namespace: a file under [netnsDir] on which the
// namespace is mounted, so that "ip netns" and "nsenter --net=" find it.
type namespace struct {
	path string
	fd   netns.NsHandle
}

// newNamespace makes a namespace and mounts it.
func newNamespace(name string) (*namespace, error) {
	if err := shareNetnsDir(); err != nil {
		return nil, err
	}
	path := filepath.Join(netnsDir, name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return nil, fmt.Errorf("make namespace %q: %w", name, err)
	}
	f.Close()
	err = onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		return unix.Mount(threadNetns, path, "", unix.MS_BIND, "")
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make namespace %q: %w", name, err), os.Remove(path))
	}
	fd, err := netns.GetFromPath(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open namespace %q: %w", name, err), removeNamespace(path))
	}
	return &namespace{path: path, fd: fd}, nil
}

// shareNetnsDir makes [netnsDir] a shared mount, as "ip netns add" does. If that
// came later, by somebody's ip command, our namespaces would be mounted a second
// time below its mount and never go away.
func shareNetnsDir() error {
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return err
	}
	// The lock is the one that iproute2 takes: two at a time would stack mounts.
	dir, err := os.Open(netnsDir)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", netnsDir, err)
	}
	err = unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
	if errors.Is(err, unix.EINVAL) { // not a mount point yet
		if err = unix.Mount(netnsDir, netnsDir, "none", unix.MS_BIND|unix.MS_REC, ""); err == nil {
			err = unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
		}
	}
	if err != nil {
		return fmt.Errorf("make %s a shared mount: %w", netnsDir, err)
	}
	return nil
}

// do runs fn in the namespace, on the caller's goroutine. It goes by the name,
// which is never used again, and not by fd, whose number may be when the namespace
// is removed meanwhile.
func (ns *namespace) do(fn func() error) error {
	fd, err := netns.GetFromPath(ns.path)
	if err != nil {
		return fmt.Errorf("enter namespace: %w", err)
	}
	defer fd.Close()
	return inNamespace(fd, fn)
}

func inNamespace(fd netns.NsHandle, fn func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(fd), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter namespace: %w", err)
		}
		return fn()
	})
}

// onThread runs fn with the goroutine wired to its thread, and brings the thread
// back to the namespace it was in, whatever fn did.
func onThread(fn func() error) error {
	runtime.LockOSThread()
	home, err := unix.Open(threadNetns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open own namespace: %w", err)
	}
	defer func() {
		err := unix.Setns(home, unix.CLONE_NEWNET)
		unix.Close(home)
		if err != nil {
			// Going on would run the caller in a strange network, silently.
			panic(fmt.Sprintf("netlab: return to own namespace: %v", err))
		}
		runtime.UnlockOSThread()
	}()
	return fn()
}

// remove ends the namespace: connections, links, name. Every step is tried.
func (ns *namespace) remove() error {
	ns.fd.Close()
	return removeNamespace(ns.path)
}

// removeNamespace removes what is in the namespace at path, and its name. A
// namespace that somebody else removed meanwhile is no error.
func removeNamespace(path string) error {
	var errs []error
	if fd, err := netns.GetFromPath(path); err == nil {
		// What is left open keeps a namespace alive long after its name is gone: an
		// orphaned connection retransmits for minutes. So everything in it goes first.
		if err := emptyNamespace(fd); err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: a plain file, its owner died before the mount
			errs = append(errs, fmt.Errorf("empty namespace %s: %w", path, err))
		}
		fd.Close()
	}
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		errs = append(errs, fmt.Errorf("unmount %s: %w", path, err))
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// dumpAttempts is how often a list is asked for again that changed while it was
// read: somebody else may sweep the other ends of the links away.
const dumpAttempts = 10

// emptyNamespace aborts the TCP connections of a namespace and deletes its links.
func emptyNamespace(fd netns.NsHandle) error {
	if err := inNamespace(fd, abortSockets); err != nil {
		return err
	}
	h, err := netlink.NewHandleAt(fd, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	links, err := h.LinkList()
	for range dumpAttempts {
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
		links, err = h.LinkList()
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range links {
		if l.Type() != "veth" {
			continue // lo and tunnels go with the namespace
		}
		// The other end goes with this one, in whatever namespace it is.
		if err := h.LinkDel(l); err != nil && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("delete link %s: %w", l.Attrs().Name, err))
		}
	}
	return errors.Join(errs...)
}
