// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// loopback makes a socket bound to a loopback port.
func loopback(t testing.TB) (int, *unix.SockaddrInet4) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	sa, err := unix.Getsockname(fd)
	require.NoError(t, err)
	return fd, sa.(*unix.SockaddrInet4)
}

func TestASocketThatConnectsToItselfIsAClient(t *testing.T) {
	p := load(t, Options{})
	fd, self := loopback(t)
	require.NoError(t, unix.Connect(fd, self)) // a simultaneous open
	_, err := unix.Write(fd, make([]byte, 77))
	require.NoError(t, err)
	n, err := unix.Read(fd, make([]byte, 100))
	require.NoError(t, err)
	assert.Equal(t, 77, n)
	require.NoError(t, unix.Close(fd))
	sum := totals{}
	require.NoError(t, p.Harvest(sum.add))
	got := sum.of(RoleClient)
	assert.EqualValues(t, 1, got.Attempted)
	assert.EqualValues(t, 1, got.Opened)
	assert.EqualValues(t, 77, got.Sent)
	assert.EqualValues(t, 77, got.Received)
	assert.NotContains(t, sum, uint8(RoleServer))
}

func TestASocketUsedAgainIsAConnectionOfItsOwn(t *testing.T) {
	p := load(t, Options{})
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(io.Discard, c)
			}()
		}
	}()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	to := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: ln.Addr().(*net.TCPAddr).Port}
	for range 2 {
		require.NoError(t, unix.Connect(fd, to))
		_, err = unix.Write(fd, make([]byte, 50))
		require.NoError(t, err)
		require.Eventually(t, func() bool { // acknowledged
			info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
			return err == nil && info.Unacked == 0
		}, time.Second, time.Millisecond)
		disconnect := unix.RawSockaddrInet4{Family: unix.AF_UNSPEC}
		require.NoError(t, rawConnect(fd, &disconnect))
	}
	require.NoError(t, unix.Close(fd))
	sum := totals{}
	require.NoError(t, p.Harvest(sum.add))
	got := sum.of(RoleClient)
	assert.EqualValues(t, 2, got.Attempted)
	assert.EqualValues(t, 2, got.Opened)
	assert.EqualValues(t, 2, got.Active)
	assert.EqualValues(t, 100, got.Sent)
	assert.EqualValues(t, 2, got.Closed[ClosedAborted])
}

func TestDropsAreNotCountedAgainWhenAListenerListensAgain(t *testing.T) {
	p := load(t, Options{})
	fd, a := loopback(t)
	defer unix.Close(fd)
	require.NoError(t, unix.Listen(fd, 0))
	first := dialFull(t, a, 6)
	require.Eventually(t, func() bool {
		_, err := unix.Getpeername(first)
		return err == nil
	}, time.Second, time.Millisecond)
	dialFull(t, a, 6)
	var drops uint64
	count := func(k *FlowKey, f *Flow, _ *Detail) { drops += uint64(f.ListenDrops) }
	require.Eventually(t, func() bool {
		require.NoError(t, p.Harvest(count))
		return drops > 0
	}, 5*time.Second, 50*time.Millisecond)
	require.NoError(t, unix.Shutdown(fd, unix.SHUT_RDWR)) // ends listening, with the queue
	require.NoError(t, p.Harvest(count))
	before := drops
	require.NoError(t, unix.Listen(fd, 100))
	require.NoError(t, p.Harvest(count))
	assert.Equal(t, before, drops)
}

func TestDataForAnEndThatHasClosedIsAnRSTOfOurOwn(t *testing.T) {
	p := load(t, Options{})
	client, server := pair(t)
	// The server's window is full: the client's FIN waits, so that it stays in FIN_WAIT1.
	require.NoError(t, server.SetReadBuffer(4096))
	for n := 1; n > 0; { // on a slow machine one deadline passes while there still is room
		client.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		n, _ = client.Write(make([]byte, 16<<20))
	}
	client.Close()
	_, err := server.Write(make([]byte, 10))
	require.NoError(t, err)
	sum := totals{}
	require.Eventually(t, func() bool {
		require.NoError(t, p.Harvest(sum.add))
		return sum.of(RoleClient).Closed != [5]uint32{}
	}, 5*time.Second, 10*time.Millisecond)
	assert.Equal(t, [5]uint32{ClosedAborted: 1}, sum.of(RoleClient).Closed)
	server.Close()
	sum.settle(t, p)
	assert.Equal(t, [5]uint32{ClosedReset: 1}, sum.of(RoleServer).Closed)
}
