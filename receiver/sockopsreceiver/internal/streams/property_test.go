// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package streams

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
)

// random deltas of a kernel: more flows than there is room for, in several namespaces,
// of all kinds, most counters of most flows zero.
func randomFlow(r *rand.Rand) (bpf.FlowKey, bpf.Flow) {
	k := *client(r.IntN(30))
	k.Netns = r.Uint32N(3)
	k.Role = uint8(r.IntN(4))
	if r.IntN(10) == 0 {
		k = bpf.FlowKey{Kind: uint8(1 + r.IntN(2)), Role: uint8(r.IntN(4))}
	}
	if r.IntN(4) == 0 {
		k.Local = address("2001:db8::1")
	}
	var f bpf.Flow
	some := func() uint64 {
		if r.IntN(3) > 0 {
			return 0
		}
		return r.Uint64N(1000)
	}
	for _, n := range []*uint64{
		&f.Sent, &f.Received, &f.SegmentsSent, &f.SegmentsReceived,
		&f.Retransmissions[r.IntN(3)], &f.Timeouts[r.IntN(3)],
	} {
		*n = some()
	}
	for _, n := range []*uint32{
		&f.Attempted, &f.Opened, &f.Active, &f.Retransmitting, &f.ListenDrops,
		&f.Failed[r.IntN(5)], &f.Closed[r.IntN(5)], &f.Open[r.IntN(3)],
	} {
		*n = uint32(some())
	}
	for range r.IntN(3) {
		f.Rtt = histogramOf(1+r.Uint32N(2000), 1+r.Uint32N(500))
	}
	if r.IntN(4) == 0 {
		f.Connect = histogramOf(1 + r.Uint32N(2000))
	}
	return k, f
}

// ledger adds up a metric's values: of the kernel on one side, of points on the other.
type ledger map[string]uint64

func (l ledger) kernel(f *bpf.Flow) {
	var sums [numSums]uint64
	new(Table).sumsOf(f, nil, &sums)
	for i, n := range sums {
		if n != 0 {
			l[fmt.Sprint("sum ", i)] += n
		}
	}
	for name, h := range map[string]*bpf.Histogram{"rtt": &f.Rtt, "connect": &f.Connect} {
		if h.Count != 0 {
			l[name+" count"] += h.Count
			l[name+" us"] += h.SumUs
		}
	}
}

func (l ledger) points(t *testing.T, points []point) {
	for _, p := range points {
		if p.gauge {
			continue
		}
		i, histogram := slotOf(t, p)
		if !histogram {
			l[fmt.Sprint("sum ", i)] += p.value
			continue
		}
		name := []string{rtt: "rtt", connect: "connect"}[i]
		l[name+" count"] += p.value
		l[name+" us"] += uint64(p.sum*1e6 + 0.5)
	}
}

// TestConservationAndContiguity plays random rounds against a pipeline that takes,
// refuses and loses them at random, and checks after each one, for every counter: what the
// kernel counted is what was delivered, what was lost, and what is held. And for every
// stream: a point starts where the one before ended, unless the stream was forgotten.
func TestConservationAndContiguity(t *testing.T) {
	for seed := range uint64(25) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			s := Settings{
				MaxFlows:    1 + r.IntN(40),
				IdleTimeout: time.Duration(1+r.IntN(20)) * time.Second,
			}
			table := New(s)
			in, out := ledger{}, ledger{}
			ends := map[string]pcommon.Timestamp{}
			restarted, forgotten := 0, 0

			now := at
			for n := range 60 {
				for range r.IntN(40) {
					k, f := randomFlow(r)
					if n >= 55 {
						break // let it run dry
					}
					in.kernel(&f)
					table.Add(&k, &f, nil)
				}
				since := now
				now += pcommon.Timestamp(1 + r.Int64N(2e9))
				points := round(t, table, Round{Now: now, Since: since, Levels: true})
				outcome := Outcome(r.IntN(3))
				if n >= 55 {
					outcome = Delivered
				}
				for _, p := range points {
					if p.gauge {
						continue
					}
					require.NotZero(t, p.value, "a zero delta: %s", p.stream)
					require.Less(t, p.start, p.time)
					end, known := ends[p.stream]
					if known && p.start != end {
						require.Greater(t, p.start, end, "overlap: %s", p.stream)
						if outcome == Delivered {
							restarted++
						}
					}
					if outcome == Delivered {
						ends[p.stream] = p.time
					}
				}
				if outcome != Refused {
					out.points(t, points) // delivered, or lost with its numbers
				}
				f := table.End(now, outcome)
				forgotten += f.Idle + f.Capacity
				require.LessOrEqual(t, table.Len(), 2*s.MaxFlows+2*overflowFlows)
				if outcome == Delivered {
					require.Equal(t, in, out, "round %d", n)
				}
			}
			require.LessOrEqual(t, restarted, forgotten, "streams that started anew without being forgotten")
		})
	}
}

// TestCumulativeTotals: the last total of each stream is all that was counted, whatever
// the pipeline did in between.
func TestCumulativeTotals(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 2))
			table := New(Settings{MaxFlows: 1 + r.IntN(40), IdleTimeout: time.Hour, Cumulative: true})
			in := ledger{}
			starts, values := map[string]pcommon.Timestamp{}, map[string]uint64{}
			now := at
			for range 40 {
				for range r.IntN(30) {
					k, f := randomFlow(r)
					in.kernel(&f)
					table.Add(&k, &f, nil)
				}
				since := now
				now += 1e9
				points := round(t, table, Round{Now: now, Since: since, Levels: true})
				out := ledger{}
				out.points(t, points)
				for k, n := range in {
					require.Equal(t, n, out[k], k)
				}
				for _, p := range points {
					if p.gauge {
						continue
					}
					if start, known := starts[p.stream]; known {
						require.Equal(t, start, p.start)
					}
					require.GreaterOrEqual(t, p.value, values[p.stream])
					starts[p.stream], values[p.stream] = p.start, p.value
				}
				table.End(now, Outcome(r.IntN(3)))
			}
		})
	}
}
