// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestClosingOneReceiverLeavesAnotherItsCallbacks(t *testing.T) {
	require.NoError(t, supported(t))
	group := ownCgroup(t)
	one, err := Load(Options{CgroupPath: group, MaxFlows: 16, MaxSockets: 1024})
	require.NoError(t, err)
	defer one.Close()
	other := load(t, Options{CgroupPath: group})
	client, server := pair(t)
	require.NoError(t, one.Close())
	say(t, client, server, 1000)
	client.Close()
	server.Close()
	sum := totals{}
	sum.settle(t, other)
	assert.EqualValues(t, 1000, sum.of(RoleClient).Sent)
	assert.EqualValues(t, 1000, sum.of(RoleServer).Received)
	assert.EqualValues(t, 1, sum.of(RoleClient).Closed[ClosedOrderly])
	assert.EqualValues(t, 1, sum.of(RoleServer).Closed[ClosedOrderly])
	assert.NotZero(t, sum.of(RoleClient).Rtt.Count)
}

// assigner is a sockops program that assigns callback flags where it should add them.
func assigner(t testing.TB, group string) {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "assigner", Type: ebpf.SockOps, License: "GPL",
		Instructions: asm.Instructions{
			asm.Mov.Reg(asm.R6, asm.R1),
			asm.LoadMem(asm.R2, asm.R6, 0, asm.Word), // op
			asm.JEq.Imm(asm.R2, 4, "established"),    // ACTIVE_ESTABLISHED_CB
			asm.JEq.Imm(asm.R2, 5, "established"),    // PASSIVE_ESTABLISHED_CB
			asm.Ja.Label("exit"),
			asm.Mov.Reg(asm.R1, asm.R6).WithSymbol("established"),
			asm.Mov.Imm(asm.R2, 1<<3), // RTT_CB_FLAG, and nothing else
			asm.FnSockOpsCbFlagsSet.Call(),
			asm.Mov.Imm(asm.R0, 1).WithSymbol("exit"),
			asm.Return(),
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { p.Close() })
	l, err := link.AttachCgroup(link.CgroupOptions{Path: group, Attach: ebpf.AttachCGroupSockOps, Program: p})
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
}

func TestSocketsWhoseFlagsAnotherProgramTookAreFoldedAllTheSame(t *testing.T) {
	require.NoError(t, supported(t))
	group := ownCgroup(t)
	p := load(t, Options{CgroupPath: group})
	assigner(t, group)
	client, server := pair(t)
	say(t, client, server, 100)
	sum := totals{}
	require.NoError(t, p.Harvest(sum.add)) // which sees that they have no state callback
	say(t, client, server, 11)
	client.Close()
	server.Close()
	sum.settle(t, p)
	assert.EqualValues(t, 111, sum.of(RoleClient).Sent)
	assert.EqualValues(t, 111, sum.of(RoleServer).Received)
	assert.EqualValues(t, 1, sum.of(RoleClient).Attempted)
	assert.EqualValues(t, 1, sum.of(RoleClient).Closed[ClosedOrderly], "%v", sum.of(RoleClient))
	assert.EqualValues(t, 1, sum.of(RoleServer).Closed[ClosedOrderly])
	st, err := p.Stats()
	require.NoError(t, err)
	assert.NotZero(t, st.Traced)
}

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
	client.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	client.Write(make([]byte, 16<<20))
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
