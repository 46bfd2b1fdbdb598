// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// median is robust against a machine that is busy with something else.
func median(all []arrival) time.Duration {
	var took []time.Duration
	for _, a := range all {
		took = append(took, a.took)
	}
	slices.Sort(took)
	return took[len(took)/2]
}

func TestDelayHoldsEachPacketBackInOneDirection(t *testing.T) {
	a, _, b := pair(t)
	const n = 200
	in, err := a.Link().Fault(Delay{Delay: 50 * time.Millisecond}, FromA)
	require.NoError(t, err)
	for _, addr := range []netip.Addr{b.Addr4(), b.Addr6()} {
		all := flood(t, a, b, addr, n, n, time.Millisecond)
		for _, x := range all {
			assert.GreaterOrEqual(t, x.took, 50*time.Millisecond)
		}
		assert.Less(t, median(all), 90*time.Millisecond)
	}
	assert.Less(t, median(flood(t, b, a, a.Addr4(), n, n, time.Millisecond)), 40*time.Millisecond, "the way back is not delayed")
	c, err := in.Counts()
	require.NoError(t, err)
	assert.Equal(t, Counts{Seen: 2 * n}, c)

	require.NoError(t, in.Clear())
	require.NoError(t, in.Clear())
	assert.Less(t, median(flood(t, a, b, b.Addr4(), n, n, time.Millisecond)), 40*time.Millisecond)
}

func TestDelayShowsInTheHandshake(t *testing.T) {
	a, _, b := pair(t)
	server := serverOn(t, b)
	in, err := b.Fault(Delay{Delay: 15 * time.Millisecond}, Both)
	require.NoError(t, err)
	report, err := a.RunClient(testContext(t), ClientConfig{
		Targets: to(b, server), Connections: 5, Upload: Exactly(200_000), Download: Exactly(200_000),
	})
	require.NoError(t, err)
	require.Equal(t, 5, report.Opened)
	assert.Zero(t, report.Severed)
	for _, c := range report.Conns {
		assert.GreaterOrEqual(t, c.Connect, 30*time.Millisecond)
		assert.Less(t, c.Connect, 500*time.Millisecond)
	}
	require.NoError(t, in.Clear())
}

func TestDelaysAddUpAndGoOneByOne(t *testing.T) {
	a, _, b := pair(t)
	first, err := a.Fault(Delay{Delay: 100 * time.Millisecond}, Out)
	require.NoError(t, err)
	second, err := a.Link().Fault(Delay{Delay: 200 * time.Millisecond}, FromA)
	require.NoError(t, err)
	third, err := b.Fault(Delay{Delay: 50 * time.Millisecond}, In)
	require.NoError(t, err)
	check := func(least, most time.Duration) {
		t.Helper()
		m := median(flood(t, a, b, b.Addr4(), 50, 50, time.Millisecond))
		assert.GreaterOrEqual(t, m, least)
		assert.Less(t, m, most)
	}
	check(350*time.Millisecond, 450*time.Millisecond)
	require.NoError(t, first.Clear())
	check(250*time.Millisecond, 340*time.Millisecond)
	require.NoError(t, third.Clear())
	check(200*time.Millisecond, 249*time.Millisecond)
	require.NoError(t, second.Clear())
	check(0, 90*time.Millisecond)
}

func TestJitterSpreadsAndKeepsOrder(t *testing.T) {
	a, _, b := pair(t)
	in, err := a.Fault(Delay{Delay: 10 * time.Millisecond, Jitter: 10 * time.Millisecond}, Out)
	require.NoError(t, err)
	// 30 ms apart they do not hold each other back: the spread is that of the draws.
	all := flood(t, a, b, b.Addr4(), 60, 60, 30*time.Millisecond)
	least, most := all[0].took, all[0].took
	for _, x := range all {
		least, most = min(least, x.took), max(most, x.took)
	}
	assert.Less(t, least, 8*time.Millisecond, "60 draws from 0…20 ms, none below 8")
	assert.Greater(t, most, 12*time.Millisecond)

	all = flood(t, a, b, b.Addr4(), 2000, 2000, 50*time.Microsecond)
	assert.True(t, slices.IsSortedFunc(all, func(x, y arrival) int { return int(x.number) - int(y.number) }))
	require.NoError(t, in.Clear())
}

func TestLossAndDelayTogetherDrawOncePerPacket(t *testing.T) {
	a, _, b := pair(t)
	loss, err := a.Fault(Loss{Rate: 0.2}, Out)
	require.NoError(t, err)
	delay, err := a.Fault(Delay{Delay: 2 * time.Millisecond}, Out)
	require.NoError(t, err)
	const n = 5000
	rx, tx := udpSocket(t, b), udpSocket(t, a)
	for range n {
		_, err := tx.WriteToUDPAddrPort(make([]byte, 12), netip.AddrPortFrom(b.Addr4(), localPort(rx)))
		require.NoError(t, err)
	}
	require.NoError(t, delay.Clear()) // what was held is through
	c, err := loss.Counts()
	require.NoError(t, err)
	d, err := delay.Counts()
	require.NoError(t, err)
	assert.Equal(t, Counts{Seen: n}, d)
	assert.EqualValues(t, n, c.Seen)
	withinBinomial(t, n, c.Hit, 0.2)
	receiveAll(t, rx, time.Now(), int(n-c.Hit))
}

func TestFullDelayQueueDropsAndCounts(t *testing.T) {
	a, _, b := pair(t)
	in, err := a.Fault(Delay{Delay: 30 * time.Second, Queue: 10}, Out)
	require.NoError(t, err)
	rx, tx := udpSocket(t, b), udpSocket(t, a)
	began := time.Now()
	for range 100 {
		_, err := tx.WriteToUDPAddrPort(make([]byte, 12), netip.AddrPortFrom(b.Addr4(), localPort(rx)))
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool {
		c, err := in.Counts()
		return err == nil && c.Seen == 100
	}, timeout, time.Millisecond)
	c, err := in.Counts()
	require.NoError(t, err)
	assert.Equal(t, Counts{Seen: 100, Hit: 90}, c)
	require.NoError(t, in.Clear())
	receiveAll(t, rx, began, 10)
	assert.Less(t, time.Since(began), 20*time.Second, "Clear lets go what is held")
}

func TestRejectedWhileDelayed(t *testing.T) {
	// The answer to a frame that was marked must find its way home.
	a, _, b := pair(t)
	server := serverOn(t, b)
	delay, err := a.Fault(Delay{Delay: 5 * time.Millisecond}, Both)
	require.NoError(t, err)
	refuse, err := a.Link().Fault(Refused{}, FromA)
	require.NoError(t, err)
	report, err := a.RunClient(testContext(t), ClientConfig{Targets: to(b, server), Connections: 3, Timeout: 5 * time.Second})
	require.NoError(t, err)
	for _, c := range report.Conns {
		assert.EqualValues(t, 111, c.Errno, c.Err)
		assert.GreaterOrEqual(t, c.Connect, 10*time.Millisecond)
	}
	require.NoError(t, refuse.Clear())
	require.NoError(t, delay.Clear())
}

func TestFrameQueueKeepsOrderWhileItGrowsAndWraps(t *testing.T) {
	var q frameQueue
	base := time.Now()
	next := byte(0)
	pushed := byte(0)
	for round := range 50 {
		for range round * 3 % 200 {
			q.push(base.Add(time.Duration(pushed)), []byte{pushed})
			pushed++
		}
		for range q.len() / 2 {
			f := q.pop()
			require.Equal(t, []byte{next}, f)
			q.release(f)
			next++
		}
	}
	for q.len() > 0 {
		_, ok := q.next()
		require.True(t, ok)
		require.Equal(t, []byte{next}, q.pop())
		next++
	}
	_, ok := q.next()
	assert.False(t, ok)
	assert.Equal(t, pushed, next)
}

func BenchmarkFrameQueue(b *testing.B) {
	b.ReportAllocs()
	var q frameQueue
	frame := make([]byte, maxFrame)
	at := time.Now()
	for range 100 {
		q.push(at, frame)
	}
	for b.Loop() {
		q.push(at, frame)
		q.release(q.pop())
	}
}
