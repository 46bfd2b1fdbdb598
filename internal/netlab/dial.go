// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// dial opens a connection by hand: Go's own would make an IPv4 socket for an
// IPv4-mapped address. On failure the record has what is known of the socket.
func dial(target netip.AddrPort, config *ClientConfig) (*net.TCPConn, ConnReport, error) {
	rec := ConnReport{Remote: target}
	fail := func(err error) (*net.TCPConn, ConnReport, error) {
		return nil, rec, &opError{"connect", err}
	}
	fd, err := socket(target.Addr(), unix.SOCK_NONBLOCK, config.ReceiveBuffer, protocol(config.Multipath))
	if err != nil {
		return fail(err)
	}
	if config.FastOpen {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1); err != nil {
			unix.Close(fd)
			return fail(err)
		}
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
		if config.Timeout > 0 {
			if err := file.SetWriteDeadline(time.Now().Add(config.Timeout)); err != nil {
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

func protocol(multipath bool) int {
	if multipath {
		return unix.IPPROTO_MPTCP
	}
	return unix.IPPROTO_TCP
}

// socket opens a TCP socket of the family of addr.
func socket(addr netip.Addr, flags, receiveBuffer, protocol int) (int, error) {
	family := unix.AF_INET6
	if addr.Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|flags, protocol)
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
