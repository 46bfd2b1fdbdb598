// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package streams

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// client is the key of a flow of this host to the n-th server.
func client(n int) *bpf.FlowKey {
	k := &bpf.FlowKey{Local: address("::ffff:10.0.0.1"), Peer: address("::ffff:10.1.0.0"), PeerPort: 443, Role: bpf.RoleClient}
	binary.BigEndian.PutUint16(k.Peer[14:], uint16(n))
	return k
}

func histogramOf(us ...uint32) (h bpf.Histogram) {
	for _, n := range us {
		h.Count++
		h.SumUs += uint64(n)
		h.MaxUs = max(h.MaxUs, n)
		h.MinUsInverted = max(h.MinUsInverted, ^n)
		h.Buckets[min(n/10, 87)]++ // not the kernel's buckets: which one does not matter here
	}
	return h
}

const at = pcommon.Timestamp(1_000_000_000_000) // some start

// rounds plays rounds of one second.
type rounds struct {
	t     *testing.T
	table *Table
	n     int
}

func newRounds(t *testing.T, s Settings) *rounds {
	return &rounds{t: t, table: New(s)}
}

func (r *rounds) end() pcommon.Timestamp { return at + pcommon.Timestamp(r.n)*1e9 }

func (r *rounds) play(o Outcome, flows ...any) ([]point, Forgotten) {
	for i := 0; i < len(flows); i += 2 {
		r.table.Add(flows[i].(*bpf.FlowKey), flows[i+1].(*bpf.Flow), nil)
	}
	since := r.end()
	r.n++
	points := round(r.t, r.table, Round{Now: r.end(), Since: since, Levels: true})
	return points, r.table.End(r.end(), o)
}

func settings() Settings {
	return Settings{MaxFlows: 100, IdleTimeout: time.Minute}
}

func TestAPointStartsWhereItsStreamEnded(t *testing.T) {
	r := newRounds(t, settings())
	first, _ := r.play(Delivered, client(1), &bpf.Flow{Sent: 1})
	require.Len(t, first, 1)
	assert.Equal(t, at, first[0].start, "the first round starts with the receiver")

	silent, _ := r.play(Delivered)
	assert.Empty(t, silent)

	again, _ := r.play(Delivered, client(1), &bpf.Flow{Sent: 2, Received: 3})
	require.Len(t, again, 2)
	assert.Equal(t, first[0].time, of(again, flowattr.MetricSent)[0].start)
	assert.Equal(t, r.end()-1e9, of(again, flowattr.MetricReceived)[0].start, "a new stream starts with its round")
}

func TestFlowsThatDifferOnlyInTheirNamespaceAreOneStream(t *testing.T) {
	r := newRounds(t, settings())
	here, there := client(1), client(1)
	here.Netns, there.Netns = 1, 2
	points, _ := r.play(Delivered,
		here, &bpf.Flow{Sent: 1, Open: [3]uint32{0, 2, 0}, Rtt: histogramOf(50, 70)},
		there, &bpf.Flow{Sent: 10, Open: [3]uint32{0, 5, 0}, Rtt: histogramOf(30)})
	require.Len(t, points, 3)
	assert.EqualValues(t, 11, sumOf(points, flowattr.MetricSent))
	assert.EqualValues(t, 7, sumOf(points, flowattr.MetricConnectionsOpen))
	assert.EqualValues(t, 3, sumOf(points, flowattr.MetricRTT))
	assert.InDelta(t, 150e-6, of(points, flowattr.MetricRTT)[0].sum, 1e-12)
}

func TestAGaugeOfAFlowThatVanishedGetsOneZero(t *testing.T) {
	r := newRounds(t, settings())
	levels := func(o Outcome, flows ...any) (values []uint64) {
		points, _ := r.play(o, flows...)
		for _, p := range of(points, flowattr.MetricConnectionsOpen) {
			assert.Zero(t, p.start)
			values = append(values, p.value)
		}
		return values
	}
	assert.Equal(t, []uint64{3}, levels(Delivered, client(1), &bpf.Flow{Open: [3]uint32{0, 3, 0}}))
	assert.Equal(t, []uint64{3}, levels(Delivered, client(1), &bpf.Flow{Open: [3]uint32{0, 3, 0}}), "levels are reported each round")
	assert.Equal(t, []uint64{0, 1}, levels(Delivered, client(1), &bpf.Flow{Open: [3]uint32{0, 0, 1}}), "one phase emptied into another")
	assert.Equal(t, []uint64{0}, levels(Refused), "vanished")
	assert.Equal(t, []uint64{0}, levels(Delivered), "the zero was refused")
	assert.Empty(t, levels(Delivered))
	assert.Empty(t, levels(Delivered))
}

func TestAHarvestThatFailedSaysNothingOfLevels(t *testing.T) {
	table := New(settings())
	table.Add(client(1), &bpf.Flow{Open: [3]uint32{0, 1, 0}}, nil)
	require.Len(t, round(t, table, Round{Now: at + 1, Since: at, Levels: true}), 1)
	table.End(at+1, Delivered)

	table.Add(client(2), &bpf.Flow{Sent: 5, Open: [3]uint32{0, 1, 0}}, nil)
	points := round(t, table, Round{Now: at + 2, Since: at + 1, Levels: false})
	require.Len(t, points, 1)
	assert.EqualValues(t, 5, sumOf(points, flowattr.MetricSent))
	table.End(at+2, Delivered)

	points = round(t, table, Round{Now: at + 3, Since: at + 1, Levels: true})
	require.Len(t, points, 1, "still one zero for the flow that vanished")
	assert.True(t, points[0].gauge)
}

func TestWhatWasRefusedComesWithTheNextRound(t *testing.T) {
	r := newRounds(t, settings())
	r.play(Delivered, client(1), &bpf.Flow{Sent: 1})
	r.play(Refused, client(1), &bpf.Flow{Sent: 10, Rtt: histogramOf(40)})
	points, _ := r.play(Delivered, client(1), &bpf.Flow{Sent: 100, Rtt: histogramOf(20)})
	require.Len(t, points, 2)
	assert.EqualValues(t, 110, sumOf(points, flowattr.MetricSent))
	assert.Equal(t, at+1e9, of(points, flowattr.MetricSent)[0].start)
	assert.EqualValues(t, 2, sumOf(points, flowattr.MetricRTT))
	assert.Equal(t, at+1e9, of(points, flowattr.MetricRTT)[0].start, "the stream began in the round that was refused")
	points, _ = r.play(Delivered)
	assert.Empty(t, points)
}

func TestAPointAfterALossSpansTheGap(t *testing.T) {
	r := newRounds(t, settings())
	r.play(Delivered, client(1), &bpf.Flow{Sent: 1})
	r.play(Lost, client(1), &bpf.Flow{Sent: 10})
	points, _ := r.play(Delivered, client(1), &bpf.Flow{Sent: 100})
	require.Len(t, points, 1)
	assert.EqualValues(t, 100, points[0].value, "what was lost is lost")
	assert.Equal(t, at+1e9, points[0].start, "and the stream goes on")
}

func TestAStreamSilentForTooLongStartsAnew(t *testing.T) {
	s := settings()
	s.IdleTimeout = 3 * time.Second

	t.Run("with its flow", func(t *testing.T) {
		r := newRounds(t, s)
		r.play(Delivered, client(1), &bpf.Flow{Sent: 1, Received: 1})
		for range 3 {
			_, f := r.play(Delivered)
			assert.Zero(t, f)
		}
		assert.Equal(t, 1, r.table.Len())
		_, f := r.play(Delivered)
		assert.Equal(t, Forgotten{Idle: 2}, f)
		assert.Zero(t, r.table.Len())
		points, _ := r.play(Delivered, client(1), &bpf.Flow{Sent: 1})
		assert.Equal(t, r.end()-1e9, points[0].start)
	})
	t.Run("within a flow that reports", func(t *testing.T) {
		r := newRounds(t, s)
		r.play(Delivered, client(1), &bpf.Flow{Sent: 1, Received: 1})
		for range 4 {
			_, f := r.play(Delivered, client(1), &bpf.Flow{Sent: 1})
			assert.Zero(t, f)
		}
		points, f := r.play(Refused, client(1), &bpf.Flow{Received: 1})
		assert.Equal(t, Forgotten{Idle: 1}, f)
		assert.Equal(t, r.end()-1e9, points[0].start)
		points, f = r.play(Delivered)
		assert.Zero(t, f)
		assert.Equal(t, r.end()-2e9, points[0].start, "settled when it began")
	})
	t.Run("but not while it waits to be delivered", func(t *testing.T) {
		r := newRounds(t, s)
		r.play(Refused, client(1), &bpf.Flow{Sent: 1})
		for range 9 {
			_, f := r.play(Refused)
			assert.Zero(t, f)
		}
		points, _ := r.play(Delivered)
		require.Len(t, points, 1)
		assert.Equal(t, at, points[0].start)
	})
	t.Run("nor while a connection is open", func(t *testing.T) {
		r := newRounds(t, s)
		for range 9 {
			_, f := r.play(Delivered, client(1), &bpf.Flow{Open: [3]uint32{0, 1, 0}})
			assert.Zero(t, f)
		}
		assert.Equal(t, 1, r.table.Len())
	})
}

func TestTheFlowsSilentLongestAreForgottenFirst(t *testing.T) {
	s := settings()
	s.MaxFlows = 3
	r := newRounds(t, s)
	// The overflow flows have places of their own, which other flows may use until then.
	for n := range s.MaxFlows + overflowFlows {
		_, f := r.play(Delivered, client(n), &bpf.Flow{Sent: 1})
		assert.Zero(t, f)
	}
	_, f := r.play(Delivered, client(100), &bpf.Flow{Sent: 1}, client(0), &bpf.Flow{Sent: 1})
	assert.Equal(t, Forgotten{Capacity: 1}, f)
	assert.Equal(t, s.MaxFlows+overflowFlows, r.table.Len())

	points, _ := r.play(Delivered, client(0), &bpf.Flow{Sent: 1}, client(1), &bpf.Flow{Sent: 1}, client(2), &bpf.Flow{Sent: 1})
	require.Len(t, points, 3)
	starts := map[string]pcommon.Timestamp{}
	for _, p := range points {
		starts[p.stream] = p.start
	}
	stream := flowattr.MetricSent + "{flow.role=client,network.local.address=10.0.0.1,network.peer.address=10.1.0.%d,network.peer.port=443,network.transport=tcp,network.type=ipv4}"
	assert.Equal(t, map[string]pcommon.Timestamp{
		fmt.Sprintf(stream, 0): r.end() - 1e9, // reported in the last round
		fmt.Sprintf(stream, 1): r.end() - 1e9, // forgotten: starts with this round
		fmt.Sprintf(stream, 2): at + 3e9,      // goes on
	}, starts)
}

func TestFlowsWithoutRoomAreCountedInTheOverflowFlow(t *testing.T) {
	s := settings()
	s.MaxFlows = 2
	for name, c := range map[string]struct {
		key  *bpf.FlowKey
		want string
	}{
		"IPv4":     {client(7), "{flow.overflow=true,flow.role=client,network.type=ipv4}"},
		"IPv6":     {&bpf.FlowKey{Local: address("2001:db8::1"), Role: bpf.RoleServer}, "{flow.overflow=true,flow.role=server,network.type=ipv6}"},
		"listener": {&bpf.FlowKey{Local: address("::"), Role: bpf.RoleListener}, "{flow.overflow=true,flow.role=unknown,network.type=ipv6}"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRounds(t, s)
			r.play(Refused, client(1), &bpf.Flow{Sent: 1}, client(2), &bpf.Flow{Sent: 1}) // both wait
			points, _ := r.play(Delivered, c.key, &bpf.Flow{Sent: 40}, client(1), &bpf.Flow{Sent: 2})
			require.Len(t, points, 3)
			assert.EqualValues(t, 44, sumOf(points, flowattr.MetricSent))
			assert.EqualValues(t, 1, r.table.Overflows())
			found := false
			for _, p := range points {
				found = found || p.stream == flowattr.MetricSent+c.want && p.value == 40
			}
			assert.True(t, found, "%+v", points)

			points, _ = r.play(Delivered, c.key, &bpf.Flow{Sent: 3})
			require.Len(t, points, 1)
			assert.NotContains(t, points[0].stream, flowattr.Overflow, "there is room again")
		})
	}
}

// While the pipeline takes nothing, what is held must not grow without end: neither by
// what is to be delivered, nor by gauges that wait for their zero.
func TestMemoryIsBoundedWhileThePipelineRefuses(t *testing.T) {
	s := settings()
	s.MaxFlows = 10
	r := newRounds(t, s)
	var sent uint64
	for n := range 100 {
		var flows []any
		for i := range s.MaxFlows {
			f := &bpf.Flow{Open: [3]uint32{0, 1, 0}}
			if n%3 == 0 {
				f.Sent = 1
				sent++
			}
			flows = append(flows, client(n*s.MaxFlows+i), f)
		}
		r.play(Refused, flows...)
		assert.LessOrEqual(t, r.table.Len(), 2*s.MaxFlows+2*overflowFlows)
	}
	points, _ := r.play(Delivered)
	assert.Equal(t, sent, sumOf(points, flowattr.MetricSent))
	assert.Zero(t, sumOf(points, flowattr.MetricConnectionsOpen))
	r.play(Delivered)
	assert.LessOrEqual(t, r.table.Len(), s.MaxFlows+overflowFlows)
}

func TestCumulativePointsAreTotalsSinceTheirStreamBegan(t *testing.T) {
	s := settings()
	s.Cumulative = true
	s.IdleTimeout = 3 * time.Second
	r := newRounds(t, s)
	r.play(Delivered, client(1), &bpf.Flow{Sent: 1, Rtt: histogramOf(50)})
	r.play(Refused, client(1), &bpf.Flow{Sent: 10, Rtt: histogramOf(10)})
	points, _ := r.play(Delivered, client(1), &bpf.Flow{Received: 5})
	require.Len(t, points, 3)
	assert.EqualValues(t, 11, sumOf(points, flowattr.MetricSent))
	assert.EqualValues(t, 2, sumOf(points, flowattr.MetricRTT))
	assert.Equal(t, at, of(points, flowattr.MetricSent)[0].start)
	assert.Equal(t, at, of(points, flowattr.MetricRTT)[0].start)
	assert.Equal(t, at+2e9, of(points, flowattr.MetricReceived)[0].start)

	points, _ = r.play(Lost)
	assert.Len(t, points, 3, "totals of silent streams are reported: they would count as stale")
	for range 3 {
		points, f := r.play(Refused)
		assert.Len(t, points, 3)
		assert.Zero(t, f, "not before its last total is delivered")
	}
	_, f := r.play(Delivered)
	assert.Equal(t, Forgotten{Idle: 3}, f)
	points, _ = r.play(Delivered)
	assert.Empty(t, points)
}

func TestCumulativeFlowsPastTheLimitShareTheOverflowFlow(t *testing.T) {
	s := settings()
	s.Cumulative = true
	s.MaxFlows = 2
	r := newRounds(t, s)
	var want uint64
	for n := range 20 {
		want += uint64(n)
		points, f := r.play(Delivered, client(n), &bpf.Flow{Sent: uint64(n)})
		assert.Equal(t, want, sumOf(points, flowattr.MetricSent))
		assert.Zero(t, f)
	}
	assert.Equal(t, 3, r.table.Len())
}

func TestAHistogramHoldsTheUsedBucketsOnly(t *testing.T) {
	table := New(settings())
	f := &bpf.Flow{Rtt: histogramOf(25, 57, 51)}
	table.Add(client(1), f, nil)
	ms := pmetric.NewMetricSlice()
	require.Equal(t, 1, table.Write(ms, Round{Now: at + 1, Since: at, Levels: true}))
	m := ms.At(0)
	assert.Equal(t, pmetric.AggregationTemporalityDelta, m.ExponentialHistogram().AggregationTemporality())
	p := m.ExponentialHistogram().DataPoints().At(0)
	assert.EqualValues(t, 2, p.Scale())
	assert.EqualValues(t, -64+2, p.Positive().Offset())
	assert.Equal(t, []uint64{1, 0, 0, 2}, p.Positive().BucketCounts().AsRaw())
	assert.EqualValues(t, 3, p.Count())
	assert.Equal(t, 133e-6, p.Sum())
	assert.Equal(t, 25e-6, p.Min())
	assert.Equal(t, 57e-6, p.Max())
}

func TestAFlowWithNothingToReportTakesNoRoom(t *testing.T) {
	r := newRounds(t, settings())
	points, _ := r.play(Delivered, client(1), &bpf.Flow{})
	assert.Empty(t, points)
	assert.Zero(t, r.table.Len())
}
