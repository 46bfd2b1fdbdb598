// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sockopsreceiver

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/metadatatest"
)

func withPins(c *Config) { c.PinPath = "/sys/fs/bpf/flowmonitor" }

// span is what a point covers, in seconds from the start of the test.
type span struct{ from, to float64 }

func spans(batches []pmetric.Metrics, metric string, zero time.Time) (all []span) {
	for _, p := range points(batches, metric) {
		all = append(all, span{p.StartTimestamp().AsTime().Sub(zero).Seconds(), p.Timestamp().AsTime().Sub(zero).Seconds()})
	}
	return all
}

func TestTheFirstPointBeginsWhereTheLastProcessEnded(t *testing.T) {
	for name, tt := range map[string]struct {
		since float64
		want  span
	}{
		"which was a while ago":               {-300, span{-300, 60}},
		"unless the clock was set back since": {+300, span{0, 60}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				zero := time.Now()
				var sink consumertest.MetricsSink
				k := &fakeKernel{pinned: true, rounds: [][]counted{{{web, bpf.Flow{Sent: 1}, nil}}, {{api, bpf.Flow{Sent: 2}, nil}}}}
				k.continuity = bpf.Continuity{Resumed: true, Since: zero.Add(time.Duration(tt.since) * time.Second)}
				play(t, k, &sink, withPins)
				assert.Equal(t, []span{tt.want, {60, 120}}, spans(sink.AllMetrics(), flowattr.MetricSent, zero))
			})
		})
	}
}

func TestRoundsOfAnEarlierProcessAreDeliveredFirstWithTheirTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zero := time.Now()
		var sink consumertest.MetricsSink
		k := &fakeKernel{
			pinned:     true,
			continuity: bpf.Continuity{Since: zero.Add(-50 * time.Second)},
			left: []leftRound{
				{zero.Add(-20 * time.Second), []counted{{web, bpf.Flow{Sent: 1, Open: [3]uint32{0, 1, 0}}, nil}}},
				{zero.Add(-time.Second), []counted{{web, bpf.Flow{Sent: 2}, nil}}},
			},
			rounds: [][]counted{{{web, bpf.Flow{Sent: 4}, nil}}},
		}
		r := newTestReceiver(t, k, &sink, withPins)
		require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
		synctest.Wait()
		assert.Len(t, sink.AllMetrics(), 2, "at once")
		time.Sleep(time.Minute)
		synctest.Wait()
		require.NoError(t, r.Shutdown(t.Context()))

		all := sink.AllMetrics()
		assert.Equal(t, []span{{-50, -20}, {-20, -1}, {-1, 60}}, spans(all, flowattr.MetricSent, zero))
		assert.Equal(t, []int64{1, 2, 4}, values(all, flowattr.MetricSent))
		assert.Equal(t, []int64{1, 0}, values(all, flowattr.MetricConnectionsOpen))
		ends := []time.Time{zero.Add(-20 * time.Second), zero.Add(-time.Second), zero.Add(time.Minute)}
		for i, end := range ends {
			assert.True(t, end.Equal(k.offers[i]), "offered: %v", k.offers[i])
			assert.True(t, end.Equal(k.settled[i].end) && k.settled[i].done, "settled: %v", k.settled[i])
		}
	})
}

func TestTimesOfAnEarlierProcessThatCannotBeAreMadeToFit(t *testing.T) {
	for name, end := range map[string]time.Duration{
		"the clock was set back":  time.Hour,
		"the clock was set forth": -time.Hour, // before the round before
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				zero := time.Now()
				var sink consumertest.MetricsSink
				k := &fakeKernel{
					pinned:     true,
					continuity: bpf.Continuity{Since: zero.Add(-50 * time.Second)},
					left:       []leftRound{{zero.Add(end), []counted{{web, bpf.Flow{Sent: 1}, nil}}}},
					rounds:     [][]counted{{{web, bpf.Flow{Sent: 4}, nil}}},
				}
				play(t, k, &sink, withPins)
				got := spans(sink.AllMetrics(), flowattr.MetricSent, zero)
				require.Len(t, got, 2)
				assert.InDelta(t, -50, got[0].from, 1e-6)
				assert.Less(t, got[0].from, got[0].to)
				assert.Equal(t, got[0].to, got[1].from)
				assert.InDelta(t, 60, got[1].to, 1e-6)
			})
		})
	}
}

func TestWhileThePipelineRefusesARoundTheKernelGoesOnCounting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zero := time.Now()
		p := &picky{answer: func(n int) error {
			if n == 1 || n == 2 {
				return errFull
			}
			return nil
		}}
		k := &fakeKernel{pinned: true, rounds: [][]counted{
			{{web, bpf.Flow{Sent: 1, Open: [3]uint32{0, 1, 0}}, nil}},
			{{web, bpf.Flow{Sent: 10, Open: [3]uint32{0, 2, 0}}, nil}},
			{{web, bpf.Flow{Sent: 100, Open: [3]uint32{0, 3, 0}}, nil}},
		}}
		r := newTestReceiver(t, k, p, withPins)
		require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
		time.Sleep(4*time.Minute + time.Second)
		synctest.Wait()
		assert.Len(t, k.harvests, 3, "none in the third minute")
		all := p.AllMetrics()
		assert.Equal(t, []int64{1, 10, 100}, values(all, flowattr.MetricSent))
		assert.Equal(t, []span{{0, 60}, {60, 120}, {120, 240}}, spans(all, flowattr.MetricSent, zero), "two in the fourth")
		assert.Equal(t, []int64{1, 3}, values(all, flowattr.MetricConnectionsOpen), "a level of long ago is none")
		done := []bool{true, false, false, true, true}
		for i, s := range k.settled {
			assert.Equal(t, done[i], s.done, "%d", i)
		}
		require.NoError(t, r.Shutdown(t.Context()))
	})
}

func TestWithPinsALastRoundThatIsRefusedIsLeftToTheNextProcess(t *testing.T) {
	k := &fakeKernel{pinned: true, rounds: [][]counted{{{web, bpf.Flow{Sent: 1}, nil}}}}
	synctest.Test(t, func(t *testing.T) {
		r := newTestReceiver(t, k, consumertest.NewErr(errFull), withPins)
		require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
		require.NoError(t, r.Shutdown(t.Context()))
		assert.True(t, k.unsettled)
		assert.Equal(t, 1, k.closed)
	})
}

func TestARoundThatIsRefusedForGoodIsSettled(t *testing.T) {
	for _, temporality := range []Temporality{TemporalityDelta, TemporalityCumulative} {
		t.Run(string(temporality), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &picky{answer: func(n int) error {
					if n == 0 {
						return consumererror.NewPermanent(errFull)
					}
					return nil
				}}
				k := &fakeKernel{pinned: true, rounds: [][]counted{{{web, bpf.Flow{Sent: 1}, nil}}, {{web, bpf.Flow{Sent: 10}, nil}}}}
				play(t, k, p, withPins, func(c *Config) { c.Temporality = temporality })
				want := []int64{10}
				if temporality == TemporalityCumulative {
					want = []int64{11, 11}
				}
				assert.Equal(t, want, values(p.AllMetrics(), flowattr.MetricSent))
			})
		})
	}
}

func TestARoundWithoutPointsIsNotOffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{pinned: true, rounds: [][]counted{{}}}
		play(t, k, consumertest.NewNop(), withPins)
		assert.Empty(t, k.offers)
		assert.Len(t, k.settled, 2, "but settled, the last one too")
	})
}

// The last round of a process with pins is not the end: handshakes may be completed yet.
func TestReportedSYNACKsAreRememberedForTheNextProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sink consumertest.MetricsSink
		k := &fakeKernel{pinned: true, rounds: [][]counted{{}, {}}, synAcks: map[uint32]int64{7: 3}}
		r := newTestReceiver(t, k, &sink, withPins)
		require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
		time.Sleep(2*time.Minute + time.Second)
		synctest.Wait()
		assert.Equal(t, map[uint32]int64{7: 3}, k.told)
		k.synAcks = map[uint32]int64{7: 5}
		require.NoError(t, r.Shutdown(t.Context()))
		assert.Equal(t, []int64{3}, values(sink.AllMetrics(), flowattr.MetricSynAckRetransmissions))
		assert.Equal(t, map[uint32]int64{7: 3}, k.told)
	})
}

func TestTelemetryOfWhatWasFoundPinned(t *testing.T) {
	k := &fakeKernel{
		pinned: true,
		continuity: bpf.Continuity{
			Since:     time.Now().Add(-time.Hour),
			Uncertain: 1,
			Replaced:  []bpf.Replacement{{Path: "/sys/fs/bpf/flowmonitor/1", FlowsLost: 5}, {Path: "/sys/fs/bpf/flowmonitor/2", FlowsLost: 2}},
		},
	}
	k.left = []leftRound{{flows: []counted{{web, bpf.Flow{Sent: 1}, nil}}}, {flows: []counted{{web, bpf.Flow{Sent: 1}, nil}}}}
	observed(t, k, consumertest.NewNop(), 1, withPins, func(t *testing.T, tel *componenttest.Telemetry) {
		metadatatest.AssertEqualReceiverSockopsRoundsRecovered(t, tel, number(2), anyTime)
		metadatatest.AssertEqualReceiverSockopsRoundsUncertain(t, tel, number(1), anyTime)
		metadatatest.AssertEqualReceiverSockopsPinsReplaced(t, tel, number(2), anyTime)
		metadatatest.AssertEqualReceiverSockopsPinnedFlowsLost(t, tel, number(7), anyTime)
	})
}

var _ consumer.Metrics = (*picky)(nil)
