// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf/features"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// The main thread never ends (it is parked), and /proc/<pid> shows its namespaces and descriptors: no goroutine of a test
// that changes those of its thread may get it. Locked in init, it is the main goroutine's for good.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	if config := os.Getenv(victimEnv); config != "" {
		if err := runVictim(config); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// load attaches the programs to a cgroup of the test's own, into which this process moves,
// so that the machine's other connections are not counted.
func load(t testing.TB, o Options) *Sockops {
	t.Helper()
	require.NoError(t, supported(t))
	if o.CgroupPath == "" {
		o.CgroupPath = ownCgroup(t)
	}
	if o.MaxFlows == 0 {
		o.MaxFlows = 1024
	}
	if o.MaxSockets == 0 {
		o.MaxSockets = 1 << 20
	}
	s, err := Load(o)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s
}

func supported(t testing.TB) error {
	err := Supported()
	if err != nil && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	return err
}

func kernelOlderThan(t testing.TB, major, minor uint32) bool {
	t.Helper()
	v, err := features.LinuxVersionCode()
	require.NoError(t, err)
	return v < major<<16|minor<<8
}

// totals sums what harvests hand over, by role of the local end.
type totals map[uint8]*Flow

func (s totals) add(k *FlowKey, f *Flow, _ *Detail) {
	sum := s[k.Role]
	if sum == nil {
		sum = &Flow{}
		s[k.Role] = sum
	}
	sum.Sent += f.Sent
	sum.Received += f.Received
	sum.SegmentsSent += f.SegmentsSent
	sum.SegmentsReceived += f.SegmentsReceived
	sum.Attempted += f.Attempted
	sum.Opened += f.Opened
	sum.Active += f.Active
	sum.Retransmitting += f.Retransmitting
	sum.ListenDrops += f.ListenDrops
	sum.Rtt.Count += f.Rtt.Count
	sum.Connect.Count += f.Connect.Count
	sum.Open = f.Open // a level
	for i := range f.Retransmissions {
		sum.Retransmissions[i] += f.Retransmissions[i]
		sum.Timeouts[i] += f.Timeouts[i]
	}
	for i := range f.Failed {
		sum.Failed[i] += f.Failed[i]
		sum.Closed[i] += f.Closed[i]
	}
}

func (s totals) of(role uint8) *Flow {
	if f := s[role]; f != nil {
		return f
	}
	return &Flow{}
}

// settle harvests until the kernel holds no open connection.
func (s totals) settle(t testing.TB, p *Sockops) {
	t.Helper()
	require.Eventually(t, func() bool {
		open := uint64(0)
		require.NoError(t, p.Harvest(func(k *FlowKey, f *Flow, _ *Detail) {
			s.add(k, f, nil)
			for _, n := range f.Open {
				open += uint64(n)
			}
		}))
		return open == 0
	}, 10*time.Second, 10*time.Millisecond)
}

// exchange serves connections that read up to up bytes and then write down bytes; either end may close first.
func exchange(t testing.TB, network, listen, dial string, n, workers int) (up, down uint64) {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), network, listen)
	require.NoError(t, err)
	var serving, dialing sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { serve(c) })
		}
	})
	_, port, err := net.SplitHostPort(ln.Addr().String())
	require.NoError(t, err)

	var ups, downs atomic.Uint64
	for w := range workers {
		dialing.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(w)))
			for range n / workers {
				u, d := 1+random.IntN(20_000), random.IntN(20_000)
				if assert.NoError(t, transfer(net.JoinHostPort(dial, port), u, d)) {
					ups.Add(uint64(u + header))
					downs.Add(uint64(d))
				}
			}
		})
	}
	dialing.Wait()
	require.NoError(t, ln.Close())
	serving.Wait()
	return ups.Load(), downs.Load()
}

const header = 8 // big-endian sizes: up, down

func serve(c net.Conn) {
	defer c.Close()
	var h [header]byte
	if _, err := io.ReadFull(c, h[:]); err != nil {
		return
	}
	up := int64(h[0])<<24 | int64(h[1])<<16 | int64(h[2])<<8 | int64(h[3])
	down := int(h[4])<<24 | int(h[5])<<16 | int(h[6])<<8 | int(h[7])
	if _, err := io.CopyN(io.Discard, c, up); err != nil {
		return
	}
	c.Write(make([]byte, down))
	if up%2 == 0 { // the client closes first
		io.Copy(io.Discard, c)
	}
}

func transfer(address string, up, down int) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	h := [header]byte{byte(up >> 24), byte(up >> 16), byte(up >> 8), byte(up), byte(down >> 24), byte(down >> 16), byte(down >> 8), byte(down)}
	if _, err := c.Write(append(h[:], make([]byte, up)...)); err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, c, int64(down)); err != nil {
		return err
	}
	if up%2 == 0 {
		return c.(*net.TCPConn).CloseWrite()
	}
	_, err = io.Copy(io.Discard, c) // until the server's FIN
	return err
}

func TestBytesAndConnectionsAreExactWhileHarvestsNeverPause(t *testing.T) {
	for _, tt := range []struct {
		name, network, listen, dial string
		connections                 int
		options                     Options
	}{
		{"IPv4", "tcp4", "127.0.0.1:0", "127.0.0.1", 20_000, Options{}},
		{"IPv6", "tcp6", "[::1]:0", "::1", 2_000, Options{}},
		{"IPv4-mapped", "tcp", "[::]:0", "127.0.0.1", 2_000, Options{}},
		{"storages that end at the close", "tcp4", "127.0.0.1:0", "127.0.0.1", 2_000, Options{storageEndsAtClose: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if testing.Short() { // emulation takes minutes for all
				tt.connections /= 10
			}
			p := load(t, tt.options)
			sum := totals{}
			ctx, stop := context.WithCancel(t.Context())
			var harvesting sync.WaitGroup
			harvesting.Go(func() {
				for ctx.Err() == nil {
					if !assert.NoError(t, p.Harvest(sum.add)) {
						return
					}
				}
			})
			up, down := exchange(t, tt.network, tt.listen, tt.dial, tt.connections, 8)
			stop()
			harvesting.Wait()
			sum.settle(t, p)

			client, server, n := sum.of(RoleClient), sum.of(RoleServer), uint32(tt.connections)
			assert.Equal(t, up, client.Sent, "client sent")
			assert.Equal(t, up, server.Received, "server received")
			assert.Equal(t, down, server.Sent, "server sent")
			assert.Equal(t, down, client.Received, "client received")
			assert.Equal(t, client.SegmentsSent, server.SegmentsReceived)
			assert.Equal(t, n, client.Attempted)
			assert.Equal(t, n, client.Opened)
			assert.Equal(t, n, server.Opened)
			assert.EqualValues(t, n, client.Connect.Count)
			assert.Equal(t, [5]uint32{ClosedOrderly: n}, client.Closed)
			assert.Equal(t, [5]uint32{ClosedOrderly: n}, server.Closed)
			assert.NotContains(t, sum, uint8(RoleUnknown))
		})
	}
}

func TestMappedAddressIsIPv4(t *testing.T) {
	p := load(t, Options{})
	exchange(t, "tcp", "[::]:0", "127.0.0.1", 1, 1)
	var local []netip.Addr
	require.NoError(t, p.Harvest(func(k *FlowKey, _ *Flow, _ *Detail) { local = append(local, netip.AddrFrom16(k.Local).Unmap()) }))
	loopback := netip.MustParseAddr("127.0.0.1")
	assert.Equal(t, []netip.Addr{loopback, loopback}, local)
}

// pair opens one connection.
func pair(t testing.TB) (client, server *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := ln.Accept()
		assert.NoError(t, err)
		accepted <- c
	}()
	c, err := net.Dial("tcp4", ln.Addr().String())
	require.NoError(t, err)
	s := <-accepted
	t.Cleanup(func() { c.Close(); s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

func say(t testing.TB, from, to net.Conn, n int) {
	t.Helper()
	_, err := from.Write(make([]byte, n))
	require.NoError(t, err)
	_, err = io.ReadFull(to, make([]byte, n))
	require.NoError(t, err)
}

func TestOpenConnectionsAreAdoptedWithTheirRole(t *testing.T) {
	require.NoError(t, supported(t))
	group := ownCgroup(t)
	client, server := pair(t)
	say(t, client, server, 1000)

	p := load(t, Options{CgroupPath: group})
	st, err := p.Adopt(t.Context())
	require.NoError(t, err)
	assert.GreaterOrEqual(t, st.Adopted, 2)
	assert.GreaterOrEqual(t, st.Namespaces, 1)

	say(t, client, server, 70)
	say(t, server, client, 7)
	sum := totals{}
	require.NoError(t, p.Harvest(sum.add))
	assert.EqualValues(t, 70, sum.of(RoleClient).Sent)
	assert.EqualValues(t, 7, sum.of(RoleClient).Received)
	assert.EqualValues(t, 7, sum.of(RoleServer).Sent)
	assert.EqualValues(t, 1, sum.of(RoleServer).Open[PhaseEstablished])
	stats, err := p.Stats()
	require.NoError(t, err)
	if kernelOlderThan(t, 6, 12) { // an iterator may not set callback flags
		assert.GreaterOrEqual(t, stats.Traced, uint64(2))
		assert.Zero(t, sum.of(RoleClient).Rtt.Count)
	} else {
		assert.Zero(t, stats.Traced)
		assert.NotZero(t, sum.of(RoleClient).Rtt.Count)
	}

	say(t, client, server, 3)
	client.Close()
	server.Close()
	sum.settle(t, p)
	assert.EqualValues(t, 73, sum.of(RoleClient).Sent)
	assert.EqualValues(t, 73, sum.of(RoleServer).Received)
	assert.EqualValues(t, 1, sum.of(RoleClient).Closed[ClosedOrderly])
	assert.EqualValues(t, 1, sum.of(RoleServer).Closed[ClosedOrderly])
	assert.Zero(t, sum.of(RoleClient).Attempted)
	assert.Zero(t, sum.of(RoleClient).Opened)
}

func TestHowConnectionsEnd(t *testing.T) {
	for _, tt := range []struct {
		name           string
		end            func(client, server *net.TCPConn)
		client, server int
	}{
		{"both close", func(c, s *net.TCPConn) { c.Close(); s.Close() }, ClosedOrderly, ClosedOrderly},
		{"the client resets", func(c, s *net.TCPConn) { c.SetLinger(0); c.Close() }, ClosedAborted, ClosedReset},
		{"the server resets", func(c, s *net.TCPConn) { s.SetLinger(0); s.Close() }, ClosedReset, ClosedAborted},
		{"the server leaves data unread", func(c, s *net.TCPConn) {
			c.Write([]byte("unread"))
			waitReadable(s)
			s.Close()
		}, ClosedReset, ClosedAborted},
		{"the client resets after the server's FIN", func(c, s *net.TCPConn) {
			s.CloseWrite()
			io.Copy(io.Discard, c)
			c.SetLinger(0)
			c.Close()
		}, ClosedAborted, ClosedReset},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := load(t, Options{})
			client, server := pair(t)
			say(t, client, server, 10)
			tt.end(client, server)
			sum := totals{}
			sum.settle(t, p)
			assert.EqualValues(t, 1, sum.of(RoleClient).Closed[tt.client], "client %v", sum.of(RoleClient).Closed)
			assert.EqualValues(t, 1, sum.of(RoleServer).Closed[tt.server], "server %v", sum.of(RoleServer).Closed)
		})
	}
}

func waitReadable(c *net.TCPConn) {
	raw, _ := c.SyscallConn()
	raw.Read(func(fd uintptr) bool {
		n, _, _ := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return n > 0
	})
}

func TestHowConnectionsFail(t *testing.T) {
	p := load(t, Options{})
	sum := totals{}

	closed, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	address := closed.Addr().String()
	closed.Close()
	_, err = net.Dial("tcp4", address)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	sum.settle(t, p)
	assert.Equal(t, [5]uint32{FailedRefused: 1}, sum.of(RoleClient).Failed)
	assert.EqualValues(t, 1, sum.of(RoleClient).Attempted)
	assert.Zero(t, sum.of(RoleClient).Opened)

	full := fullListener(t)
	sum = totals{}
	fd := dialFull(t, full, 1) // one retransmission of the SYN, then the kernel gives up: 3 s
	require.Eventually(t, func() bool {
		e, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		return err == nil && syscall.Errno(e) == syscall.ETIMEDOUT
	}, 20*time.Second, 50*time.Millisecond)
	sum = totals{}
	require.NoError(t, p.Harvest(sum.add))
	got := sum.of(RoleClient)
	assert.EqualValues(t, 1, got.Failed[FailedTimedOut], "%v", got.Failed)
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	require.NoError(t, err)
	assert.NotZero(t, info.Total_retrans)
	assert.EqualValues(t, info.Total_retrans, got.Retransmissions[PhaseConnect])
	timeouts := uint64(info.Total_rto)
	if kernelOlderThan(t, 6, 7) { // it does not count them there: one expired before each SYN that was sent again
		timeouts = uint64(info.Total_retrans)
	}
	assert.Equal(t, timeouts, got.Timeouts[PhaseConnect])
	assert.Zero(t, got.Sent)

	fd = dialFull(t, full, 6)
	unix.Close(fd)
	sum = totals{}
	require.NoError(t, p.Harvest(sum.add))
	assert.EqualValues(t, 1, sum.of(RoleClient).Failed[FailedAborted], "%v", sum.of(RoleClient).Failed)
}

// fullListener gives the address of a listener whose queue is full: it drops SYNs.
func fullListener(t testing.TB) *unix.SockaddrInet4 {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, unix.Listen(fd, 0))
	sa, err := unix.Getsockname(fd)
	require.NoError(t, err)
	a := sa.(*unix.SockaddrInet4)
	c := dialFull(t, a, 6) // the one that fits
	require.Eventually(t, func() bool {
		_, err := unix.Getpeername(c)
		return err == nil
	}, time.Second, time.Millisecond)
	return a
}

func dialFull(t testing.TB, a *unix.SockaddrInet4, syns int) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	require.NoError(t, unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_SYNCNT, syns))
	require.ErrorIs(t, unix.Connect(fd, a), unix.EINPROGRESS)
	return fd
}

func TestDropsOfAFullListenerAreCounted(t *testing.T) {
	p := load(t, Options{})
	full := fullListener(t)
	dialFull(t, full, 6)
	dialFull(t, full, 6)
	var drops uint64
	require.Eventually(t, func() bool {
		require.NoError(t, p.Harvest(func(k *FlowKey, f *Flow, _ *Detail) {
			if k.Role == RoleListener {
				assert.EqualValues(t, full.Port, k.LocalPort)
				drops += uint64(f.ListenDrops)
			}
		}))
		return drops >= 2
	}, 5*time.Second, 50*time.Millisecond)
}

func TestFlowsPastTheLimitAreCountedInTheOverflowFlow(t *testing.T) {
	p := load(t, Options{MaxFlows: 4})
	var up, down uint64
	for range 10 { // ten servers: twenty flows
		u, d := exchange(t, "tcp4", "127.0.0.1:0", "127.0.0.1", 1, 1)
		up, down = up+u, down+d
	}
	sum, flows, overflow := totals{}, 0, 0
	require.NoError(t, p.Harvest(func(k *FlowKey, f *Flow, _ *Detail) {
		sum.add(k, f, nil)
		if k.Kind == KindOverflowIPv4 {
			overflow++
		} else {
			flows++
		}
	}))
	assert.Equal(t, 4, flows)
	assert.Equal(t, 2, overflow, "one per role")
	assert.Equal(t, up, sum.of(RoleClient).Sent)
	assert.Equal(t, down, sum.of(RoleClient).Received)
	st, err := p.Stats()
	require.NoError(t, err)
	assert.GreaterOrEqual(t, st.Overflowed, uint64(16))
}

func TestSocketsOutsideTheCgroupAreNotSeen(t *testing.T) {
	require.NoError(t, supported(t))
	group := ownCgroup(t)
	client, server := pair(t)
	p := load(t, Options{CgroupPath: emptyCgroup(t, group)})
	_, err := p.Adopt(t.Context())
	require.NoError(t, err)
	say(t, client, server, 10)
	exchange(t, "tcp4", "127.0.0.1:0", "127.0.0.1", 1, 1)
	require.NoError(t, p.Harvest(func(k *FlowKey, f *Flow, _ *Detail) { t.Errorf("unexpected flow %v", k) }))
}

func TestCloseTwiceAndSocketsLiveOn(t *testing.T) {
	client, server := pair(t)
	p := load(t, Options{})
	_, err := p.Adopt(t.Context())
	require.NoError(t, err)
	say(t, client, server, 10)
	require.NoError(t, p.Close())
	require.NoError(t, p.Close())
	say(t, server, client, 10)
}
