// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

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
	tcp, failed, err := dial(target, &c.config)
	if err != nil {
		failed.ID = c.base + uint64(i)
		failed.setError(err)
		failed.Connect = time.Since(began)
		failed.Duration = failed.Connect
		return nil, failed
	}
	conn := newAppConn(tcp, began)
	conn.rec.Remote = target
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
