// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// namespace is struct namespace of namespaces.h: a network namespace, and a process and
// thread with the descriptor of a socket in it.
type namespace struct{ Inode, TGID, PID, FD uint32 }

// maxNamespaces is how many network namespaces are looked into: a hundred times the pods
// of a host (110 by default). An entry takes memory only during an adoption.
const maxNamespaces = 16384

// namespaces finds every network namespace that holds a TCP socket which a process has
// open. An iterator over tcp shows one namespace only, and most hold no socket at all.
func (s *Sockops) namespaces() ([]namespace, error) {
	if err := clearMap[uint32, uint32](s.objects.Namespaces); err != nil {
		return nil, fmt.Errorf("find network namespaces: %w", err)
	}
	it, err := link.AttachIter(link.IterOptions{Program: s.objects.FlowNamespaces})
	if err != nil {
		return nil, fmt.Errorf("attach the descriptor iterator: %w", explain(err))
	}
	defer it.Close()
	r, err := it.Open()
	if err != nil {
		return nil, fmt.Errorf("open the descriptor iterator: %w", explain(err))
	}
	defer r.Close()
	var out bytes.Buffer
	if err := drainReader(r, &out); err != nil {
		return nil, fmt.Errorf("walk the descriptors: %w", err)
	}
	found := make([]namespace, out.Len()/binary.Size(namespace{}))
	return found, binary.Read(&out, binary.NativeEndian, found)
}

func clearMap[K, V any](m *ebpf.Map) error {
	var key K
	var value V
	var stale []K
	it := m.Iterate()
	for it.Next(&key, &value) {
		stale = append(stale, key)
	}
	for _, key := range stale {
		if err := m.Delete(key); err != nil {
			return err
		}
	}
	return it.Err()
}

// errGone says that the socket by which a namespace was found is no longer there.
var errGone = errors.New("its socket is gone")

// open gives a descriptor of the namespace. The socket itself tells (SIOCGSKNS, 4.9;
// pidfd_getfd, 5.6), because its process may have moved on to another one. If it does
// not, for want of permission or because the thread has descriptors of its own, the
// thread's namespace is most likely the socket's.
func (n namespace) open() (int, error) {
	fd, err := n.openBySocket()
	if err != nil {
		gone := errors.Is(err, errGone)
		fd, err = unix.Open(fmt.Sprintf("/proc/%d/ns/net", n.PID), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil && gone {
			return -1, errGone
		}
	}
	if errors.Is(err, fs.ErrPermission) {
		return -1, fmt.Errorf("look into process %d: %w (needs CAP_SYS_PTRACE, and CAP_SYS_ADMIN to enter)", n.TGID, err)
	}
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || uint32(st.Ino) != n.Inode { // the descriptor's number was used again
		unix.Close(fd)
		return -1, errGone
	}
	return fd, nil
}

func (n namespace) openBySocket() (int, error) {
	pidfd, err := unix.PidfdOpen(int(n.TGID), 0)
	if errors.Is(err, unix.ESRCH) {
		return -1, errGone
	}
	if err != nil {
		return -1, err
	}
	defer unix.Close(pidfd)
	sock, err := unix.PidfdGetfd(pidfd, int(n.FD), 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EBADF) {
		return -1, errGone
	}
	if err != nil {
		return -1, err
	}
	defer unix.Close(sock)
	fd, err := unix.IoctlRetInt(sock, unix.SIOCGSKNS)
	if errors.Is(err, unix.ENOTTY) { // no socket any more
		return -1, errGone
	}
	return fd, err
}

// runIn runs an iterator in the namespace of fd, on a thread of its own: a thread that
// cannot be brought back ends with its goroutine.
func runIn(fd int, it *link.Iter) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			done <- err
			return
		}
		defer home.Close()
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("enter: %w (needs CAP_SYS_ADMIN)", err)
			return
		}
		err = readAll(it)
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}
