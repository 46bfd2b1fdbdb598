// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"encoding/binary"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// tick bounds how late an ended connection is forgotten and a due dump begins.
	tick = time.Second
	// pause is how long events gather before they are read, so that not each one wakes
	// somebody (21 % of a core at 100,000 events a second, against 30). 10 ms of those are
	// 1,000 events, which have room in any namespace's buffer. Who synchronizes does not wait.
	pause = 10 * time.Millisecond
	// turn is how many batches one namespace may have before the next one is looked at.
	turn = 64
	// retry is when a dump that the kernel refused is asked for again: another one of the
	// same socket is still being read, or memory was short.
	retry = 200 * time.Millisecond
)

// reader reads the sockets of all namespaces, in one goroutine, which owns it.
type reader struct {
	tracker    *Tracker
	namespaces map[uint32]*namespace
	number     uint32 // of the last barrier or dump
	waits      []*wait
	batch      *batch
	polled     []unix.PollFd // the wake-up first, then the sockets, in the order of
	order      []*namespace
	stopped    bool
	ended      chan struct{} // closed when it has

	mu       sync.Mutex
	wakeup   int      // eventfd; -1: closed
	commands []func() // what others want to be done in the reader's goroutine
}

// wait is one that waits until all was read that was there at its begin.
type wait struct {
	barrier uint32
	on      []*namespace
	done    chan struct{}
}

func newReader(t *Tracker) (*reader, error) {
	wakeup, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return &reader{
		tracker:    t,
		namespaces: map[uint32]*namespace{},
		batch:      newBatch(),
		ended:      make(chan struct{}),
		wakeup:     wakeup,
	}, nil
}

// do has a command carried out in the reader's goroutine, at once; never, if that has ended.
func (r *reader) do(command func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wakeup < 0 {
		return
	}
	r.commands = append(r.commands, command)
	one := binary.NativeEndian.AppendUint64(nil, 1)
	_, _ = unix.Write(r.wakeup, one) // fails only with 2⁶⁴ wake-ups outstanding: it is awake then
}

// run reads until it is told to stop, then closes all sockets.
func (r *reader) run() {
	r.arrange()
	for !r.stopped {
		r.wait(r.polled, tick)
		read, more := r.read()
		r.obey()
		r.tend()
		if read && !more && len(r.waits) == 0 {
			r.wait(r.polled[:1], pause)
		}
	}
	for _, n := range r.order {
		n.socket.close()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = unix.Close(r.wakeup)
	r.wakeup = -1
	close(r.ended)
}

// wait waits for a descriptor to become readable.
func (r *reader) wait(fds []unix.PollFd, atMost time.Duration) {
	for i := range fds {
		fds[i].Revents = 0
	}
	_, _ = unix.Poll(fds, int(atMost.Milliseconds())) // EINTR: the loop comes back
}

// obey carries out the commands.
func (r *reader) obey() {
	var count [8]byte
	_, _ = unix.Read(r.wakeup, count[:])
	r.mu.Lock()
	commands := r.commands
	r.commands = nil
	r.mu.Unlock()
	for _, command := range commands {
		command()
	}
}

// arrange lays out what is polled.
func (r *reader) arrange() {
	r.order = r.order[:0]
	r.polled = append(r.polled[:0], unix.PollFd{Fd: int32(r.wakeup), Events: unix.POLLIN})
	for _, n := range r.namespaces {
		r.order = append(r.order, n)
		r.polled = append(r.polled, unix.PollFd{Fd: int32(n.socket.fd), Events: unix.POLLIN})
	}
}

func (r *reader) follow(n *namespace) {
	r.namespaces[n.origin.netns] = n
	r.arrange()
}

func (r *reader) leave(inode uint32) {
	n := r.namespaces[inode]
	if n == nil {
		return
	}
	delete(r.namespaces, inode)
	n.socket.close()
	n.wanted, n.dumping, n.passed = false, false, r.number // nobody need wait for it
	r.arrange()
	r.tracker.apply(func(t *table, now time.Duration) { t.leave(inode, now) })
}

// synchronize begins to wait for all that is there now.
func (r *reader) synchronize(done chan struct{}) {
	r.number++
	w := &wait{barrier: r.number, done: done}
	for _, n := range r.namespaces {
		w.on = append(w.on, n)
		if n.silent {
			n.wanted = true
		}
		if err := n.socket.send(barrierRequest(w.barrier)); err != nil {
			n.wanted = true
		}
	}
	r.waits = append(r.waits, w)
}
