// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"net/netip"
	"syscall"
	"time"
)

// Report is what a server or client did, as its own process counted.
type Report struct {
	Attempted int // connections that a client began, or a server accepted
	Opened    int // of those, established
	Failed    int // of those, never established
	Severed   int // of those opened, ended by an error

	Written int64 // bytes that write() took, headers included, over all connections
	Read    int64 // bytes that read() gave

	// Conns has one entry for each connection, in the order in which they ended
	// (open ones last); empty when the configuration says Summary.
	Conns []ConnReport
}

// ConnReport is one connection as the application at one end saw it.
type ConnReport struct {
	ID     uint64         // the same at both ends; 0 at a server that was not told
	Cookie uint64         // SO_COOKIE of this end's socket, as in [Destroyed.Cookie]
	Local  netip.AddrPort // as getsockname() said
	Remote netip.AddrPort

	Written int64
	Read    int64

	Connect  time.Duration // clients: how long the handshake took
	Duration time.Duration // from the start of connect(), or from accept(), to the end

	Open bool // not yet closed when the report was made

	// Of a connection that ended by an error: what failed ("connect", "read",
	// "write"), why, and the error number if the kernel gave one.
	Op    string        `json:",omitempty"`
	Err   string        `json:",omitempty"`
	Errno syscall.Errno `json:",omitempty"`
}

// add counts a connection that has ended, or is to be shown as it is.
func (r *Report) add(c ConnReport, summary bool) {
	r.Attempted++
	switch {
	case c.Op == "connect":
		r.Failed++
	case c.Op != "":
		r.Opened++
		r.Severed++
	default:
		r.Opened++
	}
	r.Written += c.Written
	r.Read += c.Read
	if !summary {
		r.Conns = append(r.Conns, c)
	}
}
