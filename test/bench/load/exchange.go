// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package load

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Size is what goes each way over a short connection, in bytes.
const Size = 1024

// Serve listens and goes on until the process ends. With Reply each connection is read for
// Size bytes, answered with as many, and closed after its client; else it is read to its end.
// With Realtime the threads go before all other processes, as those of [Paced] do.
type Serve struct {
	Listen   netip.AddrPort
	Threads  int // connections served at a time
	Reply    bool
	Realtime bool
}

func (s *Serve) run(*worker) (Answer, error) {
	fd, err := listen(s.Listen)
	if err != nil {
		return Answer{}, err
	}
	for range s.Threads {
		go func() {
			if s.Realtime {
				if err := Realtime(); err != nil {
					return // nobody answers, and its client says so
				}
			}
			for {
				c, err := accept(fd)
				if err != nil {
					return
				}
				if s.Reply {
					reply(c)
				} else {
					discard(c)
				}
				unix.Close(c)
			}
		}()
	}
	return Answer{}, nil
}

func reply(fd int) {
	var buf [Size]byte
	if n, err := readFull(fd, buf[:]); err != nil || n < Size {
		return // the client sees that its answer is missing
	}
	if writeAll(fd, buf[:]) == nil {
		_, _ = read(fd, buf[:])
	}
}

// readSize is what a receiver of streams takes at once.
const readSize = 256 << 10

func discard(fd int) {
	buf := make([]byte, readSize)
	for {
		if n, err := read(fd, buf); err != nil || n == 0 {
			return
		}
	}
}

// exchange is a short connection from beginning to end.
func exchange(to netip.AddrPort) error {
	fd, err := connect(to)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var buf [Size]byte
	if err := writeAll(fd, buf[:]); err != nil {
		return err
	}
	n, err := readFull(fd, buf[:])
	if err == nil && n < Size {
		err = fmt.Errorf("%d bytes of %d from %s", n, Size, to)
	}
	return err
}

// Connections makes short connections, each worker one after the other: Count in all, or
// as many as there is time for.
type Connections struct {
	To       []netip.AddrPort // in turns
	Workers  int
	Count    int
	Duration time.Duration
}

func (c *Connections) run(*worker) (Answer, error) {
	var next, made atomic.Int64
	var workers sync.WaitGroup
	errs := make([]error, c.Workers)
	began := time.Now()
	for w := range c.Workers {
		workers.Go(func() {
			for {
				i := next.Add(1) - 1
				if c.Count > 0 && i >= int64(c.Count) || c.Duration > 0 && time.Since(began) >= c.Duration {
					return
				}
				if errs[w] = exchange(c.To[i%int64(len(c.To))]); errs[w] != nil {
					return
				}
				made.Add(1)
			}
		})
	}
	workers.Wait()
	return Answer{Count: int(made.Load()), Elapsed: time.Since(began)}, errors.Join(errs...)
}

// Paced makes short connections at a fixed rate. A latency is counted from the time at
// which the connection was due: one that could not begin in time because others were slow is
// slow itself.
type Paced struct {
	To       []netip.AddrPort // in turns
	Workers  int
	Rate     int // connections a second
	Duration time.Duration
}

func (p *Paced) run(*worker) (Answer, error) {
	n := int(p.Duration.Seconds() * float64(p.Rate))
	latencies := make([]time.Duration, n)
	errs := make([]error, p.Workers)
	began := monotonic() + 10*time.Millisecond // when all workers have started
	var workers sync.WaitGroup
	for w := range p.Workers {
		workers.Go(func() {
			if errs[w] = Realtime(); errs[w] != nil {
				return
			}
			for i := w; i < n && errs[w] == nil; i += p.Workers {
				due := began + time.Duration(i)*time.Second/time.Duration(p.Rate)
				sleepUntil(due)
				errs[w] = exchange(p.To[i%len(p.To)])
				latencies[i] = monotonic() - due
			}
		})
	}
	workers.Wait()
	return Answer{Count: n, Latencies: latencies}, errors.Join(errs...)
}

// Realtime makes the goroutine a thread of its own, which goes before those of other
// processes, and whose sleeps end when they should, not up to 50 µs later.
func Realtime() error {
	runtime.LockOSThread() // for good: the thread ends with the goroutine
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	fifo := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}
	return os.NewSyscallError("sched_setattr", unix.SchedSetAttr(0, &fifo, 0))
}

func monotonic() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // cannot fail with these arguments
	return time.Duration(now.Nano())
}

func sleepUntil(due time.Duration) {
	at := unix.NsecToTimespec(int64(due))
	for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &at, nil) == unix.EINTR {
	}
}
