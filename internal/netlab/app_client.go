// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// CloseMode says how a connection ends.
type CloseMode uint8

const (
	// CloseByClient: the client closes when it has all; the server after it.
	CloseByClient CloseMode = iota
	// CloseByServer: the server closes right after its last write; the client after it.
	CloseByServer
	// ResetByClient: one byte from the server says that it has all; then the client
	// closes with an RST (SO_LINGER 0).
	ResetByClient
	// ResetByServer: one byte from the client says that it has all; then the server
	// closes with an RST.
	ResetByServer
)

// Size is a range of sizes in bytes from which each connection draws, evenly over
// the orders of magnitude: between 1 and 1,000,000 half are below 1,000. Max 0
// means Min always.
type Size struct{ Min, Max int64 }

// Exactly is a size that does not vary.
func Exactly(n int64) Size { return Size{n, n} }

// draw takes a size from the range.
func (s Size) draw(r *rand.Rand) int64 {
	if s.Max <= s.Min {
		return s.Min
	}
	// One more, so that 0 has a logarithm, and Max its fair share.
	lo, hi := math.Log(float64(s.Min+1)), math.Log(float64(s.Max+2))
	n := int64(math.Exp(lo+r.Float64()*(hi-lo))) - 1
	return min(max(n, s.Min), s.Max)
}

func (s Size) check(name string) error {
	if s.Min < 0 || s.Min > maxTransfer || s.Max > maxTransfer || s.Max != 0 && s.Max < s.Min {
		return fmt.Errorf("%s %d…%d: must be a range within 0…%d", name, s.Min, s.Max, int64(maxTransfer))
	}
	return nil
}

// ClientConfig says what a client does.
type ClientConfig struct {
	// Targets are the servers, taken in turns. With Mapped a target that is IPv4 is
	// spoken to by an IPv6 socket, as its IPv4-mapped address.
	Targets []netip.AddrPort
	Mapped  bool

	// Connections is how many; 0: on and on, until [Client.Stop]. Concurrency is how
	// many at a time, 0 is 1. Interval is the least time from the start of one to the
	// start of the next, over all.
	Connections int
	Concurrency int
	Interval    time.Duration

	// A connection makes a number of Exchanges, 0 is 1: a header of 40 bytes and an
	// upload from the client, then a download from the server; with Duplex the two go
	// on at the same time. Sizes are drawn anew for each. Seed makes them the same in
	// each run.
	Exchanges        int
	Upload, Download Size
	Duplex           bool
	Seed             uint64
	Close            CloseMode

	// ReadRate and ServerReadRate make a slow reader of the client, and of the
	// server: bytes a second, 0 is no limit. ReceiveBuffer is the client's SO_RCVBUF,
	// 0 leaves it to the kernel.
	ReadRate, ServerReadRate int64
	ReceiveBuffer            int

	// Timeout ends a connection, from connect() to close(), with an error; 0: only
	// the kernel does.
	Timeout time.Duration

	// Stepwise opens all connections at once and keeps them; each exchange waits for
	// [Client.Exchange], and the end for [Client.Stop]. Exchanges is not used.
	Stepwise bool

	// Summary leaves out the list of connections in the report.
	Summary bool
}

func (c *ClientConfig) check() error {
	errs := []error{c.Upload.check("Upload"), c.Download.check("Download")}
	if len(c.Targets) == 0 {
		errs = append(errs, errors.New("no Targets"))
	}
	for _, t := range c.Targets {
		if !t.IsValid() || t.Port() == 0 {
			errs = append(errs, fmt.Errorf("target %s: no address and port", t))
		}
	}
	for name, v := range map[string]int64{
		"Connections": int64(c.Connections), "Concurrency": int64(c.Concurrency), "Exchanges": int64(c.Exchanges),
		"ReadRate": c.ReadRate, "ServerReadRate": c.ServerReadRate, "ReceiveBuffer": int64(c.ReceiveBuffer),
		"Interval": int64(c.Interval), "Timeout": int64(c.Timeout),
	} {
		if v < 0 {
			errs = append(errs, fmt.Errorf("%s must not be negative", name))
		}
	}
	if c.Close > ResetByServer {
		errs = append(errs, fmt.Errorf("no such Close: %d", c.Close))
	}
	if c.Stepwise && c.Connections == 0 {
		errs = append(errs, errors.New("Stepwise needs a number of Connections"))
	}
	return errors.Join(errs...)
}

// client is the app.
type client struct {
	config ClientConfig
	base   uint64 // of the ids of connections

	mu     sync.Mutex
	report Report
}

// drive does what the configuration says.
func drive(config ClientConfig, commands <-chan string, say func(message)) error {
	if err := config.check(); err != nil {
		return err
	}
	// Random, so that no two clients use the same; never 0.
	c := &client{config: config, base: rand.Uint64()>>1 + 1}
	if config.Stepwise {
		return c.stepwise(commands, say)
	}
	c.run(commands)
	c.mu.Lock()
	defer c.mu.Unlock()
	say(message{Report: &c.report})
	return nil
}

// run makes connections, as many at a time as it may, until all are made or it is
// told to stop.
func (c *client) run(commands <-chan string) {
	numbers := make(chan int)
	began := time.Now()
	go func() {
		defer close(numbers)
		timer := time.NewTimer(0)
		defer timer.Stop()
		for i := 0; c.config.Connections == 0 || i < c.config.Connections; i++ {
			timer.Reset(time.Until(began.Add(time.Duration(i) * c.config.Interval)))
			select {
			case <-timer.C:
			case <-commands: // stop is all it may be told
				return
			}
			select {
			case numbers <- i:
			case <-commands:
				return
			}
		}
	}()
	var workers sync.WaitGroup
	for range max(1, c.config.Concurrency) {
		workers.Go(func() {
			for i := range numbers {
				c.connection(i)
			}
		})
	}
	workers.Wait()
}

// connection makes connection number i from its beginning to its end.
func (c *client) connection(i int) {
	conn, failed := c.connect(i)
	if conn == nil {
		c.ended(failed)
		return
	}
	sizes := c.sizes(i)
	n := max(1, c.config.Exchanges)
	var err error
	for k := 1; k <= n && err == nil; k++ {
		err = c.exchange(conn, sizes, k == n)
	}
	c.finish(conn, err)
}

// sizes is the source of the sizes of connection i.
func (c *client) sizes(i int) *rand.Rand {
	return rand.New(rand.NewPCG(c.config.Seed, uint64(i)))
}

// connect opens connection i, or reports why not.
func (c *client) connect(i int) (*appConn, ConnReport) {
	began := time.Now()
	target := c.config.Targets[i%len(c.config.Targets)]
	if c.config.Mapped && target.Addr().Is4() {
		target = netip.AddrPortFrom(netip.AddrFrom16(target.Addr().As16()), target.Port())
	}
	tcp, failed, err := dial(target, c.config.ReceiveBuffer, c.config.Timeout)
	if err != nil {
		failed.ID = c.base + uint64(i)
		failed.setError(err)
		failed.Connect = time.Since(began)
		failed.Duration = failed.Connect
		return nil, failed
	}
	conn := newAppConn(tcp, began)
	conn.rec.ID = c.base + uint64(i)
	conn.rec.Connect = time.Since(began)
	if c.config.Timeout > 0 {
		_ = tcp.SetDeadline(began.Add(c.config.Timeout))
	}
	return conn, ConnReport{}
}

// exchange makes one exchange; the last one says how the connection ends.
func (c *client) exchange(conn *appConn, sizes *rand.Rand, last bool) error {
	h := header{
		id: conn.rec.ID, upload: c.config.Upload.draw(sizes), download: c.config.Download.draw(sizes),
		readRate: c.config.ServerReadRate, close: c.config.Close, duplex: c.config.Duplex, last: last,
	}
	if err := conn.sendBytes(h.encode()); err != nil {
		return err
	}
	return both(h.duplex,
		func() error { return conn.send(h.upload) },
		func() error { return conn.receive(h.download, c.config.ReadRate) })
}

// finish ends a connection as agreed, unless an error has ended it.
func (c *client) finish(conn *appConn, err error) {
	if err == nil {
		switch c.config.Close {
		case CloseByServer:
			err = conn.receiveEnd()
		case ResetByClient:
			if err = conn.receive(1, 0); err == nil {
				conn.reset()
			}
		case ResetByServer:
			if err = conn.send(1); err == nil {
				err = conn.receiveEnd()
			}
		}
	}
	_ = conn.Close()
	conn.rec.setError(err)
	c.ended(conn.report())
}

func (c *client) ended(r ConnReport) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.add(r, c.config.Summary)
}

// stepwise keeps all connections open and goes on when it is told.
func (c *client) stepwise(commands <-chan string, say func(message)) error {
	type steady struct {
		conn  *appConn
		sizes *rand.Rand
		err   error
	}
	conns := make([]*steady, c.config.Connections)
	var all sync.WaitGroup
	for i := range conns {
		all.Go(func() {
			conn, failed := c.connect(i)
			if conn == nil {
				c.ended(failed)
				return
			}
			conns[i] = &steady{conn: conn, sizes: c.sizes(i)}
		})
	}
	all.Wait()
	sofar := func() message {
		c.mu.Lock()
		defer c.mu.Unlock()
		r := c.report
		r.Conns = append([]ConnReport(nil), r.Conns...)
		for _, s := range conns {
			if s != nil {
				rec := s.conn.report()
				rec.Open = s.err == nil
				rec.setError(s.err)
				r.add(rec, c.config.Summary)
			}
		}
		return message{Report: &r}
	}
	say(sofar())
	for command := range commands {
		if command == commandStop {
			break
		}
		for _, s := range conns {
			if s != nil && s.err == nil {
				all.Go(func() { s.err = c.exchange(s.conn, s.sizes, false) })
			}
		}
		all.Wait()
		say(sofar())
	}
	for _, s := range conns {
		if s == nil {
			continue
		}
		all.Go(func() {
			if s.err == nil && c.config.Close != CloseByClient {
				// An empty exchange, to tell the server.
				h := header{id: s.conn.rec.ID, close: c.config.Close, last: true}
				s.err = s.conn.sendBytes(h.encode())
			}
			c.finish(s.conn, s.err)
		})
	}
	all.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	say(message{Report: &c.report})
	return nil
}

// dial opens a connection by hand: Go's own would make an IPv4 socket for an
// IPv4-mapped address. On failure the record has what is known of the socket.
func dial(target netip.AddrPort, receiveBuffer int, timeout time.Duration) (*net.TCPConn, ConnReport, error) {
	rec := ConnReport{Remote: target}
	fail := func(err error) (*net.TCPConn, ConnReport, error) {
		return nil, rec, &opError{"connect", err}
	}
	fd, err := socket(target.Addr(), unix.SOCK_NONBLOCK, receiveBuffer)
	if err != nil {
		return fail(err)
	}
	rec.Cookie, _ = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	err = unix.Connect(fd, sockaddr(target))
	if err == nil || errors.Is(err, unix.EINPROGRESS) {
		if sa, err := unix.Getsockname(fd); err == nil {
			rec.Local = addrPort(sa)
		}
	}
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		unix.Close(fd)
		return fail(err)
	}
	// After connect(): a socket that does nothing yet reports a hang-up to the poller.
	file := os.NewFile(uintptr(fd), "tcp")
	defer file.Close()
	if err != nil {
		if timeout > 0 {
			if err := file.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
				return fail(err)
			}
		}
		raw, err := file.SyscallConn()
		if err != nil {
			return fail(err)
		}
		var result error
		err = raw.Write(func(fd uintptr) bool {
			ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
			if n, err := unix.Poll(ready, 0); n == 0 || err != nil {
				return false
			}
			code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
			switch {
			case err != nil:
				result = err
			case code != 0:
				result = unix.Errno(code)
			}
			return true
		})
		if err = errors.Join(err, result); err != nil {
			return fail(err)
		}
	}
	conn, err := net.FileConn(file)
	if err != nil {
		return fail(err)
	}
	return conn.(*net.TCPConn), rec, nil
}

// socket opens a TCP socket of the family of addr.
func socket(addr netip.Addr, flags, receiveBuffer int) (int, error) {
	family := unix.AF_INET6
	if addr.Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|flags, unix.IPPROTO_TCP)
	if err != nil {
		return -1, err
	}
	if receiveBuffer > 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer); err != nil {
			unix.Close(fd)
			return -1, err
		}
	}
	return fd, nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}
