// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowlimitprocessor/internal/metadata"
)

// simulated is a host whose agent keeps the contract: streams are contiguous, a level is
// reported in every round, with one 0 when it is gone.
type simulated struct {
	name  string
	r     *rand.Rand
	flows []identity
	ends  map[string]pcommon.Timestamp
	open  map[int]int64
	since pcommon.Timestamp
}

func simulate(name string, r *rand.Rand, since pcommon.Timestamp) *simulated {
	s := &simulated{name: name, r: r, ends: map[string]pcommon.Timestamp{}, open: map[int]int64{}, since: since}
	enrich := r.IntN(3) > 0
	for i := range 5 + r.IntN(30) {
		of := clientFlow("10.0.0.1", netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}).String(), 443)
		if enrich && r.IntN(8) > 0 {
			remote := fmt.Sprintf("subnet-%d", r.IntN(3))
			if r.IntN(5) == 0 {
				remote = ""
			}
			var monitors []string
			for m := range r.IntN(3) {
				monitors = append(monitors, fmt.Sprintf("monitor-%d", m))
			}
			of = of.enriched("subnet-a", remote, flowattr.CategoryIntraAZ, monitors...)
		}
		s.flows = append(s.flows, of)
	}
	// What an earlier stage has merged.
	s.flows = append(s.flows,
		func(m pcommon.Map) { (&flowattr.Flow{Overflow: true, Role: flowattr.RoleClient}).Put(m) },
		func(m pcommon.Map) {
			m.PutBool(flowattr.Aggregated, true)
			m.PutStr(localSubnet, "subnet-a")
			m.PutStr(flowattr.Category, flowattr.CategoryIntraAZ)
		})
	return s
}

// interval gives the next interval of a stream.
func (s *simulated) interval(stream string, end pcommon.Timestamp) interval {
	start, ok := s.ends[stream]
	if !ok {
		start = s.since
	}
	s.ends[stream] = end
	return interval{start, end}
}

// round makes the points of a round, shuffled into parts as batches may be cut.
func (s *simulated) round(end pcommon.Timestamp, parts int) []pmetric.Metrics {
	batches := make([]*batchOf, parts)
	for i := range batches {
		batches[i] = newBatch().host(s.name)
	}
	part := func() *batchOf { return batches[s.r.IntN(parts)] }
	for i, of := range s.flows {
		id := fmt.Sprint(i)
		if s.r.IntN(3) > 0 {
			for _, name := range []string{flowattr.MetricSent, flowattr.MetricReceived, flowattr.MetricSegmentsSent} {
				part().add(name, of, s.interval(id+name, end), s.r.Int64N(1<<uint(s.r.IntN(40))))
			}
			part().histogram(flowattr.MetricRTT, of, s.interval(id+"rtt", end), int32(s.r.IntN(80)-64), int32(s.r.IntN(80)-64))
		}
		if s.r.IntN(4) == 0 {
			phase := []string{flowattr.PhaseConnect, flowattr.PhaseEstablished, flowattr.PhaseClose}[s.r.IntN(3)]
			part().add(flowattr.MetricRetransmissions, of, s.interval(id+"retrans"+phase, end), s.r.Int64N(20), flowattr.Phase, phase)
			part().add(flowattr.MetricTimeouts, of, s.interval(id+"timeouts"+phase, end), s.r.Int64N(3), flowattr.Phase, phase)
			part().add(flowattr.MetricConnectionsClosed, of, s.interval(id+"closed", end), s.r.Int64N(3))
			part().add(flowattr.MetricConnectionsClosed, of, s.interval(id+"reset", end), s.r.Int64N(2), flowattr.ErrorType, flowattr.ErrorReset)
		}
		if s.r.IntN(6) == 0 {
			part().add(flowattr.MetricRetransmissions, of, s.interval(id+"retrans tlp", end), s.r.Int64N(9),
				flowattr.Phase, flowattr.PhaseEstablished, flowattr.RetransmitType, "tail_loss_probe")
			for _, limit := range []string{"busy", "receiver_window"} {
				part().add("flow.tcp.time", of, s.interval(id+limit, end), s.r.Int64N(60), flowattr.Limit, limit)
			}
		}
		if before := s.open[i]; before > 0 || s.r.IntN(3) == 0 {
			s.open[i] = s.r.Int64N(4)
			part().add(flowattr.MetricConnectionsOpen, of, s.interval(id+"open", end), s.open[i], flowattr.Phase, flowattr.PhaseEstablished)
		}
	}
	for i := range 6 {
		listener := func(m pcommon.Map) {
			(&flowattr.Flow{Role: flowattr.RoleListener, Local: netip.MustParseAddr("10.0.0.1"), LocalPort: uint16(80 + i)}).Put(m)
		}
		part().add(flowattr.MetricListenDrops, listener, s.interval(fmt.Sprint("listener", i), end), s.r.Int64N(5))
	}
	var out []pmetric.Metrics
	for _, b := range batches {
		if b.md.DataPointCount() > 0 {
			out = append(out, b.md)
		}
	}
	return out
}

// newTestLimiter makes a processor that is shut down with the test.
func newTestLimiter(t *testing.T, cfg *Config, next *backend) *limiter {
	t.Helper()
	l := newTestLimiterFor(t, cfg, next)
	t.Cleanup(func() { assert.NoError(t, l.Shutdown(context.Background())) }) // t's context has ended by then
	return l
}

// newTestLimiterFor leaves the shutdown to the caller.
func newTestLimiterFor(t *testing.T, cfg *Config, next consumer.Metrics) *limiter {
	t.Helper()
	require.NoError(t, cfg.Validate())
	l, err := newLimiter(processortest.NewNopSettings(metadata.Type), cfg, next)
	require.NoError(t, err)
	require.NoError(t, l.Start(t.Context(), componenttest.NewNopHost()))
	return l
}

func testConfig(top int) *Config {
	cfg := createDefaultConfig().(*Config)
	cfg.TopFlows = top
	return cfg
}

func consume(t *testing.T, l *limiter, md pmetric.Metrics) {
	t.Helper()
	md.MarkReadOnly() // as the fan-out does where pipelines share data: nothing may be changed
	require.NoError(t, l.ConsumeMetrics(t.Context(), md))
}

func merged(parts []pmetric.Metrics) pmetric.Metrics {
	all := pmetric.NewMetrics()
	for _, p := range parts {
		for _, rm := range p.ResourceMetrics().All() {
			rm.CopyTo(all.ResourceMetrics().AppendEmpty())
		}
	}
	return all
}

// TestTotalsAreConserved drives random hosts through random rounds: cut into batches,
// mixed between hosts, parts that come after the timeout or after a later round.
func TestTotalsAreConserved(t *testing.T) {
	for seed := range uint64(150) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 3))
				next := newBackend()
				l := newTestLimiter(t, testConfig(1+r.IntN(12)), next)
				if r.IntN(3) == 0 {
					l.mu.Lock()
					l.held.maxBytes = 4096 << r.IntN(6) // rounds leave in pieces
					l.mu.Unlock()
				}
				want := newLedger()
				now := func() pcommon.Timestamp { return pcommon.NewTimestampFromTime(time.Now()) }
				since := now()
				var hosts []*simulated
				for i := range 1 + r.IntN(3) {
					hosts = append(hosts, simulate(fmt.Sprint("host-", i), r, since))
				}
				messy := r.IntN(2) == 0 // parts come late or in the wrong order
				var held []pmetric.Metrics
				for range 6 {
					time.Sleep(30 * time.Second)
					var batches []pmetric.Metrics
					levels := map[string]int64{}
					for _, host := range hosts {
						parts := host.round(now(), 1+r.IntN(3))
						for k, n := range levelsOf(merged(parts)) {
							levels[k] += n
						}
						batches = append(batches, parts...)
					}
					r.Shuffle(len(batches), func(i, j int) { batches[i], batches[j] = batches[j], batches[i] })
					delay := func() bool { return messy && r.IntN(4) == 0 }
					var later []pmetric.Metrics
					for _, md := range batches {
						want.book(md)
						switch {
						case delay():
							later = append(later, md) // past the timeout, within the round
						case delay():
							held = append(held, md) // past the next round
						default:
							consume(t, l, md)
						}
					}
					time.Sleep(10 * time.Second)
					synctest.Wait()
					for _, md := range later {
						consume(t, l, md)
						time.Sleep(10 * time.Second)
						synctest.Wait()
					}
					if len(held) == 0 {
						assert.Equal(t, levels, next.levels(), "the levels that stand")
					}
					if r.IntN(2) == 0 {
						for _, md := range held {
							consume(t, l, md)
						}
						held = nil
					}
				}
				for _, md := range held {
					consume(t, l, md)
				}
				require.NoError(t, l.Shutdown(t.Context()))

				assertSameTotals(t, want, next.ledger)
				assertUnbroken(t, next)
				cumulative, exported := next.totals()
				assert.Equal(t, want.numbers, cumulative, "what deltatocumulative would count")
				assert.Equal(t, want.numbers, exported, "what the Prometheus exporter would count")
			})
		})
		if t.Failed() {
			return
		}
	}
}

// TestRowsAreBounded checks the other half of the contract.
func TestRowsAreBounded(t *testing.T) {
	const top = 7
	synctest.Test(t, func(t *testing.T) {
		next := newBackend()
		l := newTestLimiter(t, testConfig(top), next)
		r := rand.New(rand.NewPCG(1, 4))
		consume(t, l, fullRound(t, "host-1", interval{1, 2}, 1000, r))
		require.NoError(t, l.Shutdown(t.Context()))
		require.Len(t, next.received, 1)
		rows := map[string][]string{}
		for _, s := range samples(next.received[0]) {
			if !slices.Contains(rows[s.metric+s.extras], s.attributes) {
				rows[s.metric+s.extras] = append(rows[s.metric+s.extras], s.attributes)
			}
		}
		for metric, attributes := range rows {
			assert.LessOrEqual(t, len(attributes), top+50, "%s: 50 remote subnets", metric)
		}
	})
}
