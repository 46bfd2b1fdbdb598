// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// appConn is a connection of an app, with its exact counts. One goroutine may read
// while another writes.
type appConn struct {
	*net.TCPConn
	rec     ConnReport
	began   time.Time
	written atomic.Int64
	read    atomic.Int64
}

// newAppConn takes over an established connection.
func newAppConn(c *net.TCPConn, began time.Time) *appConn {
	// Probes of an idle connection would be segments that nobody asked for.
	_ = c.SetKeepAlive(false)
	a := &appConn{TCPConn: c, began: began}
	a.rec.Local = c.LocalAddr().(*net.TCPAddr).AddrPort()
	// A Fast Open has no peer before its first bytes.
	if remote, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		a.rec.Remote = remote.AddrPort()
	}
	a.rec.Cookie = cookie(c)
	return a
}

func cookie(c syscall.Conn) (v uint64) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		v, _ = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_COOKIE)
	})
	return v
}

// report is the record as of now.
func (c *appConn) report() ConnReport {
	r := c.rec
	r.Written, r.Read = c.written.Load(), c.read.Load()
	r.Duration = time.Since(c.began)
	return r
}

// opError is an error and what failed.
type opError struct {
	op  string
	err error
}

func (e *opError) Error() string { return e.op + ": " + e.err.Error() }
func (e *opError) Unwrap() error { return e.err }

// setError writes down how a connection failed; nil: it did not.
func (r *ConnReport) setError(err error) {
	if err == nil {
		return
	}
	r.Op, r.Err = "read", err.Error()
	var op *opError
	if errors.As(err, &op) {
		r.Op = op.op
	}
	errors.As(err, &r.Errno)
}

// chunk is one write(), and the most of one read(): larger than a socket's send
// buffer takes at once, so that long transfers block as real ones do.
const chunk = 64 << 10

// payload is what is sent. Its bytes do not matter.
var payload [chunk]byte

// send writes n bytes.
func (c *appConn) send(n int64) error {
	for n > 0 {
		k, err := c.Write(payload[:min(n, chunk)])
		c.written.Add(int64(k))
		n -= int64(k)
		if err != nil {
			return &opError{"write", err}
		}
	}
	return nil
}

// sendBytes writes b.
func (c *appConn) sendBytes(b []byte) error {
	k, err := c.Write(b)
	c.written.Add(int64(k))
	if err != nil {
		return &opError{"write", err}
	}
	return nil
}

// readsPerSecond is how often a slow reader reads.
const readsPerSecond = 20

// receive reads n bytes, with a rate above 0 at no more than rate bytes a second.
func (c *appConn) receive(n, rate int64) error {
	size := int64(chunk)
	if rate > 0 {
		size = min(size, max(1, rate/readsPerSecond))
	}
	buf := make([]byte, min(size, max(n, 1)))
	began := time.Now()
	for got := int64(0); got < n; {
		k, err := c.Read(buf[:min(int64(len(buf)), n-got)])
		c.read.Add(int64(k))
		got += int64(k)
		if err != nil {
			if err == io.EOF && got < n {
				err = io.ErrUnexpectedEOF
			}
			if got < n {
				return &opError{"read", err}
			}
		}
		if rate > 0 {
			time.Sleep(time.Until(began.Add(time.Duration(float64(got) / float64(rate) * float64(time.Second)))))
		}
	}
	return nil
}

// receiveEnd reads to the end of the stream, where nothing more may come.
func (c *appConn) receiveEnd() error {
	var buf [1]byte
	k, err := c.Read(buf[:])
	c.read.Add(int64(k))
	switch {
	case err == io.EOF && k == 0:
		return nil
	case err != nil:
		return &opError{"read", err}
	}
	return &opError{"read", errors.New("more bytes than agreed")}
}

// reset closes with an RST. What was received is acknowledged first, so that the
// other end knows of it, as far as the network delivers.
func (c *appConn) reset() {
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
		})
	}
	_ = c.SetLinger(0)
	_ = c.Close()
}

// both runs two transfers, one after the other or at the same time, and returns
// the first's error before the second's.
func both(duplex bool, first, second func() error) error {
	if !duplex {
		if err := first(); err != nil {
			return err
		}
		return second()
	}
	other := make(chan error, 1)
	go func() { other <- second() }()
	err := first()
	if e := <-other; err == nil {
		err = e
	}
	return err
}
