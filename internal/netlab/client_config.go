// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"time"
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

	// Multipath asks for Multipath TCP: its subflows are TCP connections. FastOpen sends the
	// first bytes with the SYN, once a connection before it got a cookie from the server; the
	// node's net.ipv4.tcp_fastopen must allow it.
	Multipath, FastOpen bool

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
