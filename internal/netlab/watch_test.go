// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"context"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestKernelAnnouncementsAgreeWithSSAndTheApplications(t *testing.T) {
	a, _, b := pair(t)
	ctx := testContext(t)
	server := serverOn(t, b)
	in, err := a.Link().Fault(Loss{Rate: 0.03}, Both)
	require.NoError(t, err)
	type oracle struct{ own, ss *DestroyWatch }
	oracles := map[*Node]oracle{}
	for _, n := range []*Node{a, b} {
		own, err := n.WatchDestroyed(ctx)
		require.NoError(t, err)
		ss, err := n.WatchDestroyedBySS(ctx)
		require.NoError(t, err)
		oracles[n] = oracle{own, ss}
	}
	const each = 40
	written := map[uint64]ConnReport{}
	for _, config := range []ClientConfig{
		{Targets: to(b, server), Close: CloseByClient},
		{Targets: to(b, server), Mapped: true, Close: CloseByServer},
		{Targets: []netip.AddrPort{netip.AddrPortFrom(b.Addr6(), server.Port())}, Duplex: true, Close: CloseByServer},
	} {
		config.Connections, config.Concurrency = each, 10
		config.Upload, config.Download = Size{1, 300_000}, Size{1, 300_000}
		report, err := a.RunClient(ctx, config)
		require.NoError(t, err)
		require.Equal(t, each, report.Opened)
		require.Zero(t, report.Severed)
		for _, c := range report.Conns {
			written[c.Cookie] = c
		}
	}
	const n = 3 * each
	require.Len(t, written, n)
	at, err := server.Stop(ctx)
	require.NoError(t, err)
	for _, c := range at.Conns {
		written[c.Cookie] = c
	}
	require.Len(t, written, 2*n)

	retransmissions := uint64(0)
	for node, o := range oracles {
		own, err := o.own.Wait(ctx, n)
		require.NoError(t, err)
		ss, err := o.ss.Wait(ctx, n)
		require.NoError(t, err)
		bySS := map[uint64]Destroyed{}
		for _, d := range ss {
			bySS[d.Cookie] = d
		}
		for _, d := range own {
			if d.Listener() {
				continue
			}
			app, ok := written[d.Cookie]
			require.True(t, ok, "%+v", d)
			// SYN (of the active end) and FIN are acknowledged as a byte each, and the peer's
			// FIN is received as one, if this end is still there to see.
			assert.Equal(t, app.Written, int64(d.Info.BytesAcked)-finsAcked(node == a, d, app), "%+v", d)
			assert.InDelta(t, app.Read, int64(d.Info.BytesReceived), 1)
			assert.Equal(t, app.Local, d.Local)
			assert.Equal(t, app.Remote, d.Remote)
			assert.LessOrEqual(t, uint32(d.Info.TotalRTO), d.Info.TotalRetrans)

			other, ok := bySS[d.Cookie]
			require.True(t, ok)
			// What ss does not print, or rounds.
			d.Info.TotalRTO, d.Info.HasTotalRTO, d.Info.MinRTT, d.Info.DSACKs, d.Info.DeliveredCE = 0, false, 0, 0, 0
			d.Info.Busy, d.Info.ReceiverWindowLimited, d.Info.SendBufferLimited = 0, 0, 0
			assert.Equal(t, d, other)
		}
		sum := Sum(own)
		retransmissions += sum.TotalRetrans
		assert.Equal(t, hasTotalRTO(t), sum.HasTotalRTO)
		for _, w := range []*DestroyWatch{o.own, o.ss} {
			all, err := w.Close()
			require.NoError(t, err)
			again, err := w.Close()
			require.NoError(t, err)
			assert.Equal(t, all, again)
		}
	}
	c, err := in.Counts()
	require.NoError(t, err)
	assert.NotZero(t, c.Hit)
	assert.NotZero(t, retransmissions, "%d packets were lost", c.Hit)
}

// finsAcked is what bytes_acked has beside payload: 1 for the SYN of a client, and
// 1 for our FIN if it was acknowledged.
func finsAcked(client bool, d Destroyed, app ConnReport) int64 {
	over := int64(d.Info.BytesAcked) - app.Written
	least := int64(0)
	if client {
		least = 1
	}
	if over == least || over == least+1 {
		return over
	}
	return least // and the comparison fails
}

// hasTotalRTO asks the kernel how much of TCP_INFO it has.
func hasTotalRTO(t *testing.T) bool {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	var b [512]byte
	size := uint32(len(b))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(&b)), uintptr(unsafe.Pointer(&size)), 0)
	require.Zero(t, errno)
	return size >= tcpiTotalRTOEnd
}

func TestRetransmissionTimeoutsAreSeen(t *testing.T) {
	if !hasTotalRTO(t) {
		t.Skip("this kernel does not count them (before 6.7)")
	}
	a, _, b := pair(t)
	ctx := testContext(t)
	require.NoError(t, a.Sysctl("net.ipv4.tcp_syn_retries", "1"))
	w, err := a.WatchDestroyed(ctx)
	require.NoError(t, err)
	_, err = b.Fault(Blackhole{}, In)
	require.NoError(t, err)
	_, err = a.RunClient(ctx, ClientConfig{Targets: []netip.AddrPort{netip.AddrPortFrom(b.Addr4(), 80)}, Connections: 1})
	require.NoError(t, err)
	all, err := w.Wait(ctx, 1)
	require.NoError(t, err)
	require.Len(t, all, 1)
	assert.NotZero(t, all[0].Info.TotalRTO)
	assert.Equal(t, uint32(all[0].Info.TotalRTO), all[0].Info.TotalRetrans)
	assert.False(t, all[0].Listener())
}

func TestThousandsOfShortConnectionsAreAllAnnounced(t *testing.T) {
	a, _, b := pair(t)
	ctx := testContext(t)
	server := serverOn(t, b)
	at := map[*DestroyWatch]*Node{}
	for _, n := range []*Node{a, b} {
		w, err := n.WatchDestroyed(ctx)
		require.NoError(t, err)
		at[w] = n
		w, err = n.WatchDestroyedBySS(ctx)
		require.NoError(t, err)
		at[w] = n
	}
	const n = 5000
	report, err := a.RunClient(ctx, ClientConfig{
		Targets: to(b, server), Connections: n, Concurrency: 20, Upload: Size{0, 100}, Download: Size{0, 100}, Close: CloseByServer,
	})
	require.NoError(t, err)
	require.Equal(t, n, report.Opened)
	for w, node := range at {
		all, err := w.Wait(ctx, n)
		require.NoError(t, err)
		sum := Sum(all)
		if node == a {
			assert.EqualValues(t, report.Written, sum.BytesSent-sum.BytesRetrans)
		} else {
			assert.EqualValues(t, report.Read, sum.BytesSent-sum.BytesRetrans)
		}
	}
}

func TestOverrunOfOwnBufferIsReported(t *testing.T) {
	a, _, b := pair(t)
	ctx := testContext(t)
	server := serverOn(t, b)
	w, err := a.watchDestroyed(ctx, 1) // the kernel makes it its least: room for one
	require.NoError(t, err)
	var all []Destroyed
	for err == nil {
		_, e := a.RunClient(ctx, ClientConfig{Targets: to(b, server), Connections: 1000, Concurrency: 50, Summary: true})
		require.NoError(t, e)
		all, err = w.WaitFor(ctx, "an overrun", func([]Destroyed) bool { return true })
	}
	require.ErrorIs(t, err, ErrOverrun)
	assert.NotEmpty(t, all)
}

func TestOverrunOfSSIsReported(t *testing.T) {
	a, _, b := pair(t)
	ctx := testContext(t)
	server := serverOn(t, b)
	w, err := a.watchDestroyedBySS(ctx, 1<<18)
	require.NoError(t, err)
	// A reader that stands still: its buffer overflows.
	require.NoError(t, signalSS(t, a, unix.SIGSTOP))
	for dropped := uint64(0); dropped == 0; {
		_, err = a.RunClient(ctx, ClientConfig{Targets: to(b, server), Connections: 1000, Concurrency: 10, Summary: true})
		require.NoError(t, err)
		dropped, err = drops(t, a)
		require.NoError(t, err)
	}
	require.NoError(t, signalSS(t, a, unix.SIGCONT))
	_, err = w.Wait(ctx, 1_000_000)
	assert.ErrorIs(t, err, ErrOverrun)
	_, err = w.Close()
	assert.ErrorIs(t, err, ErrOverrun)
}

func TestWatchEndsWithItsContextAndWithTheLab(t *testing.T) {
	a, _, _ := pair(t)
	for name, watch := range map[string]func(context.Context) (*DestroyWatch, error){
		"own": a.WatchDestroyed, "ss": a.WatchDestroyedBySS,
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(testContext(t))
			w, err := watch(ctx)
			require.NoError(t, err)
			expired, stop := context.WithTimeout(ctx, 10*time.Millisecond)
			defer stop()
			_, err = w.Wait(expired, 1)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			cancel()
			_, err = w.Wait(testContext(t), 1)
			assert.ErrorContains(t, err, "ended")
			_, err = w.Close()
			assert.NoError(t, err)
		})
	}
	w1, err := a.WatchDestroyed(t.Context())
	require.NoError(t, err)
	w2, err := a.WatchDestroyedBySS(t.Context())
	require.NoError(t, err)
	require.NoError(t, a.lab.Close())
	for _, w := range []*DestroyWatch{w1, w2} {
		_, err = w.Close()
		assert.NoError(t, err)
	}
}
