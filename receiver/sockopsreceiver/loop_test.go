// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sockopsreceiver

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// pauses runs a receiver for some rounds and gives the time from each to the next.
func pauses(t *testing.T, seed uint64, rounds int, jitter *time.Duration) (all []time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{}
		r := newTestReceiver(t, k, consumertest.NewNop(), func(c *Config) { c.Jitter = jitter })
		r.random = rand.New(rand.NewPCG(seed, 0))
		last := time.Now()
		require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
		time.Sleep(time.Duration(rounds+1) * 2 * time.Minute)
		synctest.Wait()
		for _, at := range k.harvests[:rounds] {
			all = append(all, at.Sub(last))
			last = at
		}
		require.NoError(t, r.Shutdown(t.Context()))
	})
	return all
}

func TestEachRoundIsTheIntervalPlusMinusTheJitter(t *testing.T) {
	const rounds = 500
	var shortest, longest, sum time.Duration = time.Hour, 0, 0
	for _, p := range pauses(t, 1, rounds, nil) {
		shortest, longest, sum = min(shortest, p), max(longest, p), sum+p
	}
	assert.GreaterOrEqual(t, shortest, 50*time.Second)
	assert.LessOrEqual(t, longest, 70*time.Second)
	assert.Less(t, shortest, 51*time.Second, "the whole range is used")
	assert.Greater(t, longest, 69*time.Second)
	assert.InDelta(t, time.Minute, sum/rounds, float64(time.Second), "and the interval is the mean")
}

func TestTwoHostsDoNotReportAtOnce(t *testing.T) {
	assert.Equal(t, pauses(t, 1, 5, nil), pauses(t, 1, 5, nil), "the same seed")
	assert.NotEqual(t, pauses(t, 1, 5, nil), pauses(t, 2, 5, nil))
	var none time.Duration
	assert.Equal(t, []time.Duration{time.Minute, time.Minute}, pauses(t, 1, 2, &none))
}

func TestTheTimeOfARoundIsPartOfThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{harvest: func(int) error {
			time.Sleep(10 * time.Second)
			return nil
		}}
		began := time.Now()
		r := newTestReceiver(t, k, consumertest.NewNop())
		require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
		time.Sleep(200 * time.Second)
		require.NoError(t, r.Shutdown(t.Context()))
		require.GreaterOrEqual(t, len(k.harvests), 3)
		for i, at := range k.harvests[:3] {
			assert.Equal(t, time.Duration(i+1)*time.Minute, at.Sub(began))
		}
	})
}

func TestTimesAreTheStartsWallClockPlusMonotonicTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c := newClock(time.Now)
		time.Sleep(90 * time.Second)
		assert.Equal(t, pcommon.NewTimestampFromTime(start.Add(90*time.Second)), c.now())
	})
}

// stepped is a wall clock that somebody sets between any two looks at it, back and forth
// by up to a day.
func stepped() func() time.Time {
	steps := rand.New(rand.NewPCG(1, 2))
	return func() time.Time {
		return time.Now().Add(time.Duration(steps.Int64N(int64(48*time.Hour))) - 24*time.Hour)
	}
}

func TestAStepOfTheWallClockDoesNotShow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sink consumertest.MetricsSink
		k := &fakeKernel{always: []counted{{web, bpf.Flow{Sent: 1}, nil}}, wall: stepped()}
		r := newTestReceiver(t, k, &sink)
		require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		require.NoError(t, r.Shutdown(t.Context()))
		sent := points(sink.AllMetrics(), flowattr.MetricSent)
		require.Len(t, sent, 21)
		for i, p := range sent[:20] {
			assert.Equal(t, time.Minute, p.Timestamp().AsTime().Sub(p.StartTimestamp().AsTime()))
			if i > 0 {
				assert.Equal(t, sent[i-1].Timestamp(), p.StartTimestamp())
			}
		}
	})
}

// A bubble's clock stands still between sleeps: two rounds in one tick.
func TestTimesRiseStrictly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock(time.Now)
		last := c.last
		for range 3 {
			now := c.now()
			assert.Greater(t, now, last)
			last = now
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var sink consumertest.MetricsSink
		r := newTestReceiver(t, &fakeKernel{rounds: [][]counted{{{web, bpf.Flow{Sent: 1}, nil}}}}, &sink)
		require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
		require.NoError(t, r.Shutdown(t.Context()))
		p := points(sink.AllMetrics(), flowattr.MetricSent)[0]
		assert.Less(t, p.StartTimestamp(), p.Timestamp())
	})
}
