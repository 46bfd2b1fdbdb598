// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// interfaces is a netlink socket that tells the addresses of the interfaces of one
// namespace. It is kept open, for pods get their addresses after their namespace is there,
// and to enter one again costs more than to ask.
type interfaces struct {
	fd       int
	sequence uint32
}

// listInterfaces opens a socket in the namespace of the calling thread.
func listInterfaces() (*interfaces, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a route netlink socket: %w", err)
	}
	return &interfaces{fd: fd}, nil
}

func (i *interfaces) close() { _ = unix.Close(i.fd) }

// dumpBuffer is as large as the kernel makes the datagrams of a dump at most.
const dumpBuffer = 32 << 10

var errDump = errors.New("not what the kernel writes")

// addresses appends those that there are, IPv4 as mapped ones. The kernel answers while it
// is asked: nothing waits. With an error they are not all.
func (i *interfaces) addresses(into [][16]byte, buffer []byte) ([][16]byte, error) {
	i.sequence++
	ask := request(unix.RTM_GETADDR, unix.NLM_F_DUMP, i.sequence, make([]byte, unix.SizeofIfAddrmsg)...) // AF_UNSPEC
	if err := (socket{i.fd}).send(ask); err != nil {
		return into, err
	}
	for {
		n, from, err := unix.Recvfrom(i.fd, buffer, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return into, err
		}
		if kernel, ok := from.(*unix.SockaddrNetlink); !ok || kernel.Pid != 0 {
			continue // who has CAP_NET_ADMIN in the namespace may write here
		}
		var done bool
		if into, done, err = decodeAddressDump(buffer[:n], i.sequence, into); done || err != nil {
			return into, err
		}
	}
}

// decodeAddressDump reads a datagram of a dump. done is true at its end.
func decodeAddressDump(b []byte, sequence uint32, into [][16]byte) (_ [][16]byte, done bool, err error) {
	for len(b) > 0 {
		h, payload, rest, ok := message(b)
		if !ok {
			return into, false, errDump
		}
		b = rest
		if h.sequence != sequence {
			continue // of an earlier one that was given up
		}
		switch h.kind {
		case unix.RTM_NEWADDR:
			address, usable, err := decodeInterfaceAddress(payload)
			if err != nil {
				return into, false, err
			}
			if usable {
				into = append(into, address)
			}
		case unix.NLMSG_DONE:
			return into, true, nil
		case unix.NLMSG_ERROR:
			return into, false, fmt.Errorf("list the addresses of interfaces: %w", errno(payload))
		}
	}
	return into, false, nil
}

// decodeInterfaceAddress reads struct ifaddrmsg and its attributes. Link-local addresses
// of IPv6 are not usable: any machine may have the same.
func decodeInterfaceAddress(b []byte) (address [16]byte, usable bool, err error) {
	if len(b) < unix.SizeofIfAddrmsg {
		return address, false, errDump
	}
	family := b[0]
	if family != unix.AF_INET && family != unix.AF_INET6 {
		return address, false, nil
	}
	local := false
	rest := b[unix.SizeofIfAddrmsg:]
	for {
		kind, value, next, ok := attribute(rest)
		if !ok {
			break
		}
		rest = next
		// Of a link with two ends IFA_ADDRESS is the other one's; then there is IFA_LOCAL.
		if kind != unix.IFA_LOCAL && (kind != unix.IFA_ADDRESS || local) {
			continue
		}
		if !setAddress(&address, value, family == unix.AF_INET) {
			return address, false, errDump
		}
		local = local || kind == unix.IFA_LOCAL
		usable = true
	}
	if len(rest) != 0 {
		return address, false, errDump
	}
	linkLocal := family == unix.AF_INET6 && address[0] == 0xfe && address[1]&0xc0 == 0x80
	return address, usable && !linkLocal, nil
}
