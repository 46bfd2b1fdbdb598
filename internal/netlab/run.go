// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
)

// Server is a server app at work on a node.
type Server struct {
	proc *proc
	addr netip.AddrPort
}

// StartServer starts a TCP server as a process of its own in the node, and returns
// when it listens. It is killed with ctx. [Main] must have been called.
func (n *Node) StartServer(ctx context.Context, config ServerConfig) (*Server, error) {
	p, err := n.startApp(ctx, appConfig{Server: &config})
	if err != nil {
		return nil, err
	}
	m, err := p.next(ctx)
	if err == nil && m.Listening == nil {
		err = fmt.Errorf("netlab: server on %q: no address", n.name)
	}
	if err != nil {
		p.kill()
		return nil, err
	}
	return &Server{p, *m.Listening}, nil
}

// Addr is where the server listens; its address may be unspecified.
func (s *Server) Addr() netip.AddrPort { return s.addr }

// Port is where the server listens.
func (s *Server) Port() uint16 { return s.addr.Port() }

// Pid is the server's process.
func (s *Server) Pid() int { return s.proc.cmd.Process.Pid }

// Stop closes the listener, lets open connections end by themselves, and returns
// what the server counted. When ctx ends first the server is killed. Calling it
// again returns the same report.
func (s *Server) Stop(ctx context.Context) (*Report, error) {
	s.proc.tell(commandStop)
	return s.proc.finish(ctx)
}

// Client is a client app at work on a node.
type Client struct {
	proc  *proc
	begun *Report
}

// StartClient starts a TCP client as a process of its own in the node. With
// Stepwise it returns when all connections are open, or have failed, else at once.
// It is killed with ctx. [Main] must have been called.
func (n *Node) StartClient(ctx context.Context, config ClientConfig) (*Client, error) {
	if err := config.check(); err != nil {
		return nil, fmt.Errorf("netlab: client on %q: %w", n.name, err)
	}
	p, err := n.startApp(ctx, appConfig{Client: &config})
	if err != nil {
		return nil, err
	}
	c := &Client{proc: p}
	if config.Stepwise {
		m, err := p.next(ctx)
		if err == nil && m.Report == nil {
			err = fmt.Errorf("netlab: client on %q: no report", n.name)
		}
		if err != nil {
			p.kill()
			return nil, err
		}
		c.begun = m.Report
	}
	return c, nil
}

// RunClient is [Node.StartClient] and [Client.Wait].
func (n *Node) RunClient(ctx context.Context, config ClientConfig) (*Report, error) {
	if config.Stepwise || config.Connections == 0 {
		return nil, errors.New("netlab: RunClient is for clients that end by themselves: no Stepwise, some Connections")
	}
	c, err := n.StartClient(ctx, config)
	if err != nil {
		return nil, err
	}
	return c.Wait(ctx)
}

// Pid is the client's process.
func (c *Client) Pid() int { return c.proc.cmd.Process.Pid }

// Begun is, with Stepwise, the report after all connections were opened.
func (c *Client) Begun() *Report { return c.begun }

// Exchange lets every connection of a client with Stepwise make one exchange, and
// returns what the client counted since its beginning. Not for concurrent use.
func (c *Client) Exchange(ctx context.Context) (*Report, error) {
	if c.begun == nil {
		return nil, errors.New("netlab: Exchange needs a client with Stepwise")
	}
	c.proc.tell(commandExchange)
	m, err := c.proc.next(ctx)
	return m.Report, err
}

// Wait waits until the client has made its Connections and returns what it
// counted. When ctx ends first the client is killed.
func (c *Client) Wait(ctx context.Context) (*Report, error) {
	return c.proc.finish(ctx)
}

// Stop lets the client finish the connections that it has begun, begin no more,
// and returns what it counted. When ctx ends first the client is killed.
func (c *Client) Stop(ctx context.Context) (*Report, error) {
	c.proc.tell(commandStop)
	return c.proc.finish(ctx)
}
