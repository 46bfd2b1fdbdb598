// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nhiprocessor

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor"

	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/fleet"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/metadatatest"
)

// wire is a connection to another stage that breaks off now and then, and stays so for a while.
type wire struct {
	t      *testing.T
	to     consumer.Metrics
	broken func(part int) bool
	parts  int
	points int64
	most   int // bytes of a part
}

func (*wire) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

func (w *wire) ConsumeMetrics(ctx context.Context, md pmetric.Metrics) error {
	if !isOwn(md) {
		return nil
	}
	w.parts++
	if w.broken(w.parts) {
		return errors.New("not now")
	}
	w.most = max(w.most, (&pmetric.ProtoMarshaler{}).MetricsSize(md))
	w.points += int64(md.DataPointCount())
	return w.to.ConsumeMetrics(ctx, md)
}

// A window that is larger than one message leaves in parts; one that is refused comes again, and the
// window is the same at the other stage.
func TestEvidenceOfManyRowsLeavesInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, verdict := newStage(t, roleBoth), newStage(t, roleVerdict)
		// Each third attempt fails, in the middle of windows.
		w := &wire{t: t, to: verdict, broken: func(part int) bool { return part%3 == 0 }}
		cfg := createDefaultConfig().(*Config)
		cfg.Window, cfg.Lateness, cfg.Role, cfg.Instance = 5*time.Second, 2*time.Second, roleEvidence, "test"
		telemetry := componenttest.NewTelemetry()
		gather, err := NewFactory().CreateMetrics(t.Context(), metadatatest.NewSettings(telemetry), cfg, w)
		require.NoError(t, err)
		require.NoError(t, gather.Start(t.Context(), componenttest.NewNopHost()))

		f, _, _ := fleet.TwoVPCs(1, 25, 0.2)
		f.Faults = []fleet.Fault{fleet.On("transit_gateway/tgw-1", fleet.Loss{Rate: 0.05, Burst: 2})}
		for range 12 {
			start := time.Now()
			time.Sleep(2500 * time.Millisecond)
			md := fleet.Points(f.Window(), start, time.Now())
			again := pmetric.NewMetrics()
			md.CopyTo(again)
			require.NoError(t, one.ConsumeMetrics(t.Context(), md))
			require.NoError(t, gather.ConsumeMetrics(t.Context(), again))
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		require.NoError(t, gather.Shutdown(t.Context()))
		require.NoError(t, one.Shutdown(t.Context()))
		require.NoError(t, verdict.Shutdown(t.Context()))
		require.NoError(t, telemetry.Shutdown(t.Context()))

		assert.Greater(t, w.parts, 2*6, "each window is several parts")
		assert.Less(t, w.most, 2<<20, "half of what a gRPC server takes")
		want, got := summary(t, one.own()), summary(t, verdict.own())
		same := 0
		for end, v := range want.at {
			if g, ok := got.at[end]; ok {
				same++
				assert.Equal(t, v, g, "at %s", end)
			}
		}
		assert.GreaterOrEqual(t, same, 4)
		assert.Equal(t, want.total, got.total, "no sum is lost or counted twice")
	})
}

// Evidence that nobody takes is kept for some windows, and then counted as undelivered: what was written is
// what came through and that.
func TestEvidenceThatNobodyTakesIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool // the stage may be trying right when it changes
		down.Store(true)
		w := &wire{t: t, to: newStage(t, roleVerdict), broken: func(int) bool { return down.Load() }}
		cfg := createDefaultConfig().(*Config)
		cfg.Window, cfg.Lateness, cfg.Role, cfg.Instance = 5*time.Second, 2*time.Second, roleEvidence, "test"
		telemetry := componenttest.NewTelemetry()
		gather, err := NewFactory().CreateMetrics(t.Context(), metadatatest.NewSettings(telemetry), cfg, w)
		require.NoError(t, err)
		require.NoError(t, gather.Start(t.Context(), componenttest.NewNopHost()))
		f, _, _ := fleet.TwoVPCs(1, 3, 1)
		ofWindow := f.Window() // each is the same
		const rounds = 30
		for range rounds {
			start := time.Now()
			time.Sleep(5 * time.Second)
			require.NoError(t, gather.ConsumeMetrics(t.Context(), fleet.Points(ofWindow, start, time.Now())))
			synctest.Wait()
		}
		time.Sleep(30 * time.Second)
		down.Store(false)
		require.NoError(t, gather.Shutdown(t.Context()))
		require.Positive(t, w.points)
		require.Zero(t, w.points%maxPending, "as many windows as are kept, all the same")
		lost := (rounds - maxPending) * w.points / maxPending
		metadatatest.AssertEqualProcessorNhiPointsUncounted(t, telemetry, byReason(map[string]int64{"undelivered": lost}), anyTime)
		require.NoError(t, w.to.(*stage).Shutdown(t.Context()))
		require.NoError(t, telemetry.Shutdown(t.Context()))
	})
}

// Nor is more kept than the bound on flows says, however many rows a window has.
func TestEvidenceThatNobodyTakesIsOfSoManyPoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		cfg := createDefaultConfig().(*Config)
		cfg.Window, cfg.Lateness, cfg.Role, cfg.Instance = 5*time.Second, 2*time.Second, roleEvidence, "test"
		cfg.MaxFlows = 5000
		stage := func(w *wire) (*componenttest.Telemetry, processor.Metrics) {
			telemetry := componenttest.NewTelemetry()
			p, err := NewFactory().CreateMetrics(t.Context(), metadatatest.NewSettings(telemetry), cfg, w)
			require.NoError(t, err)
			require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
			return telemetry, p
		}
		w := &wire{t: t, to: consumertest.NewNop(), broken: func(int) bool { return down.Load() }}
		all := &wire{t: t, to: consumertest.NewNop(), broken: func(int) bool { return false }}
		telemetry, refused := stage(w)
		others, taken := stage(all)
		f, _, _ := fleet.TwoVPCs(1, 25, 0.2)
		for range 3 {
			start := time.Now()
			time.Sleep(5 * time.Second)
			md := fleet.Points(f.Window(), start, time.Now())
			again := pmetric.NewMetrics()
			md.CopyTo(again)
			require.NoError(t, refused.ConsumeMetrics(t.Context(), md))
			require.NoError(t, taken.ConsumeMetrics(t.Context(), again))
			synctest.Wait()
		}
		time.Sleep(30 * time.Second)
		down.Store(false)
		time.Sleep(30 * time.Second)
		require.NoError(t, refused.Shutdown(t.Context()))
		require.NoError(t, taken.Shutdown(t.Context()))

		assert.LessOrEqual(t, w.points, int64(pendingPoints*cfg.MaxFlows))
		assert.Greater(t, w.points, int64(pendingPoints*cfg.MaxFlows-2*4096), "all but a part that has no room")
		require.Greater(t, all.points, 2*w.points, "there is far more")
		metadatatest.AssertEqualProcessorNhiPointsUncounted(t, telemetry, byReason(map[string]int64{"undelivered": all.points - w.points}), anyTime)
		require.NoError(t, telemetry.Shutdown(t.Context()))
		require.NoError(t, others.Shutdown(t.Context()))
	})
}
