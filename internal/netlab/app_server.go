// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ServerConfig says how a server listens. What it does with a connection, the
// client of the connection asks for.
type ServerConfig struct {
	// Listen is where. Port 0: one that is free. The address :: takes IPv4 too, whose
	// peers are IPv4-mapped then, unless IPv6Only.
	Listen   netip.AddrPort
	IPv6Only bool

	// Backlog is how many connections may wait to be accepted; 0 is 1024, and
	// net.core.somaxconn limits it. With NoAccept nothing is ever accepted: after
	// Backlog + 1 connections the queue overflows.
	Backlog  int
	NoAccept bool

	// Multipath and FastOpen accept what [ClientConfig] asks for by the same names.
	Multipath, FastOpen bool

	// ReceiveBuffer is SO_RCVBUF in bytes; 0 leaves it to the kernel. A slow reader
	// shows at once when it is small.
	ReceiveBuffer int

	// Summary leaves out the list of connections in the report: for servers that
	// run for long.
	Summary bool
}

// defaultBacklog holds the connections of any test until the server gets to run.
const defaultBacklog = 1024

// server is the app.
type server struct {
	config ServerConfig
	conns  sync.WaitGroup

	mu     sync.Mutex
	report Report
	open   map[*appConn]struct{}
}

// serve listens until it is told to stop, lets connections end, and reports.
func serve(config ServerConfig, commands <-chan string, say func(message)) error {
	l, err := listen(config)
	if err != nil {
		return err
	}
	s := &server{config: config, open: map[*appConn]struct{}{}}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	say(message{Listening: &at})
	accepting := make(chan error, 1)
	go func() {
		if config.NoAccept {
			accepting <- nil
			return
		}
		accepting <- s.accept(l)
	}()
	for command := range commands {
		if command == commandStop {
			break
		}
	}
	err = l.Close()
	if e := <-accepting; e != nil && !errors.Is(e, net.ErrClosed) {
		return e
	}
	if err != nil {
		return err
	}
	s.conns.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	say(message{Report: &s.report})
	return nil
}

// listen opens the listener by hand: Go's own would choose the backlog, the
// address family and MPTCP by itself.
func listen(config ServerConfig) (*net.TCPListener, error) {
	fail := func(what string, err error) (*net.TCPListener, error) {
		return nil, fmt.Errorf("listen on %s: %s: %w", config.Listen, what, err)
	}
	if !config.Listen.IsValid() {
		return nil, errors.New("listen: no address")
	}
	fd, err := socket(config.Listen.Addr(), 0, config.ReceiveBuffer, protocol(config.Multipath))
	if err != nil {
		return fail("socket", err)
	}
	file := os.NewFile(uintptr(fd), "listener")
	defer file.Close()
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return fail("SO_REUSEADDR", err)
	}
	if config.Listen.Addr().Is6() {
		only := 0
		if config.IPv6Only {
			only = 1
		}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only); err != nil {
			return fail("IPV6_V6ONLY", err)
		}
	}
	if config.FastOpen {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN, defaultBacklog); err != nil {
			return fail("TCP_FASTOPEN", err)
		}
	}
	if err := unix.Bind(fd, sockaddr(config.Listen)); err != nil {
		return fail("bind", err)
	}
	backlog := config.Backlog
	if backlog == 0 {
		backlog = defaultBacklog
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return fail("listen", err)
	}
	l, err := net.FileListener(file)
	if err != nil {
		return fail("open", err)
	}
	return l.(*net.TCPListener), nil
}

func (s *server) accept(l *net.TCPListener) error {
	for {
		tcp, err := l.AcceptTCP()
		switch {
		case err == nil:
		case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ECONNABORTED):
			// Out of descriptors, until some connections end: they stay in the queue.
			time.Sleep(time.Millisecond)
			continue
		default:
			return err
		}
		c := newAppConn(tcp, time.Now())
		s.mu.Lock()
		s.open[c] = struct{}{}
		s.mu.Unlock()
		s.conns.Go(func() {
			err := s.handle(c)
			_ = c.Close()
			c.rec.setError(err)
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.open, c)
			s.report.add(c.report(), s.config.Summary)
		})
	}
}

// handle does what the client asks for, exchange by exchange.
func (s *server) handle(c *appConn) error {
	for {
		h, err := c.receiveHeader()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		c.rec.ID = h.id
		err = both(h.duplex,
			func() error { return c.receive(h.upload, h.readRate) },
			func() error { return c.send(h.download) })
		if err != nil {
			return err
		}
		if !h.last {
			continue
		}
		switch h.close {
		case CloseByServer:
			return nil
		case CloseByClient:
			return c.receiveEnd()
		case ResetByServer:
			// The client says when it has all.
			if err := c.receive(1, 0); err != nil {
				return err
			}
			c.reset()
			return nil
		case ResetByClient:
			if err := c.send(1); err != nil {
				return err
			}
			return c.receiveEnd()
		}
	}
}

// receiveHeader reads a header. It returns io.EOF, as it is, when the stream ends
// where one could begin.
func (c *appConn) receiveHeader() (header, error) {
	var b [headerSize]byte
	k, err := io.ReadFull(c.TCPConn, b[:])
	c.read.Add(int64(k))
	if err == io.EOF {
		return header{}, err
	}
	if err != nil {
		return header{}, &opError{"read", err}
	}
	h, err := decodeHeader(b[:])
	if err != nil {
		return h, &opError{"read", err}
	}
	return h, nil
}
