// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

func TestLateRoundLeavesAMillisecondAfterTheLastOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := newBackend()
		l := newTestLimiter(t, testConfig(1), next)
		wait := func() {
			time.Sleep(defaultRoundTimeout)
			synctest.Wait()
		}
		at := ago(1)
		consume(t, l, sent("host-1", at, 1))
		wait()
		consume(t, l, sent("host-1", at, 2)) // its other half
		wait()
		consume(t, l, sent("host-1", interval{at.start - 30e9, at.start}, 4)) // the one before it
		wait()
		following := interval{at.end, at.end + 30e9}
		consume(t, l, sent("host-1", following, 8))
		wait()
		got := next.got()
		require.Len(t, got, 4)
		ends := []pcommon.Timestamp{at.end, at.end + lateStep, at.end + 2*lateStep, following.end}
		start := at.start
		for i, md := range got {
			s := samples(md)[0]
			assert.Equal(t, int64(1)<<i, s.number.int())
			assert.Equal(t, ends[i], s.end)
			assert.Equal(t, start, s.start)
			start = s.end
		}
		assertUnbroken(t, next)
	})
}

func TestTheOtherHalfOfARoundAddsToItsLevels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := newBackend()
		l := newTestLimiter(t, testConfig(1), next)
		at := ago(1)
		half := func(peers ...string) pmetric.Metrics {
			b := newBatch().host("host-1")
			for _, peer := range peers {
				b.add(flowattr.MetricConnectionsOpen, flowTo(peer), at, 3, flowattr.Phase, flowattr.PhaseEstablished)
			}
			return b.md
		}
		consume(t, l, half("10.0.1.1", "10.0.1.2", "10.0.1.3")) // one kept, two in a row
		time.Sleep(defaultRoundTimeout)
		synctest.Wait()
		consume(t, l, half("10.0.1.4", "10.0.1.5")) // one kept, one in the same row
		time.Sleep(defaultRoundTimeout)
		synctest.Wait()
		assert.Equal(t, levelsOf(half("1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4", "1.1.1.5")), next.levels())
		assertUnbroken(t, next)
	})
}

func TestForgottenStreamsStartAnewAndLoseNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := newBackend()
		cfg := testConfig(3)
		cfg.MaxStreams = 5
		l := newTestLimiter(t, cfg, next)
		want := newLedger()
		r := rand.New(rand.NewPCG(1, 9))
		since := pcommon.NewTimestampFromTime(time.Now())
		hosts := []*simulated{simulate("host-1", r, since), simulate("host-2", r, since)}
		for range 10 {
			time.Sleep(30 * time.Second)
			for _, h := range hosts {
				for _, md := range h.round(pcommon.NewTimestampFromTime(time.Now()), 1) {
					want.book(md)
					consume(t, l, md)
				}
			}
		}
		require.NoError(t, l.Shutdown(t.Context()))
		assert.LessOrEqual(t, l.emitter.streams.held, cfg.MaxStreams)
		assertSameTotals(t, want, next.ledger)
		for _, rule := range next.broken {
			assert.Contains(t, rule, "does not start where the one before ended")
		}
		cumulative, _ := next.totals()
		assert.Equal(t, want.numbers, cumulative, "deltatocumulative needs no contiguous starts")
		s := l.emitter.streams
		assert.LessOrEqual(t, len(s.rows), cfg.MaxStreams)
		assert.LessOrEqual(t, len(s.resources), len(s.rows))
	})
}

// TestStreamsAgainstAPlainModel compares the table with a slow one.
func TestStreamsAgainstAPlainModel(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	const limit = 20
	s := newStreams(limit)
	type entry struct {
		row     key
		streams []uint64
	}
	var model []entry // most recently used first
	for range 5000 {
		res := s.resource(key{a: uint64(r.IntN(3))})
		id := key{a: res.id.a, b: uint64(r.IntN(12))}
		rw := s.row(res, id)
		i := slices.IndexFunc(model, func(e entry) bool { return e.row == id })
		e := entry{row: id}
		if i >= 0 {
			e = model[i]
			model = slices.Delete(model, i, i+1)
		}
		for range 1 + r.IntN(4) {
			stream := uint64(r.IntN(30))
			at := s.stream(rw, stream)
			if !slices.Contains(e.streams, stream) {
				held := func() int {
					n := len(e.streams)
					for _, m := range model {
						n += len(m.streams)
					}
					return n
				}
				for held() >= limit && len(model) > 0 {
					model = model[:len(model)-1]
				}
				if held() >= limit {
					require.Equal(t, -1, at)
					continue
				}
				e.streams = append(e.streams, stream)
			}
			require.Equal(t, slices.Index(e.streams, stream), at)
		}
		if r.IntN(3) == 0 {
			res.keepLevels(rw)
		}
		model = slices.Insert(model, 0, e)
		total := 0
		for _, m := range model {
			total += len(m.streams)
			require.Contains(t, s.rows, m.row)
		}
		require.Equal(t, total, s.held)
		require.Len(t, s.rows, len(model))
		for _, res := range s.resources {
			for i, rw := range res.levels {
				require.Equal(t, i, rw.levelsAt)
				require.Same(t, rw, s.rows[rw.id], "an evicted row has no levels")
			}
		}
	}
}

func TestIndex(t *testing.T) {
	for _, n := range []int{0, 1, scanned, scanned + 1, 3 * scanned} {
		t.Run(fmt.Sprint(n, " ids"), func(t *testing.T) {
			var x index[uint64]
			for i := range n {
				require.Equal(t, -1, x.find(uint64(i)*7))
				x.add(uint64(i) * 7)
			}
			for i := range n {
				require.Equal(t, i, x.find(uint64(i)*7))
			}
			require.Equal(t, -1, x.find(3))
			require.Equal(t, n > scanned, x.byID != nil)
		})
	}
}
