// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"encoding/binary"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Types of the messages that ctnetlink writes: a connection that is there (an event, or a
// line of a dump), and one that is gone.
const (
	typeNew     = unix.NFNL_SUBSYS_CTNETLINK<<8 | nl.IPCTNL_MSG_CT_NEW
	typeGet     = unix.NFNL_SUBSYS_CTNETLINK<<8 | nl.IPCTNL_MSG_CT_GET
	typeDestroy = unix.NFNL_SUBSYS_CTNETLINK<<8 | nl.IPCTNL_MSG_CT_DELETE
)

// header is a netlink header without the length.
type header struct {
	kind, flags uint16
	sequence    uint32
}

// message takes the first message off a datagram. ok is false at its end, and where what
// is left is no message; the two differ in whether anything is left.
func message(b []byte) (h header, payload, rest []byte, ok bool) {
	if len(b) < unix.SizeofNlMsghdr {
		return header{}, nil, b, false
	}
	size := binary.NativeEndian.Uint32(b)
	if size < unix.SizeofNlMsghdr || uint64(size) > uint64(len(b)) {
		return header{}, nil, b, false
	}
	h = header{
		kind:     binary.NativeEndian.Uint16(b[4:]),
		flags:    binary.NativeEndian.Uint16(b[6:]),
		sequence: binary.NativeEndian.Uint32(b[8:]),
	}
	next := min((int(size)+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1), len(b))
	return h, b[unix.SizeofNlMsghdr:size], b[next:], true
}

// errno is the error of a message of type NLMSG_ERROR or NLMSG_DONE; 0: none.
func errno(payload []byte) unix.Errno {
	if len(payload) < 4 {
		return 0
	}
	return unix.Errno(-int32(binary.NativeEndian.Uint32(payload)))
}

// request writes a message without attributes.
func request(kind, flags uint16, sequence uint32, payload ...byte) []byte {
	b := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(payload))
	binary.NativeEndian.PutUint32(b, uint32(cap(b)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|flags)
	binary.NativeEndian.PutUint32(b[8:], sequence)
	return append(b, payload...)
}

// dumpRequest asks for all connections of the namespace, of both address families.
func dumpRequest(sequence uint32) []byte {
	return request(typeGet, unix.NLM_F_DUMP, sequence, unix.AF_UNSPEC, nl.NFNETLINK_V0, 0, 0)
}

// barrierRequest asks for nothing but an acknowledgement, which the kernel queues behind
// all events that it has queued before.
func barrierRequest(sequence uint32) []byte {
	return request(unix.NLMSG_NOOP, unix.NLM_F_ACK, sequence)
}
