// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sockopsreceiver

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/metadata"
)

func TestShutdownWithoutStart(t *testing.T) {
	r := newTestReceiver(t, &fakeKernel{}, consumertest.NewNop())
	require.NoError(t, r.Shutdown(t.Context()))
	require.NoError(t, r.Shutdown(t.Context()))
}

func TestShutdownDeliversTheLastRoundOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sink consumertest.MetricsSink
		k := &fakeKernel{rounds: [][]counted{{{web, bpf.Flow{Sent: 1}, nil}}}}
		r := newTestReceiver(t, k, &sink)
		require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
		time.Sleep(10 * time.Second)
		require.NoError(t, r.Shutdown(t.Context()))
		require.NoError(t, r.Shutdown(t.Context()))

		sent := points(sink.AllMetrics(), flowattr.MetricSent)
		require.Len(t, sent, 1)
		assert.EqualValues(t, 1, sent[0].IntValue())
		assert.Equal(t, 10*time.Second, sent[0].Timestamp().AsTime().Sub(sent[0].StartTimestamp().AsTime()))
		assert.Len(t, k.harvests, 1)
		assert.Equal(t, 1, k.closed)
	})
}

func TestAStartThatFailsSaysWhyAndLeavesNothing(t *testing.T) {
	r := newTestReceiver(t, &fakeKernel{}, consumertest.NewNop())
	r.load = func(*Config) (source, error) { return nil, errKernel }
	err := r.Start(t.Context(), componenttest.NewNopHost())
	require.ErrorIs(t, err, errKernel)
	require.NoError(t, r.Shutdown(t.Context()))
}

func TestTheRunDoesNotEndWithTheStartsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sink consumertest.MetricsSink
		k := &fakeKernel{rounds: [][]counted{{{web, bpf.Flow{Sent: 1}, nil}}}}
		r := newTestReceiver(t, k, &sink)
		ctx, cancel := context.WithCancel(t.Context())
		require.NoError(t, r.Start(ctx, componenttest.NewNopHost()))
		cancel()
		time.Sleep(61 * time.Second)
		synctest.Wait()
		assert.Len(t, sink.AllMetrics(), 1)
		require.NoError(t, r.Shutdown(t.Context()))
	})
}

func TestStartDoesNotWaitForTheAdoption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{adopt: func(ctx context.Context) (bpf.AdoptStats, error) {
			select {
			case <-time.After(150 * time.Second): // of 50,000 namespaces
				return bpf.AdoptStats{Adopted: 5}, nil
			case <-ctx.Done():
				return bpf.AdoptStats{}, ctx.Err()
			}
		}}
		began := time.Now()
		r := newTestReceiver(t, k, consumertest.NewNop())
		require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
		assert.Zero(t, time.Since(began))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		assert.Equal(t, []time.Time{began.Add(time.Minute), began.Add(2 * time.Minute)}, k.harvests, "nor do the rounds")
		assert.True(t, k.adopting)
		require.NoError(t, r.Shutdown(t.Context()))
	})
}

func TestShutdownInterruptsTheAdoption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{adopt: func(ctx context.Context) (bpf.AdoptStats, error) {
			<-ctx.Done()
			return bpf.AdoptStats{}, ctx.Err()
		}}
		r := newTestReceiver(t, k, consumertest.NewNop())
		require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
		require.NoError(t, r.Shutdown(t.Context()))
		assert.Len(t, k.harvests, 1, "the last round")
	})
}

func TestNothingIsAdoptedUnlessWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{}
		play(t, k, consumertest.NewNop(), func(c *Config) { c.AdoptExisting = false })
		assert.Zero(t, k.adopted)
	})
}

// heedful is a pipeline that takes nothing once its context has ended, as exporters do.
type heedful struct{ consumertest.MetricsSink }

func (h *heedful) ConsumeMetrics(ctx context.Context, md pmetric.Metrics) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return h.MetricsSink.ConsumeMetrics(ctx, md)
}

func TestTheLastRoundComesWithAContextThatLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h heedful
		play(t, &fakeKernel{rounds: [][]counted{{}}, always: []counted{{web, bpf.Flow{Sent: 1}, nil}}}, &h)
		assert.Equal(t, []int64{1}, values(h.AllMetrics(), flowattr.MetricSent))
	})
}

// stuck is a pipeline that takes nothing until its context ends.
type stuck struct{ consumertest.MetricsSink }

func (*stuck) ConsumeMetrics(ctx context.Context, _ pmetric.Metrics) error {
	<-ctx.Done()
	return ctx.Err()
}

// deaf does not heed its context either.
type deaf struct {
	consumertest.MetricsSink
	released chan struct{}
}

func (d *deaf) ConsumeMetrics(context.Context, pmetric.Metrics) error {
	<-d.released
	return nil
}

func TestShutdownHeedsItsContext(t *testing.T) {
	rounds := [][]counted{{{web, bpf.Flow{Sent: 1}, nil}}, {{web, bpf.Flow{Sent: 1}, nil}}}
	t.Run("a pipeline that is stuck is cut short", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			k := &fakeKernel{rounds: rounds}
			r := newTestReceiver(t, k, &stuck{})
			require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
			time.Sleep(90 * time.Second)
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			require.ErrorIs(t, r.Shutdown(ctx), context.Canceled, "the last round was not delivered")
			assert.Equal(t, 5*time.Second, time.Since(began))
			assert.Equal(t, 1, k.closed)
		})
	})
	t.Run("a pipeline that does not even heed its context is left behind", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			k := &fakeKernel{rounds: rounds}
			d := &deaf{released: make(chan struct{})}
			r := newTestReceiver(t, k, d)
			require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
			time.Sleep(90 * time.Second)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			require.ErrorIs(t, r.Shutdown(ctx), context.DeadlineExceeded)
			close(d.released)
			synctest.Wait()
			assert.Equal(t, 1, k.closed, "and when it returns, everything is freed")
		})
	})
}

func TestAHarvestThatFailsIsReportedAndTheNextRoundGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sink consumertest.MetricsSink
		k := &fakeKernel{
			rounds: [][]counted{
				{{web, bpf.Flow{Sent: 1, Open: [3]uint32{0, 1, 0}}, nil}},
				{{web, bpf.Flow{Sent: 2}, nil}},
				{{web, bpf.Flow{Sent: 3, Open: [3]uint32{0, 1, 0}}, nil}, {api, bpf.Flow{Sent: 4}, nil}},
			},
			harvest: func(n int) error {
				if n == 1 {
					return errKernel
				}
				return nil
			},
		}
		host := &statusHost{Host: componenttest.NewNopHost()}
		r := newTestReceiver(t, k, &sink)
		require.NoError(t, r.Start(t.Context(), host))
		for range 4 {
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		assert.Equal(t, []componentstatus.Status{componentstatus.StatusRecoverableError, componentstatus.StatusOK}, host.events)
		require.NoError(t, r.Shutdown(t.Context()))

		all := sink.AllMetrics()
		assert.Equal(t, []int64{1, 2, 3, 4}, values(all, flowattr.MetricSent), "what it handed over counts")
		assert.Equal(t, []int64{1, 1, 0}, values(all, flowattr.MetricConnectionsOpen), "but not what it left out")
		late := points(all, flowattr.MetricSent)[3]
		assert.Equal(t, 2*time.Minute, late.Timestamp().AsTime().Sub(late.StartTimestamp().AsTime()),
			"a new stream may hold what the failed harvest left behind")
	})
}

func TestAFailureOfTheLastHarvestIsReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestReceiver(t, &fakeKernel{harvest: func(int) error { return errKernel }}, consumertest.NewNop())
		require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
		require.ErrorIs(t, r.Shutdown(t.Context()), errKernel)
	})
}

func TestTheFactoryMakesAReceiver(t *testing.T) {
	r, err := NewFactory().CreateMetrics(t.Context(), receivertest.NewNopSettings(metadata.Type), createDefaultConfig(), consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, r.Shutdown(t.Context()))
}

func TestLoadingNamesTheCgroupThatIsNone(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	cfg.CgroupPath = t.TempDir()
	_, err := loadKernel(cfg)
	require.ErrorContains(t, err, cfg.CgroupPath)
}

var (
	_ consumer.Metrics = (*stuck)(nil)
	_ consumer.Metrics = (*deaf)(nil)
	_ consumer.Metrics = (*heedful)(nil)
)
