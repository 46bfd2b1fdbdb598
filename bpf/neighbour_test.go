// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"fmt"
	"path/filepath"
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

// alone says that no program is attached above the cgroup of a test: another flow monitor
// there, of a test beside this one, would give back the callbacks that are taken.
func alone(t testing.TB, group string) bool {
	t.Helper()
	above, err := programsOf(filepath.Dir(group))
	require.NoError(t, err)
	if above > 0 {
		t.Logf("%d programs above", above)
	}
	return above == 0
}

// assigner is a sockops program that assigns callback flags, when a connection is
// established, where it should add them.
func assigner(t testing.TB, group string) {
	t.Helper()
	assigns(t, group, asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, 0, asm.Word), // op
		asm.JEq.Imm(asm.R2, 4, "assign"),         // ACTIVE_ESTABLISHED_CB
		asm.JEq.Imm(asm.R2, 5, "assign"),         // PASSIVE_ESTABLISHED_CB
		asm.Ja.Label("exit"),
	})
}

// taker does so whenever it is called.
func taker(t testing.TB, group string) {
	t.Helper()
	assigns(t, group, asm.Instructions{asm.Ja.Label("assign")})
}

func assigns(t testing.TB, group string, when asm.Instructions) {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "assigner", Type: ebpf.SockOps, License: "GPL",
		Instructions: append(when,
			asm.Mov.Imm(asm.R2, 1<<3).WithSymbol("assign"), // RTT_CB_FLAG, and nothing else
			asm.FnSockOpsCbFlagsSet.Call(),
			asm.Mov.Imm(asm.R0, 1).WithSymbol("exit"),
			asm.Return(),
		),
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
	assert.True(t, st.Traced > 0 || !alone(t, group))
}

func TestConnectionsShorterThanARoundAreCountedBesideAProgramThatTakesFlags(t *testing.T) {
	require.NoError(t, supported(t))
	group := ownCgroup(t)
	p := load(t, Options{CgroupPath: group})
	assigner(t, group)                          // what comes later is called later
	require.NoError(t, p.Harvest(totals{}.add)) // and noticed
	countsShortConnections(t, p)
	st, err := p.Stats()
	require.NoError(t, err)
	assert.True(t, st.Traced > 0 || !alone(t, group))
}

// Below, a program is called before ours, which takes back what it took.
func TestAProgramBelowThatTakesFlagsTakesNothing(t *testing.T) {
	require.NoError(t, supported(t))
	for name, take := range map[string]func(testing.TB, string){"when connections are established": assigner, "whenever it is called": taker} {
		for _, before := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, attached before: %v", name, before), func(t *testing.T) {
				group := ownCgroup(t)
				below := emptyCgroup(t, group)
				enter(t, below, group)
				if before {
					take(t, below)
				}
				p := load(t, Options{CgroupPath: group})
				if !before {
					take(t, below)
				}
				if p.tracing != nil { // because of a program above that is not of this test
					require.NoError(t, p.tracing.Close())
					p.tracing = nil
				}
				countsShortConnections(t, p)
			})
		}
	}
}

// A program that comes to the same cgroup is called after ours, and noticed at the next harvest.
func TestSocketsWhoseEndNobodyToldAreCountedAndTakeNoRoom(t *testing.T) {
	require.NoError(t, supported(t))
	group := ownCgroup(t)
	p := load(t, Options{CgroupPath: group})
	if p.tracing != nil {
		require.NoError(t, p.tracing.Close())
		p.tracing = nil
	}
	taker(t, group)
	const n = 20
	exchange(t, "tcp4", "127.0.0.1:0", "127.0.0.1", n, 2)
	st, err := p.Stats()
	require.NoError(t, err)
	gone := st.Sockets
	if !alone(t, group) {
		return
	}
	require.GreaterOrEqual(t, gone, uint64(2*n), "nobody told of their end")

	require.NoError(t, p.Harvest(totals{}.add))
	countsShortConnections(t, p)
	for range 3 {
		require.NoError(t, p.Harvest(totals{}.add))
	}
	st, err = p.Stats()
	require.NoError(t, err)
	assert.Zero(t, st.Sockets)
	assert.Equal(t, gone, st.Lost)
}

func countsShortConnections(t *testing.T, p *Sockops) {
	t.Helper()
	const n = 20
	up, down := exchange(t, "tcp4", "127.0.0.1:0", "127.0.0.1", n, 2)
	sum := totals{}
	sum.settle(t, p)
	for role, sent := range map[uint8]uint64{RoleClient: up, RoleServer: down} {
		assert.Equal(t, sent, sum.of(role).Sent)
		assert.EqualValues(t, n, sum.of(role).Opened)
		assert.EqualValues(t, n, sum.of(role).Closed[ClosedOrderly])
	}
}

// tuner is a sockops program that answers one question of the kernel's: the initial
// timeout of a SYN.
func tuner(t testing.TB, group string, jiffies int32) {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "tuner", Type: ebpf.SockOps, License: "GPL",
		Instructions: asm.Instructions{
			asm.LoadMem(asm.R2, asm.R1, 0, asm.Word), // op
			asm.JNE.Imm(asm.R2, 1, "exit"),           // TIMEOUT_INIT
			asm.Mov.Imm(asm.R3, jiffies),
			asm.StoreMem(asm.R1, 4, asm.R3, asm.Word), // reply
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

// initialRTO is the timeout of a SYN that nobody answers.
func initialRTO(t testing.TB) time.Duration {
	t.Helper()
	full, address := loopback(t)
	defer unix.Close(full)
	require.NoError(t, unix.Listen(full, 0))
	var fds []int
	for range 4 { // the queue takes the first ones; SYNs after them are dropped
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		require.NoError(t, err)
		defer unix.Close(fd)
		require.ErrorIs(t, unix.Connect(fd, address), unix.EINPROGRESS)
		fds = append(fds, fd)
	}
	info, err := unix.GetsockoptTCPInfo(fds[len(fds)-1], unix.IPPROTO_TCP, unix.TCP_INFO)
	require.NoError(t, err)
	require.EqualValues(t, 2, info.State, "SYN_SENT")
	return time.Duration(info.Rto) * time.Microsecond
}

func TestTheAnswersOfOtherProgramsStand(t *testing.T) {
	require.NoError(t, supported(t))
	before := initialRTO(t)
	require.Equal(t, time.Second, before, "RFC 6298")
	t.Run("of one on the same cgroup, attached before", func(t *testing.T) {
		group := ownCgroup(t)
		tuner(t, group, 77)
		tuned := initialRTO(t)
		require.NotEqual(t, before, tuned)
		load(t, Options{CgroupPath: group})
		assert.Equal(t, tuned, initialRTO(t))
	})
	t.Run("of one on the same cgroup, attached after", func(t *testing.T) {
		group := ownCgroup(t)
		load(t, Options{CgroupPath: group})
		require.Equal(t, before, initialRTO(t))
		tuner(t, group, 77)
		assert.NotEqual(t, before, initialRTO(t))
	})
	t.Run("of one on a cgroup below", func(t *testing.T) {
		group := ownCgroup(t)
		p := load(t, Options{CgroupPath: group})
		below := emptyCgroup(t, group)
		enter(t, below, group)
		tuner(t, below, 77)
		exchange(t, "tcp4", "127.0.0.1:0", "127.0.0.1", 10, 10)
		sum := totals{}
		sum.settle(t, p)
		assert.NotZero(t, sum.of(RoleClient).Opened, "ours is called all the same")
		assert.NotEqual(t, before, initialRTO(t))
	})
}

func TestSocketsPastTheLimitWorkAndAreCountedAsRefused(t *testing.T) {
	p := load(t, Options{MaxSockets: 10})
	client, server := pair(t) // with the listener three
	var sum uint64
	for range 20 {
		c, s := pair(t)
		u := 100
		say(t, c, s, u)
		sum += uint64(u)
		defer c.Close()
		defer s.Close()
	}
	say(t, client, server, 7)
	st, err := p.Stats()
	require.NoError(t, err)
	assert.LessOrEqual(t, st.Sockets, uint64(10))
	assert.GreaterOrEqual(t, st.Sockets+st.Refused, uint64(42), "both ends of 21 connections")
	client.Close()
	server.Close()
	require.Eventually(t, func() bool {
		st, err = p.Stats()
		return err == nil && st.Sockets <= 8
	}, 5*time.Second, 10*time.Millisecond)
	// There is room again.
	refused := st.Refused
	u, _ := exchange(t, "tcp4", "127.0.0.1:0", "127.0.0.1", 1, 1)
	counted := totals{}
	require.NoError(t, p.Harvest(counted.add))
	assert.GreaterOrEqual(t, counted.of(RoleClient).Sent, u)
	assert.Less(t, counted.of(RoleClient).Sent, sum+u)
	st, err = p.Stats()
	require.NoError(t, err)
	assert.LessOrEqual(t, st.Refused, refused+1)
}
