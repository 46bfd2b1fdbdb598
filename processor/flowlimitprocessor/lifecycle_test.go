// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/client"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowlimitprocessor/internal/metadata"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowlimitprocessor/internal/metadatatest"
)

var aFlow = flowTo("10.0.1.1")

// flowTo is a flow of a client on 10.0.0.1.
func flowTo(peer string) identity { return clientFlow("10.0.0.1", peer, 443) }

// sent is a batch with one point of one flow.
func sent(host string, at interval, bytes int64) pmetric.Metrics {
	return newBatch().host(host).add(flowattr.MetricSent, aFlow, at, bytes).md
}

// ago gives an interval of 30 s that ended that many rounds ago.
func ago(rounds int) interval {
	end := time.Now().Add(-time.Duration(rounds) * 30 * time.Second)
	return interval{pcommon.NewTimestampFromTime(end.Add(-30 * time.Second)), pcommon.NewTimestampFromTime(end)}
}

func TestVerifyShutdown(t *testing.T) {
	processortest.VerifyShutdown(t, NewFactory(), NewFactory().CreateDefaultConfig())
}

func TestShutdownIsSafeTwiceAndWithoutStart(t *testing.T) {
	for _, start := range []bool{false, true} {
		l, err := newLimiter(processortest.NewNopSettings(metadata.Type), testConfig(1), newBackend())
		require.NoError(t, err)
		if start {
			require.NoError(t, l.Start(t.Context(), componenttest.NewNopHost()))
		}
		require.NoError(t, l.Shutdown(t.Context()))
		require.NoError(t, l.Shutdown(t.Context()))
	}
}

func TestStartDoesNotDependOnItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := newBackend()
		l, err := newLimiter(processortest.NewNopSettings(metadata.Type), testConfig(1), next)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		require.NoError(t, l.Start(ctx, componenttest.NewNopHost()))
		cancel()
		consume(t, l, sent("host-1", ago(0), 1))
		time.Sleep(defaultRoundTimeout)
		synctest.Wait()
		assert.Len(t, next.got(), 1)
		require.NoError(t, l.Shutdown(t.Context()))
	})
}

func TestShutdownSendsWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := newBackend()
		l := newTestLimiter(t, testConfig(1), next)
		consume(t, l, sent("host-1", ago(0), 1))
		consume(t, l, sent("host-2", ago(0), 1))
		assert.Empty(t, next.got())
		require.NoError(t, l.Shutdown(t.Context()))
		assert.Len(t, next.got(), 2)
		require.ErrorIs(t, l.ConsumeMetrics(t.Context(), sent("host-1", ago(-1), 1)), errShutdown)
		assert.Len(t, next.got(), 2)
	})
}

func TestRoundLeavesWhenALaterOneComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := newBackend()
		l := newTestLimiter(t, testConfig(1), next)
		consume(t, l, sent("host-1", ago(2), 1))
		consume(t, l, sent("host-2", ago(1), 1))
		assert.Empty(t, next.got(), "another host's round says nothing")
		consume(t, l, sent("host-1", ago(1), 2))
		require.Len(t, next.got(), 1)
		assert.Equal(t, int64(1), samples(next.got()[0])[0].number.int())
	})
}

func TestRoundLeavesWhenItsFirstPointIsOldEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := newBackend()
		l := newTestLimiter(t, testConfig(1), next)
		at := ago(0)
		consume(t, l, sent("host-1", at, 1))
		time.Sleep(3 * time.Second)
		consume(t, l, sent("host-2", at, 10))
		consume(t, l, sent("host-1", at, 2)) // does not make it wait longer
		time.Sleep(2*time.Second - 1)
		synctest.Wait()
		assert.Empty(t, next.got())
		time.Sleep(1)
		synctest.Wait()
		require.Len(t, next.got(), 1)
		assert.Equal(t, int64(3), samples(next.got()[0])[0].number.int())
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.Len(t, next.got(), 2)
		assert.Equal(t, int64(10), samples(next.got()[1])[0].number.int())
	})
}

func TestRoundsOfOneBatchLeaveInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := newBackend()
		l := newTestLimiter(t, testConfig(1), next)
		b := newBatch().host("host-1")
		// Metric by metric, as an exporter's queue puts rounds together.
		for _, name := range []string{flowattr.MetricSent, flowattr.MetricReceived} {
			for _, round := range []int{1, 3, 2} {
				b.add(name, aFlow, ago(round), int64(round))
			}
		}
		b.host("host-1").add(flowattr.MetricSegmentsSent, aFlow, ago(3), 3) // the same resource again
		consume(t, l, b.md)
		require.Len(t, next.got(), 2)
		assert.Len(t, samples(next.got()[0]), 3)
		assert.Len(t, samples(next.got()[1]), 2)
		require.NoError(t, l.Shutdown(t.Context()))
		require.Len(t, next.got(), 3)
		assertUnbroken(t, next)
	})
}

func TestErrorsOfTheNextComponent(t *testing.T) {
	refuses := errors.New("queue is full")

	t.Run("about what passes are returned as they are and nothing is held", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			next := newBackend()
			l := newTestLimiter(t, testConfig(1), next)
			b := newBatch().host("host-1").add(flowattr.MetricSent, aFlow, ago(0), 7)
			b.add(flowattr.MetricSent, func(m pcommon.Map) { m.PutStr("queue", "q") }, ago(0), 1)
			next.err = refuses
			err := l.ConsumeMetrics(t.Context(), b.md)
			require.ErrorIs(t, err, refuses)
			assert.False(t, consumererror.IsPermanent(err))
			next.err = nil
			consume(t, l, b.md) // the retry
			require.NoError(t, l.Shutdown(t.Context()))
			total := int64(0)
			for _, md := range next.got() {
				for _, s := range samples(md) {
					total += s.number.int()
				}
			}
			assert.Equal(t, int64(8), total)
		})
	})

	t.Run("about a round are none of the batch that releases it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			next := newBackend()
			l := newTestLimiter(t, testConfig(1), next)
			consume(t, l, sent("host-1", ago(2), 1))
			next.err = refuses
			require.NoError(t, l.ConsumeMetrics(t.Context(), sent("host-1", ago(1), 2)))
			next.err = nil
			require.NoError(t, l.Shutdown(t.Context()))
			require.Len(t, next.got(), 1)
			assert.Equal(t, int64(2), samples(next.got()[0])[0].number.int())
		})
	})

	t.Run("at shutdown are returned", func(t *testing.T) {
		next := newBackend()
		l, err := newLimiter(processortest.NewNopSettings(metadata.Type), testConfig(1), next)
		require.NoError(t, err)
		require.NoError(t, l.ConsumeMetrics(t.Context(), sent("host-1", ago(0), 1)))
		next.err = refuses
		require.ErrorIs(t, l.Shutdown(t.Context()), refuses)
	})
}

func TestStreamGoesOnWhereTheLastPointThatWasTakenEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := newBackend()
		l := newTestLimiter(t, testConfig(1), next)
		consume(t, l, sent("host-1", ago(4), 1))
		consume(t, l, sent("host-1", ago(3), 1)) // sends the one before
		next.err = errors.New("no")
		consume(t, l, sent("host-1", ago(2), 1))
		next.err = nil
		require.NoError(t, l.Shutdown(t.Context()))
		require.Len(t, next.got(), 2)
		last := samples(next.got()[1])[0]
		assert.Equal(t, ago(4).end, last.start)
		assert.Equal(t, ago(2).end, last.end)
	})
}

// gate is a next component that blocks until it is opened or its context ends.
type gate struct {
	*backend
	entered chan struct{}
	open    chan struct{}
}

func (g gate) ConsumeMetrics(ctx context.Context, md pmetric.Metrics) error {
	g.entered <- struct{}{}
	select {
	case <-g.open:
		return g.backend.ConsumeMetrics(ctx, md)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestShutdownHonorsItsDeadlineAndCountsWhatIsLost(t *testing.T) {
	tel := componenttest.NewTelemetry()
	defer func() { require.NoError(t, tel.Shutdown(t.Context())) }()
	synctest.Test(t, func(t *testing.T) {
		g := gate{newBackend(), make(chan struct{}, 10), make(chan struct{})}
		l, err := newLimiter(metadatatest.NewSettings(tel), testConfig(1), g)
		require.NoError(t, err)
		require.NoError(t, l.Start(t.Context(), componenttest.NewNopHost()))
		require.NoError(t, l.ConsumeMetrics(t.Context(), sent("host-1", ago(0), 1)))
		time.Sleep(defaultRoundTimeout)
		<-g.entered // the clock's goroutine is stuck
		l.mu.Lock() // as ConsumeMetrics does, which would wait for that goroutine
		b := &batch{}
		late := sent("host-2", ago(0), 1)
		b.parse(l.hasher, late)
		l.held.add(b, late, time.Now())
		l.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, l.Shutdown(ctx), context.DeadlineExceeded)
		synctest.Wait() // it was let go: the bubble would not end otherwise
	})
	metadatatest.AssertEqualProcessorFlowlimitPointsLost(t, tel, value(2), noTime)
}

func TestBatchesAreTakenWhileARoundIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate{newBackend(), make(chan struct{}, 10), make(chan struct{})}
		l, err := newLimiter(processortest.NewNopSettings(metadata.Type), testConfig(1), g)
		require.NoError(t, err)
		require.NoError(t, l.Start(t.Context(), componenttest.NewNopHost()))
		require.NoError(t, l.ConsumeMetrics(t.Context(), sent("host-1", ago(2), 1)))
		var wg sync.WaitGroup
		wg.Go(func() { assert.NoError(t, l.ConsumeMetrics(t.Context(), sent("host-1", ago(1), 2))) })
		<-g.entered
		require.NoError(t, l.ConsumeMetrics(t.Context(), sent("host-2", ago(1), 3)))
		wg.Go(func() { assert.NoError(t, l.ConsumeMetrics(t.Context(), sent("host-1", ago(0), 4))) })
		synctest.Wait()
		close(g.open)
		wg.Wait()
		require.NoError(t, l.Shutdown(t.Context()))
		assert.Len(t, g.got(), 4)
		assertUnbroken(t, g.backend)
	})
}

func TestContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var contexts []context.Context
		next, err := consumer.NewMetrics(func(ctx context.Context, _ pmetric.Metrics) error {
			contexts = append(contexts, ctx)
			return nil
		})
		require.NoError(t, err)
		l, err := newLimiter(processortest.NewNopSettings(metadata.Type), testConfig(1), next)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(client.NewContext(t.Context(), client.Info{Metadata: client.NewMetadata(map[string][]string{"tenant": {"a"}})}))
		passes := newBatch().host("host-1").add(flowattr.MetricSent, func(m pcommon.Map) { m.PutStr("queue", "q") }, ago(0), 1)
		require.NoError(t, l.ConsumeMetrics(ctx, passes.md))
		require.Len(t, contexts, 1)
		assert.Equal(t, ctx, contexts[0], "what passes keeps its context")

		require.NoError(t, l.ConsumeMetrics(ctx, sent("host-1", ago(2), 1)))
		cancel()
		require.NoError(t, l.ConsumeMetrics(ctx, sent("host-1", ago(1), 1)))
		require.Len(t, contexts, 2)
		assert.NoError(t, contexts[1].Err(), "a round does not end with the caller that released it")
		assert.Empty(t, client.FromContext(contexts[1]).Metadata.Get("tenant"))
		require.NoError(t, l.Shutdown(t.Context()))
	})
}

// TestPointsOfOneStreamAddUp has a stream twice in a round, as after a stage that removed
// attributes, with values of both types.
func TestPointsOfOneStreamAddUp(t *testing.T) {
	next := newBackend()
	l, err := newLimiter(processortest.NewNopSettings(metadata.Type), testConfig(1), next)
	require.NoError(t, err)
	at := ago(1)
	earlier := interval{at.start - 1e9, at.end}
	b := newBatch().host("host-1")
	b.add(flowattr.MetricSent, aFlow, at, 1<<62).add(flowattr.MetricSent, aFlow, earlier, 3)
	b.add(flowattr.MetricConnectionsOpen, aFlow, at, 2).add(flowattr.MetricConnectionsOpen, aFlow, at, 5)
	b.add(flowattr.MetricReceived, aFlow, at, 2).add(flowattr.MetricReceived, aFlow, at, 0)
	b.metric(flowattr.MetricReceived).Sum().DataPoints().At(1).SetDoubleValue(0.5)
	b.histogram(flowattr.MetricRTT, aFlow, at, 1, 2).histogram(flowattr.MetricRTT, aFlow, earlier, 2, 300)
	consume(t, l, b.md)
	require.NoError(t, l.Shutdown(t.Context()))
	got := samples(next.got()[0])
	require.Len(t, got, 4)
	assert.Equal(t, intNumber(1<<62+3), got[0].number)
	assert.Equal(t, earlier.start, got[0].start)
	assert.Equal(t, intNumber(7), got[1].number)
	assert.Equal(t, doubleNumber(2.5), got[2].number)
	assert.Equal(t, uint64(4), got[3].histogram.Count())
	assert.Equal(t, earlier.start, got[3].start)
	assert.Equal(t, int32(1), got[3].histogram.Scale(), "300 buckets do not fit")
}

func TestMetadataOfFactory(t *testing.T) {
	p, err := NewFactory().CreateMetrics(t.Context(), processortest.NewNopSettings(metadata.Type), NewFactory().CreateDefaultConfig(), newBackend())
	require.NoError(t, err)
	assert.False(t, p.Capabilities().MutatesData)
	require.NoError(t, p.Shutdown(t.Context()))
}
