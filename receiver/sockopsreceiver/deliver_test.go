// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sockopsreceiver

import (
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

var errFull = errors.New("the pipeline is full")

func TestWhatThePipelineRefusesGoesOutLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &picky{answer: func(n int) error {
			if n == 1 || n == 2 {
				return errFull
			}
			return nil
		}}
		play(t, &fakeKernel{rounds: [][]counted{
			{{web, bpf.Flow{Sent: 1}, nil}},
			{{web, bpf.Flow{Sent: 10}, nil}},
			{{web, bpf.Flow{Sent: 100}, nil}},
			{{api, bpf.Flow{Sent: 1000}, nil}},
		}}, p)
		assert.Equal(t, []int64{1, 110, 1000}, values(p.AllMetrics(), flowattr.MetricSent))
		late := points(p.AllMetrics(), flowattr.MetricSent)[1]
		assert.Equal(t, 3*time.Minute, late.Timestamp().AsTime().Sub(late.StartTimestamp().AsTime()))
	})
}

func TestWhatIsRefusedForGoodIsLostButNotTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &picky{answer: func(n int) error {
			if n == 1 {
				return consumererror.NewPermanent(errFull)
			}
			return nil
		}}
		play(t, &fakeKernel{rounds: [][]counted{
			{{web, bpf.Flow{Sent: 1}, nil}},
			{{web, bpf.Flow{Sent: 10}, nil}},
			{{web, bpf.Flow{Sent: 100}, nil}},
		}}, p)
		assert.Equal(t, []int64{1, 100}, values(p.AllMetrics(), flowattr.MetricSent))
		sent := points(p.AllMetrics(), flowattr.MetricSent)
		assert.Equal(t, sent[0].Timestamp(), sent[1].StartTimestamp())
	})
}

func TestTotalsSurviveAPermanentRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &picky{answer: func(n int) error {
			if n == 1 {
				return consumererror.NewPermanent(errFull)
			}
			return nil
		}}
		play(t, &fakeKernel{rounds: [][]counted{
			{{web, bpf.Flow{Sent: 1}, nil}},
			{{web, bpf.Flow{Sent: 10}, nil}},
			{{web, bpf.Flow{Sent: 100}, nil}},
		}}, p, func(c *Config) { c.Temporality = TemporalityCumulative })
		assert.Equal(t, []int64{1, 111, 111}, values(p.AllMetrics(), flowattr.MetricSent), "and the round of the shutdown")
	})
}

func TestALastRoundThatIsRefusedIsReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &picky{answer: func(int) error { return errFull }}
		r := newTestReceiver(t, &fakeKernel{rounds: [][]counted{{{web, bpf.Flow{Sent: 1}, nil}}}}, p)
		require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
		require.ErrorIs(t, r.Shutdown(t.Context()), errFull)
		require.NoError(t, r.Shutdown(t.Context()))
	})
}

func TestARoundWithoutPointsIsNotDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &picky{answer: func(int) error { return nil }}
		play(t, &fakeKernel{rounds: make([][]counted, 5)}, p)
		assert.Zero(t, p.calls)
	})
}

// Totals out = totals in, through a pipeline that refuses half of what it gets; and the
// points of each stream that it took join.
func TestTheReceiverConservesTotals(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			k := &fakeKernel{}
			var want int64
			for range 40 {
				var round []counted
				for range r.IntN(20) {
					c := counted{key: web, flow: bpf.Flow{Sent: r.Uint64N(100)}}
					c.key.PeerPort, c.key.Netns = uint16(1+r.IntN(10)), r.Uint32N(2)
					round = append(round, c)
					want += int64(c.flow.Sent)
				}
				k.rounds = append(k.rounds, round)
			}
			began := time.Now()
			p := &picky{answer: func(int) error {
				if time.Since(began) < 40*time.Minute && r.IntN(2) == 0 { // but the last is taken
					return errFull
				}
				return nil
			}}
			play(t, k, p, func(c *Config) { c.MaxFlows = 6 })

			var got int64
			ends := map[flowattr.Flow]pcommon.Timestamp{}
			for _, point := range points(p.AllMetrics(), flowattr.MetricSent) {
				got += point.IntValue()
				id, ok := flowattr.Read(point.Attributes())
				require.True(t, ok)
				if end, known := ends[id]; known {
					// 10 flows, of which 6 and those of the overflow flows are remembered: all.
					assert.Equal(t, end, point.StartTimestamp())
				}
				ends[id] = point.Timestamp()
			}
			assert.Equal(t, want, got)
		})
	}
}
