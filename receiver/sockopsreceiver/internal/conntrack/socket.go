// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// socket is a netlink socket that listens to the conntrack events of one namespace.
//
// It is a plain descriptor outside of Go's poller: that one is woken for every single
// event, even while nobody waits. At 100,000 events a second this alone doubles the cost
// (measured: 40 % of a core against 21).
type socket struct{ fd int }

// listen opens a socket in the namespace of the calling thread and subscribes to the
// begin and the end of connections. Their changes in between do not matter: what they are
// translated to is settled when they begin.
func listen(receiveBuffer int) (socket, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return socket{}, fmt.Errorf("open a netfilter netlink socket: %w (needs a kernel with nf_conntrack_netlink)", err)
	}
	defer conn.Close() // the duplicate stays open
	program, err := filter()
	if err != nil {
		return socket{}, fmt.Errorf("assemble the filter of conntrack events: %w", err)
	}
	if err := conn.SetBPF(program); err != nil {
		return socket{}, fmt.Errorf("attach the filter of conntrack events: %w", err)
	}
	if err := conn.SetReadBuffer(receiveBuffer); err != nil {
		return socket{}, fmt.Errorf("set the receive buffer of conntrack events to %d bytes: %w", receiveBuffer, err)
	}
	for _, group := range []uint32{unix.NFNLGRP_CONNTRACK_NEW, unix.NFNLGRP_CONNTRACK_DESTROY} {
		if err := conn.JoinGroup(group); err != nil {
			return socket{}, fmt.Errorf("subscribe to conntrack events: %w (needs CAP_NET_ADMIN, and a kernel with nf_conntrack_netlink)", err)
		}
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return socket{}, err
	}
	fd := -1
	control := raw.Control(func(original uintptr) { fd, err = unix.FcntlInt(original, unix.F_DUPFD_CLOEXEC, 0) })
	if err := errors.Join(control, err); err != nil {
		return socket{}, fmt.Errorf("keep the netfilter netlink socket: %w", err)
	}
	return socket{fd}, nil
}

func (s socket) close() { _ = unix.Close(s.fd) }

// send gives a request to the kernel, which carries it out before send returns.
func (s socket) send(request []byte) error {
	for {
		err := unix.Sendto(s.fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// drops is how many messages the kernel had to drop because the receive buffer was full,
// modulo 2³². Before Linux 4.12 it does not tell: 0.
func (s socket) drops() uint32 {
	const drops, vars = 8, 9 // SK_MEMINFO_DROPS, SK_MEMINFO_VARS of sock_diag.h
	var info [vars]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 || size < uint32(unsafe.Sizeof(info)) {
		return 0
	}
	return info[drops]
}

const (
	// The kernel makes the datagrams of a dump as large as the largest buffer that it was
	// given, but at least 8 kB where pages are large.
	datagramSize = 8 << 10
	// A system call for 64 events costs a fraction of what 64 would.
	batchSize = 64
)

// batch is the memory into which recvmmsg(2) reads: 0.5 MB.
type batch struct {
	buffers  [batchSize][datagramSize]byte
	vectors  [batchSize]unix.Iovec
	senders  [batchSize]unix.RawSockaddrNetlink
	messages [batchSize]mmsghdr
}

// mmsghdr is struct mmsghdr.
type mmsghdr struct {
	header unix.Msghdr
	length uint32
}

func newBatch() *batch {
	b := new(batch)
	for i := range b.messages {
		b.vectors[i].Base = &b.buffers[i][0]
		b.vectors[i].SetLen(datagramSize)
		b.messages[i].header.Iov = &b.vectors[i]
		b.messages[i].header.SetIovlen(1)
		b.messages[i].header.Name = (*byte)(unsafe.Pointer(&b.senders[i]))
		b.messages[i].header.Namelen = unix.SizeofSockaddrNetlink
	}
	return b
}

// receive reads the datagrams that are there, without waiting: EAGAIN if there are none,
// ENOBUFS if the kernel had to drop some since the last call.
func (b *batch) receive(s socket) (n int, err error) {
	r, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&b.messages[0])),
		batchSize, unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}

// datagram is the i-th one that was read. valid is false if it was larger than its buffer,
// or does not come from the kernel: who has CAP_NET_ADMIN in the namespace may write here.
func (b *batch) datagram(i int) (data []byte, valid bool) {
	m := &b.messages[i]
	valid = m.header.Flags&unix.MSG_TRUNC == 0 && b.senders[i].Pid == 0
	return b.buffers[i][:min(m.length, datagramSize)], valid
}
