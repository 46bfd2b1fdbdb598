// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nhiprocessor

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/pdatatest/pmetrictest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/fleet"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/metadata"
)

type contextKey struct{}

func TestFlowsPassThroughUnchangedAtOnceInTheCallersContext(t *testing.T) {
	var got pmetric.Metrics
	var gotContext context.Context
	next, err := consumer.NewMetrics(func(ctx context.Context, md pmetric.Metrics) error {
		gotContext, got = ctx, md
		return nil
	})
	require.NoError(t, err)
	p, err := NewFactory().CreateMetrics(t.Context(), processortest.NewNopSettings(metadata.Type), createDefaultConfig(), next)
	require.NoError(t, err)
	assert.False(t, p.Capabilities().MutatesData)
	require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))

	f, _, _ := fleet.TwoVPCs(1, 2, 0.1)
	md := fleet.Points(f.Window(), time.Now().Add(-time.Second), time.Now())
	want := pmetric.NewMetrics()
	md.CopyTo(want)
	md.MarkReadOnly() // a write would panic
	ctx := context.WithValue(t.Context(), contextKey{}, "mine")
	require.NoError(t, p.ConsumeMetrics(ctx, md))
	assert.Equal(t, "mine", gotContext.Value(contextKey{}))
	require.NoError(t, pmetrictest.CompareMetrics(want, got))
	require.NoError(t, p.Shutdown(t.Context()))

	require.NoError(t, p.ConsumeMetrics(ctx, md), "also when it no longer counts")
}

func TestShutdown(t *testing.T) {
	processortest.VerifyShutdown(t, NewFactory(), createDefaultConfig())
	create := func(t *testing.T) *nhi {
		p, err := newProcessor(processortest.NewNopSettings(metadata.Type), createDefaultConfig().(*Config), consumertest.NewNop())
		require.NoError(t, err)
		return p
	}
	t.Run("without start", func(t *testing.T) {
		p := create(t)
		assert.NoError(t, p.shutdown(t.Context()))
		assert.NoError(t, p.shutdown(t.Context()))
	})
	t.Run("twice", func(t *testing.T) {
		p := create(t)
		require.NoError(t, p.start(t.Context(), componenttest.NewNopHost()))
		assert.NoError(t, p.shutdown(t.Context()))
		assert.NoError(t, p.shutdown(t.Context()))
	})
	t.Run("the goroutine outlives the context of the start", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			b := newBench(t, nil)
			p := create(t)
			require.NoError(t, p.start(ctx, componenttest.NewNopHost()))
			cancel()
			synctest.Wait()
			select {
			case <-p.done:
				t.Error("it ended")
			default:
			}
			assert.NoError(t, p.shutdown(t.Context()))
			b.stop()
		})
	})
	t.Run("with a consumer that hangs, it ends with the context", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			next, err := consumer.NewMetrics(func(_ context.Context, md pmetric.Metrics) error {
				if isOwn(md) {
					<-release
				}
				return nil
			})
			require.NoError(t, err)
			cfg := createDefaultConfig().(*Config)
			cfg.Window, cfg.Lateness = 5*time.Second, time.Second
			p, err := newProcessor(processortest.NewNopSettings(metadata.Type), cfg, next)
			require.NoError(t, err)
			require.NoError(t, p.start(t.Context(), componenttest.NewNopHost()))
			f, _, _ := fleet.TwoVPCs(1, 1, 1)
			require.NoError(t, p.ConsumeMetrics(t.Context(), fleet.Points(f.Window(), time.Now(), time.Now())))
			time.Sleep(time.Minute)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			assert.ErrorIs(t, p.shutdown(ctx), context.DeadlineExceeded)
			close(release)
		})
	})
}

// A consumer that hangs holds up verdicts, but neither flows nor without bound memory.
func TestAHangingConsumerOfVerdictsDoesNotHoldUpFlows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		own := &consumertest.MetricsSink{}
		flows := 0
		next, err := consumer.NewMetrics(func(ctx context.Context, md pmetric.Metrics) error {
			if isOwn(md) {
				<-release
				return own.ConsumeMetrics(ctx, md)
			}
			flows++
			return nil
		})
		require.NoError(t, err)
		cfg := createDefaultConfig().(*Config)
		cfg.Window, cfg.Lateness = time.Second, time.Second
		p, err := newProcessor(processortest.NewNopSettings(metadata.Type), cfg, next)
		require.NoError(t, err)
		require.NoError(t, p.start(t.Context(), componenttest.NewNopHost()))
		f, _, _ := fleet.TwoVPCs(1, 1, 1)
		for range 100 {
			start := time.Now()
			time.Sleep(time.Second)
			require.NoError(t, p.ConsumeMetrics(t.Context(), fleet.Points(f.Window(), start, time.Now())))
		}
		assert.Equal(t, 100, flows)
		assert.LessOrEqual(t, len(p.open), p.maxOpen)
		close(release)
		time.Sleep(5 * time.Second)
		require.NoError(t, p.shutdown(t.Context()))
		assert.NotZero(t, own.DataPointCount())
	})
}

func TestAnErrorOfTheNextConsumerIsTheCallers(t *testing.T) {
	refused := errors.New("queue is full")
	p, err := NewFactory().CreateMetrics(t.Context(), processortest.NewNopSettings(metadata.Type), createDefaultConfig(), consumertest.NewErr(refused))
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
	f, _, _ := fleet.TwoVPCs(1, 1, 1)
	assert.ErrorIs(t, p.ConsumeMetrics(t.Context(), fleet.Points(f.Window(), time.Now(), time.Now())), refused)
	assert.NoError(t, p.Shutdown(t.Context()), "nothing was counted, nothing is left to flush")
}

func TestTheInstanceIsTheHostNameUnlessSet(t *testing.T) {
	host, err := os.Hostname()
	require.NoError(t, err)
	for set, want := range map[string]string{"": host, "gateway-7": "gateway-7"} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, func(c *Config) { c.Instance = set })
			f, _, _ := fleet.TwoVPCs(1, 1, 1)
			b.play(f, 2)
			b.stop()
			batches := b.own()
			require.NotEmpty(t, batches)
			assert.Equal(t, map[string]any{"service.name": "flowmonitor-nhi", "service.instance.id": want},
				batches[0].ResourceMetrics().At(0).Resource().Attributes().AsRaw())
		})
	}
}
