// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// udpSocket opens a UDP socket in a node, with room for all that a test sends.
func udpSocket(t testing.TB, n *Node) *net.UDPConn {
	t.Helper()
	var conn *net.UDPConn
	require.NoError(t, n.Do(func() (err error) {
		conn, err = net.ListenUDP("udp", nil)
		if err != nil {
			return err
		}
		raw, err := conn.SyscallConn()
		if err != nil {
			return err
		}
		return errors.Join(raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
		}), err)
	}))
	t.Cleanup(func() { conn.Close() })
	return conn
}

func localPort(c *net.UDPConn) uint16 {
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// arrival is a numbered datagram that came through.
type arrival struct {
	number uint32
	took   time.Duration
}

// flood sends n numbered datagrams, one every pause, from one node to an address
// of another, and returns what arrived until count of them did. Times are of one
// clock: both ends are on this machine.
func flood(t testing.TB, from, to *Node, addr netip.Addr, n, count int, pause time.Duration) []arrival {
	t.Helper()
	rx, tx := udpSocket(t, to), udpSocket(t, from)
	dst := netip.AddrPortFrom(addr, localPort(rx))
	began := time.Now()
	go func() {
		var b [12]byte
		for i := range n {
			if pause > 0 {
				time.Sleep(time.Until(began.Add(time.Duration(i) * pause)))
			}
			binary.BigEndian.PutUint32(b[:], uint32(i))
			binary.BigEndian.PutUint64(b[4:], uint64(time.Since(began)))
			_, _ = tx.WriteToUDPAddrPort(b[:], dst)
		}
	}()
	return receiveAll(t, rx, began, count)
}

func receiveAll(t testing.TB, rx *net.UDPConn, began time.Time, count int) []arrival {
	t.Helper()
	require.NoError(t, rx.SetReadDeadline(time.Now().Add(timeout)))
	var all []arrival
	var b [64]byte
	for len(all) < count {
		k, err := rx.Read(b[:])
		require.NoError(t, err, "%d of %d datagrams arrived", len(all), count)
		require.Equal(t, 12, k)
		sent := time.Duration(binary.BigEndian.Uint64(b[4:]))
		all = append(all, arrival{binary.BigEndian.Uint32(b[:]), time.Since(began) - sent})
	}
	return all
}

func receiveTTL(fd int) error {
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVTTL, 1)
}

// readTTL reads one IPv4 datagram and returns the TTL that it came with.
func readTTL(c *net.UDPConn) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return 0, err
	}
	var b, oob [64]byte
	_, n, _, _, err := c.ReadMsgUDPAddrPort(b[:], oob[:])
	if err != nil {
		return 0, err
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return 0, err
	}
	for _, m := range msgs {
		if m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_TTL {
			return int(binary.NativeEndian.Uint32(m.Data)), nil
		}
	}
	return 0, errors.New("no TTL")
}
