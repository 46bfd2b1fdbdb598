// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// ends are the descriptors of a connection over the loopback interface, and of its listener.
type ends struct{ listener, client, server int }

// connection makes one by system calls alone: the runtime's poller is of another
// descriptor table where a thread has its own.
func connection(backlog int) (e ends, err error) {
	e = ends{-1, -1, -1}
	if e.listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return e, err
	}
	loopback := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}} // the kernel picks an ephemeral port
	if err = errors.Join(unix.Bind(e.listener, loopback), unix.Listen(e.listener, backlog)); err != nil {
		return e, err
	}
	address, err := unix.Getsockname(e.listener)
	if err != nil {
		return e, err
	}
	if e.client, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return e, err
	}
	if err = unix.Connect(e.client, address); err != nil {
		return e, err
	}
	e.server, _, err = unix.Accept4(e.listener, unix.SOCK_CLOEXEC)
	return e, err
}

func (e ends) close() {
	for _, fd := range []int{e.client, e.server, e.listener} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// send gives the peer n bytes, and waits until it has them.
func (e ends) send(n int) error {
	if _, err := unix.Write(e.client, make([]byte, n)); err != nil {
		return err
	}
	_, _, err := unix.Recvfrom(e.server, make([]byte, n), unix.MSG_WAITALL)
	return err
}

func TestAnAdoptedServerIsToldByItsListener(t *testing.T) {
	require.NoError(t, supported(t))
	group := ownCgroup(t)
	e, err := connection(0) // as clients have it
	require.NoError(t, err)
	p := load(t, Options{CgroupPath: group})
	_, err = p.Adopt(t.Context())
	require.NoError(t, err)
	require.NoError(t, e.send(70))
	e.close()
	sum := totals{}
	sum.settle(t, p)
	assert.EqualValues(t, 70, sum.of(RoleClient).Sent)
	assert.EqualValues(t, 70, sum.of(RoleServer).Received)
	assert.NotContains(t, sum, uint8(RoleUnknown))
	var key sockopsListener
	var value uint8
	assert.False(t, p.objects.Listeners.Iterate().Next(&key, &value), "they are needed for the adoption only")
}

// Peers of one another (libp2p, BitTorrent) connect from the port that they listen on.
func TestAnAdoptedClientMayHaveThePortOfAListener(t *testing.T) {
	require.NoError(t, supported(t))
	group := ownCgroup(t)
	bound := func(port int) int {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		t.Cleanup(func() { unix.Close(fd) })
		require.NoError(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
		require.NoError(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
		require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port}))
		return fd
	}
	const here, there = 7101, 7102 // below the ephemeral range
	mine, listener, client := bound(here), bound(there), bound(here)
	require.NoError(t, unix.Listen(mine, 5))
	require.NoError(t, unix.Listen(listener, 5))
	require.NoError(t, unix.Connect(client, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: there}))
	server, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	require.NoError(t, err)

	p := load(t, Options{CgroupPath: group})
	_, err = p.Adopt(t.Context())
	require.NoError(t, err)
	e := ends{listener, client, server}
	require.NoError(t, e.send(123))
	unix.Close(server)
	sum := totals{}
	require.NoError(t, p.Harvest(sum.add))
	assert.EqualValues(t, 123, sum.of(RoleClient).Sent)
	assert.EqualValues(t, 123, sum.of(RoleServer).Received)
	assert.NotContains(t, sum, uint8(RoleUnknown))
}

func TestSocketsOfAThreadWithDescriptorsOfItsOwnAreAdopted(t *testing.T) {
	require.NoError(t, supported(t))
	group := ownCgroup(t)
	open, adopted, done := make(chan error), make(chan struct{}), make(chan error)
	go func() {
		runtime.LockOSThread() // and never back: the thread ends with the goroutine
		err := errors.Join(unix.Unshare(unix.CLONE_NEWNET), upLoopback(), unix.Unshare(unix.CLONE_FILES))
		var e ends
		if err == nil {
			e, err = connection(5)
			defer e.close()
		}
		open <- err
		<-adopted
		if err == nil {
			err = e.send(70)
		}
		done <- err
	}()
	require.NoError(t, <-open)
	p := load(t, Options{CgroupPath: group})
	_, err := p.Adopt(t.Context())
	close(adopted)
	require.NoError(t, <-done)
	require.NoError(t, err)
	sum := totals{}
	sum.settle(t, p)
	assert.EqualValues(t, 70, sum.of(RoleClient).Sent)
	assert.EqualValues(t, 70, sum.of(RoleServer).Received)
}
