// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowlimitprocessor/internal/metadatatest"
)

// bytesSent adds up one metric.
func bytesSent(batches ...pmetric.Metrics) (total int64) {
	for _, md := range batches {
		for _, s := range samples(md) {
			if strings.HasSuffix(s.metric, "/"+flowattr.MetricSent) {
				total += s.number.int()
			}
		}
	}
	return total
}

// TestBlockedNextComponentHoldsNeitherCallersNorMemory has forty hosts send while nothing
// is taken: all but the one who sends return in time, what is held stays near the bound,
// and once the way is free all that was not refused arrives.
func TestBlockedNextComponentHoldsNeitherCallersNorMemory(t *testing.T) {
	tel := componenttest.NewTelemetry()
	defer func() { require.NoError(t, tel.Shutdown(t.Context())) }()
	refusedPoints := 0
	synctest.Test(t, func(t *testing.T) {
		g := gate{newBackend(), make(chan struct{}, 100), make(chan struct{})}
		cfg := testConfig(1)
		cfg.MaxHeldMiB = 1
		l, err := newLimiter(metadatatest.NewSettings(tel), cfg, g)
		require.NoError(t, err)
		require.NoError(t, l.Start(t.Context(), componenttest.NewNopHost()))

		const callers = 40
		batches := make([]pmetric.Metrics, callers)
		for i := range batches {
			batches[i] = fullRound(t, fmt.Sprint("host-", i), ago(0), 100, rand.New(rand.NewPCG(1, uint64(i))))
		}
		var mu sync.Mutex
		var wg sync.WaitGroup
		var taken int64
		returned, refused := 0, 0
		for _, md := range batches {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				err := l.ConsumeMetrics(ctx, md)
				mu.Lock()
				defer mu.Unlock()
				returned++
				if errors.Is(err, errFull) {
					assert.False(t, consumererror.IsPermanent(err), "it can be sent again")
					refused++
					refusedPoints += md.DataPointCount()
					return
				}
				assert.NoError(t, err)
				taken += bytesSent(md)
			})
		}
		time.Sleep(301 * time.Millisecond)
		synctest.Wait()
		mu.Lock()
		assert.GreaterOrEqual(t, returned, callers-1, "the one that sends is not cut off")
		assert.Positive(t, refused)
		mu.Unlock()
		l.mu.Lock()
		assert.Less(t, l.held.bytes+l.held.waitingBytes, 3<<20, "the bound and one batch")
		assert.True(t, l.held.full())
		l.mu.Unlock()

		close(g.open)
		wg.Wait()
		synctest.Wait()
		l.mu.Lock()
		assert.Empty(t, l.held.outbox, "the clock sends what its callers gave up on")
		l.mu.Unlock()
		require.NoError(t, l.Shutdown(t.Context()))
		require.Positive(t, taken)
		assert.Equal(t, taken, bytesSent(g.got()...))
	})
	metadatatest.AssertEqualProcessorFlowlimitPointsRefused(t, tel, reasons("full", refusedPoints), noTime)
}

func TestBatchIsTakenWhenRoomComesInTime(t *testing.T) {
	for name, passes := range map[string]bool{"flows alone": false, "with points that pass": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, g := stuck(t)
				var err error
				var wg sync.WaitGroup
				wg.Go(func() {
					b := newBatch().host("late").add(flowattr.MetricSent, aFlow, ago(0), 7)
					if passes {
						b.metric(flowattr.MetricReceived).Sum().DataPoints().AppendEmpty().SetIntValue(1)
					}
					err = l.ConsumeMetrics(t.Context(), b.md)
				})
				time.Sleep(roomPatience - 1)
				synctest.Wait()
				close(g.open)
				wg.Wait()
				require.NoError(t, err)
				require.NoError(t, l.Shutdown(t.Context()))
				got := g.got()
				assert.Equal(t, int64(7), bytesSent(got[len(got)-1]))
			})
		})
	}
}

func TestNothingOfARefusedBatchIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, g := stuck(t)
		l.mu.Lock()
		before := l.held.points + l.held.waitingPoints
		l.mu.Unlock()
		b := newBatch().host("late").add(flowattr.MetricSent, aFlow, ago(0), 7)
		b.metric(flowattr.MetricReceived).Sum().DataPoints().AppendEmpty().SetIntValue(1) // passes
		at := time.Now()
		require.ErrorIs(t, l.ConsumeMetrics(t.Context(), b.md), errFull)
		assert.Equal(t, roomPatience, time.Since(at))
		assert.Empty(t, g.entered, "what passes was not sent on")
		l.mu.Lock()
		assert.Equal(t, before, l.held.points+l.held.waitingPoints)
		l.mu.Unlock()
		close(g.open)
		require.NoError(t, l.Shutdown(t.Context()))
	})
}

func TestShutdownEndsTheWaitForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := stuck(t)
		var err error
		var wg sync.WaitGroup
		wg.Go(func() { err = l.ConsumeMetrics(t.Context(), sent("late", ago(0), 7)) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		require.ErrorIs(t, l.Shutdown(ctx), context.DeadlineExceeded)
		wg.Wait()
		require.ErrorIs(t, err, errShutdown)
	})
}

// stuck gives a processor whose clock is stuck in the next component and that is full.
func stuck(t *testing.T) (*limiter, gate) {
	t.Helper()
	g := gate{newBackend(), make(chan struct{}, 100), make(chan struct{})}
	cfg := testConfig(1)
	cfg.MaxHeldMiB = 1
	l := newTestLimiterFor(t, cfg, g)
	require.NoError(t, l.ConsumeMetrics(t.Context(), sent("first", ago(0), 1)))
	time.Sleep(defaultRoundTimeout)
	<-g.entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // held, and the wait for the clock given up
	for i := 0; ; i++ {
		l.mu.Lock()
		full := l.held.full()
		l.mu.Unlock()
		if full {
			return l, g
		}
		require.NoError(t, l.ConsumeMetrics(ctx, fullRound(t, fmt.Sprint("host-", i), ago(0), 100, rand.New(rand.NewPCG(1, 2)))))
	}
}
