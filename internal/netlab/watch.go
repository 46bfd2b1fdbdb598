// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// DestroyWatch collects the final state of every TCP socket of a node: the oracle
// for what somebody else counts there. Safe for concurrent use.
type DestroyWatch struct {
	lab  *Lab
	stop func() // ends the source and waits for it; safe twice

	mu      sync.Mutex
	records []Destroyed
	conns   int // of the records, those that are no listeners
	err     error
	grown   chan struct{} // closed and replaced with each record and error
	ended   bool
}

// maxRecords bounds what a watch holds, about 130 MB. Past it the watch fails.
const maxRecords = 1 << 20

// receiveBuffer lets 100,000 connections end while this process does not get to
// run: a notification takes about 1 KiB there.
const receiveBuffer = 128 << 20

func newDestroyWatch(l *Lab) *DestroyWatch {
	return &DestroyWatch{lab: l, grown: make(chan struct{})}
}

// WatchDestroyed asks the kernel to announce each TCP socket of the node that is
// destroyed (the groups SKNLGRP_INET_TCP_DESTROY and SKNLGRP_INET6_TCP_DESTROY of
// sock_diag) and decodes the announcements itself. From its return on none is
// missed. It ends with ctx, with [DestroyWatch.Close] or with the lab.
//
// [Node.WatchDestroyedBySS] has the same from a program that is not ours.
func (n *Node) WatchDestroyed(ctx context.Context) (*DestroyWatch, error) {
	return n.watchDestroyed(ctx, receiveBuffer)
}

func (n *Node) watchDestroyed(ctx context.Context, buffer int) (*DestroyWatch, error) {
	var file *os.File
	err := n.Do(func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_INET_DIAG)
		if err != nil {
			return err
		}
		file = os.NewFile(uintptr(fd), "sock_diag")
		// FORCE: the limit of net.core.rmem_max is for those who are not root.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer); err != nil {
			return fmt.Errorf("enlarge receive buffer: %w", err)
		}
		const groups = 1<<(unix.SKNLGRP_INET_TCP_DESTROY-1) | 1<<(unix.SKNLGRP_INET6_TCP_DESTROY-1)
		return unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups})
	})
	if err != nil {
		if file != nil {
			file.Close()
		}
		return nil, fmt.Errorf("watch the sockets of %q: %w", n.name, err)
	}
	conn, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	w := newDestroyWatch(n.lab)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer file.Close()
		w.readNetlink(conn)
	}()
	return w, w.register(ctx, func() {
		// The reader takes what is there and ends.
		_ = file.SetReadDeadline(time.Unix(1, 0))
		<-done
	})
}

// register ties the watch to the lab and to ctx; stop ends the source, waits for
// it, and may be called twice.
func (w *DestroyWatch) register(ctx context.Context, stop func()) error {
	release := context.AfterFunc(ctx, stop)
	w.stop = func() { release(); stop() }
	w.lab.mu.Lock()
	err := w.lab.alive()
	if err == nil {
		w.lab.watches[w] = struct{}{}
	}
	w.lab.mu.Unlock()
	if err != nil {
		w.stop()
	}
	return err
}

// readNetlink reads announcements until the read deadline, and then what is left.
func (w *DestroyWatch) readNetlink(conn syscall.RawConn) {
	defer w.end()
	buf := make([]byte, diagBuffer)
	for last := false; ; {
		var n int
		var readErr error
		receive := func(fd uintptr) bool {
			n, _, readErr = unix.Recvfrom(int(fd), buf, 0)
			return !errors.Is(readErr, unix.EAGAIN)
		}
		var err error
		if last {
			err = conn.Control(func(fd uintptr) { receive(fd) })
		} else {
			err = conn.Read(receive)
		}
		switch {
		case err != nil && !last:
			last = true
		case err != nil, errors.Is(readErr, unix.EAGAIN):
			return
		case errors.Is(readErr, unix.EINTR):
		case errors.Is(readErr, unix.ENOBUFS):
			w.fail(ErrOverrun)
		case readErr != nil:
			w.fail(readErr)
			return
		default:
			if _, err := eachMessage(buf[:n], w.announce); err != nil {
				w.fail(err)
			}
		}
	}
}

func (w *DestroyWatch) announce(kind uint16, payload []byte) error {
	if kind != sockDiagByFamily {
		return nil
	}
	d, err := parseDestroyed(payload)
	if err != nil {
		return err
	}
	w.add(d)
	return nil
}

// ErrOverrun says that the kernel had more to announce than its buffer took: some
// sockets are missing.
var ErrOverrun = errors.New("netlab: socket announcements were lost (receive buffer overrun)")

func (w *DestroyWatch) add(d Destroyed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.records) >= maxRecords {
		w.failLocked(fmt.Errorf("netlab: more than %d sockets: %w", maxRecords, ErrOverrun))
		return
	}
	w.records = append(w.records, d)
	if !d.Listener() && !d.ThrownAway() {
		w.conns++
	}
	w.wake()
}

// fail keeps the first error: what follows is of no use.
func (w *DestroyWatch) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failLocked(err)
}

func (w *DestroyWatch) failLocked(err error) {
	if w.err == nil {
		w.err = err
		w.wake()
	}
}

func (w *DestroyWatch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.wake()
}

func (w *DestroyWatch) wake() {
	close(w.grown)
	w.grown = make(chan struct{})
}

// Wait returns the sockets so far as soon as n connections among them have ended
// (listeners do not count). It returns early, with an error, when one was missed,
// when the watch has ended, or with ctx. The kernel announces a socket some time
// after it is closed: wait for the number you know.
func (w *DestroyWatch) Wait(ctx context.Context, n int) ([]Destroyed, error) {
	return w.wait(ctx, fmt.Sprintf("%d connections", n), func() bool { return w.conns >= n })
}

// WaitFor is [DestroyWatch.Wait] for any condition; what names it in the error.
// enough is called often: it must be quick, and must not keep the slice.
func (w *DestroyWatch) WaitFor(ctx context.Context, what string, enough func([]Destroyed) bool) ([]Destroyed, error) {
	return w.wait(ctx, what, func() bool { return enough(w.records) })
}

// wait calls enough with mu held, at each change.
func (w *DestroyWatch) wait(ctx context.Context, what string, enough func() bool) ([]Destroyed, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.err == nil && !enough() {
		if w.ended {
			return w.copy(), fmt.Errorf("netlab: the watch ended with %d sockets, before %s", len(w.records), what)
		}
		grown := w.grown
		w.mu.Unlock()
		select {
		case <-grown:
			w.mu.Lock()
		case <-ctx.Done():
			w.mu.Lock()
			return w.copy(), fmt.Errorf("netlab: %d sockets, waiting for %s: %w", len(w.records), what, ctx.Err())
		}
	}
	return w.copy(), w.err
}

func (w *DestroyWatch) copy() []Destroyed { return append([]Destroyed(nil), w.records...) }

// Close ends the watch and returns all it saw. The error is [ErrOverrun], or one
// that wraps it, when some were missed. Calling it again returns the same.
func (w *DestroyWatch) Close() ([]Destroyed, error) {
	w.stop()
	w.lab.mu.Lock()
	delete(w.lab.watches, w)
	w.lab.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.copy(), w.err
}
