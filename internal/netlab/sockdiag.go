// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// The layout of inet_diag messages, from linux/inet_diag.h and linux/sock_diag.h.
// golang.org/x/sys has the names of the groups, not these.
const (
	sockDiagByFamily = 20
	sockDestroy      = 21

	sizeofInetDiagReq = 56 // struct inet_diag_req_v2: 4 × u8, states u32, sockid
	sizeofInetDiagMsg = 72 // struct inet_diag_msg: 4 × u8, sockid, 5 × u32
	offsetofSockID    = 4  // in the message
	sizeofSockID      = 48 // sport, dport (big endian), src, dst (16 each), interface, cookie

	inetDiagInfo = 2 // attribute INET_DIAG_INFO: struct tcp_info
)

// errTruncated is the verdict on a message that ends before its own length.
var errTruncated = errors.New("truncated sock_diag message")

// parseDestroyed decodes the payload of one SOCK_DIAG_BY_FAMILY message.
func parseDestroyed(b []byte) (Destroyed, error) {
	var d Destroyed
	if len(b) < sizeofInetDiagMsg {
		return d, errTruncated
	}
	size := 16
	switch b[0] {
	case unix.AF_INET:
		size = 4
	case unix.AF_INET6:
	default:
		return d, fmt.Errorf("sock_diag message of address family %d", b[0])
	}
	id := b[offsetofSockID:]
	src, _ := netip.AddrFromSlice(id[4 : 4+size])
	dst, _ := netip.AddrFromSlice(id[20 : 20+size])
	d.Local = netip.AddrPortFrom(src, binary.BigEndian.Uint16(id[0:]))
	d.Remote = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(id[2:]))
	// Two native 32-bit words, the low one first, on every architecture.
	d.Cookie = uint64(binary.NativeEndian.Uint32(id[40:])) | uint64(binary.NativeEndian.Uint32(id[44:]))<<32

	attrs := b[sizeofInetDiagMsg:]
	for len(attrs) >= unix.SizeofRtAttr {
		length := int(binary.NativeEndian.Uint16(attrs))
		kind := binary.NativeEndian.Uint16(attrs[2:])
		if length < unix.SizeofRtAttr || length > len(attrs) {
			return d, errTruncated
		}
		if kind == inetDiagInfo {
			info, err := parseTCPInfo(attrs[unix.SizeofRtAttr:length])
			if err != nil {
				return d, err
			}
			d.Info = info
			return d, nil
		}
		attrs = attrs[min((length+3)&^3, len(attrs)):]
	}
	return d, errors.New("sock_diag message without TCP_INFO")
}

// Offsets in struct tcp_info. The structure only ever grew at its end: what a
// kernel does not know is not in its message.
const (
	tcpiTotalRetrans  = 100
	tcpiBytesAcked    = 120
	tcpiBytesReceived = 128
	tcpiSegsOut       = 136
	tcpiSegsIn        = 140
	tcpiMinRTT        = 148
	tcpiDataSegsIn    = 152
	tcpiDataSegsOut   = 156
	tcpiBusyTime      = 168
	tcpiRwndLimited   = 176
	tcpiSndbufLimited = 184
	tcpiDeliveredCE   = 196
	tcpiBytesSent     = 200
	tcpiBytesRetrans  = 208
	tcpiDSACKDups     = 216
	tcpiDSACKDupsEnd  = 220 // Linux 4.19, below which nothing of ours runs
	tcpiTotalRTO      = 240 // Linux 6.7
	tcpiTotalRTOEnd   = 242
)

// parseTCPInfo decodes struct tcp_info.
func parseTCPInfo(b []byte) (TCPInfo, error) {
	if len(b) < tcpiDSACKDupsEnd {
		return TCPInfo{}, fmt.Errorf("TCP_INFO of %d bytes: %w", len(b), errTruncated)
	}
	u32, u64 := binary.NativeEndian.Uint32, binary.NativeEndian.Uint64
	info := TCPInfo{
		BytesAcked:    u64(b[tcpiBytesAcked:]),
		BytesReceived: u64(b[tcpiBytesReceived:]),
		BytesSent:     u64(b[tcpiBytesSent:]),
		BytesRetrans:  u64(b[tcpiBytesRetrans:]),
		SegsOut:       u32(b[tcpiSegsOut:]),
		SegsIn:        u32(b[tcpiSegsIn:]),
		DataSegsOut:   u32(b[tcpiDataSegsOut:]),
		DataSegsIn:    u32(b[tcpiDataSegsIn:]),
		TotalRetrans:  u32(b[tcpiTotalRetrans:]),
		MinRTT:        u32(b[tcpiMinRTT:]),

		Busy:                  u64(b[tcpiBusyTime:]),
		ReceiverWindowLimited: u64(b[tcpiRwndLimited:]),
		SendBufferLimited:     u64(b[tcpiSndbufLimited:]),
		DSACKs:                u32(b[tcpiDSACKDups:]),
		DeliveredCE:           u32(b[tcpiDeliveredCE:]),
	}
	if len(b) >= tcpiTotalRTOEnd {
		info.TotalRTO = binary.NativeEndian.Uint16(b[tcpiTotalRTO:])
		info.HasTotalRTO = true
	}
	return info, nil
}

// eachMessage calls fn for each netlink message in a datagram. The end of a dump
// is reported as done; a message of type error ends the walk, with its error (nil
// for an acknowledgement).
func eachMessage(b []byte, fn func(kind uint16, payload []byte) error) (done bool, err error) {
	for len(b) >= unix.SizeofNlMsghdr {
		length := int(binary.NativeEndian.Uint32(b))
		kind := binary.NativeEndian.Uint16(b[4:])
		if length < unix.SizeofNlMsghdr || length > len(b) {
			return false, errTruncated
		}
		payload := b[unix.SizeofNlMsghdr:length]
		switch kind {
		case unix.NLMSG_DONE:
			return true, nil
		case unix.NLMSG_ERROR:
			if len(payload) < 4 {
				return false, errTruncated
			}
			if e := int32(binary.NativeEndian.Uint32(payload)); e != 0 {
				return true, unix.Errno(-e)
			}
			return true, nil
		default:
			if err := fn(kind, payload); err != nil {
				return false, err
			}
		}
		b = b[min((length+3)&^3, len(b)):]
	}
	return false, nil
}

// abortSockets resets every TCP connection of the calling thread's namespace.
// Nothing holds a network namespace longer than a connection without a process: it
// goes on retransmitting its last bytes into links that are gone.
func abortSockets() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if err != nil {
		return fmt.Errorf("open sock_diag socket: %w", err)
	}
	defer unix.Close(fd)
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		var ids [][]byte
		err := diag(fd, sockDiagByFamily, unix.NLM_F_DUMP, diagRequest(family, nil), func(_ uint16, payload []byte) error {
			if len(payload) < sizeofInetDiagMsg {
				return errTruncated
			}
			ids = append(ids, append([]byte(nil), payload[offsetofSockID:offsetofSockID+sizeofSockID]...))
			return nil
		})
		if errors.Is(err, unix.ENOENT) {
			continue // a kernel without this family or without inet_diag
		}
		if err != nil {
			return fmt.Errorf("list TCP sockets: %w", err)
		}
		for _, id := range ids {
			err := diag(fd, sockDestroy, unix.NLM_F_ACK, diagRequest(family, id), nil)
			switch {
			case err == nil, errors.Is(err, unix.ENOENT): // ended by itself meanwhile
			case errors.Is(err, unix.EOPNOTSUPP):
				return nil // CONFIG_INET_DIAG_DESTROY is off: they end by themselves, later
			default:
				return fmt.Errorf("abort a TCP socket: %w", err)
			}
		}
	}
	return nil
}

// diagRequest is a struct inet_diag_req_v2 for the TCP sockets of a family: for
// one, or with no id for all that hold a namespace (a socket in TIME_WAIT does not).
func diagRequest(family byte, id []byte) []byte {
	req := make([]byte, sizeofInetDiagReq)
	req[0], req[1] = family, unix.IPPROTO_TCP
	const timeWait = 6
	binary.NativeEndian.PutUint32(req[4:], ^uint32(1<<timeWait))
	copy(req[8:], id)
	return req
}

// diag sends a request and reads its answers to the end.
func diag(fd int, kind, flags uint16, payload []byte, fn func(kind uint16, payload []byte) error) error {
	msg := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(payload))
	binary.NativeEndian.PutUint32(msg, uint32(cap(msg)))
	binary.NativeEndian.PutUint16(msg[4:], kind)
	binary.NativeEndian.PutUint16(msg[6:], unix.NLM_F_REQUEST|flags)
	msg = append(msg, payload...)
	if err := unix.Sendto(fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, diagBuffer)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		done, err := eachMessage(buf[:n], fn)
		if done || err != nil {
			return err
		}
	}
}

// diagBuffer holds one datagram of a dump: the kernel fills at most 32 KiB.
const diagBuffer = 64 << 10
