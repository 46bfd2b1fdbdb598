// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// nat is a connection from a client to a virtual address that becomes a backend's.
func nat(client, virtual, backend string, id uint32) *connection {
	return &connection{
		original: tupleOf(ap(client), ap(virtual)),
		reply:    tupleOf(ap(backend), ap(client)),
		id:       id,
	}
}

const (
	client  = "10.0.0.1:40000"
	virtual = "172.20.0.10:443"
	backend = "10.0.0.2:8443"
	another = "10.0.0.3:8443"
)

// ask looks a client up, of a namespace that is nobody's, with namespace 1 as the
// collector's.
func ask(tb *table, local, peer string) (string, Result) {
	beyond, _, result := tb.resolve(tupleOf(ap(local), ap(peer)), 99, 1)
	return beyond.destination().String(), result
}

var (
	event  = origin{netns: 1, round: 1}
	dumped = origin{netns: 1, round: 1, dump: true}
)

const (
	second    = time.Second
	retention = 100 * second
)

func TestWhatEventsAndDumpsMean(t *testing.T) {
	for _, tt := range []struct {
		name   string
		do     func(tb *table)
		peer   string
		result Result
	}{
		{
			name:   "a connection that began is known",
			do:     func(tb *table) { tb.open(nat(client, virtual, backend, 1), event, 0) },
			peer:   backend,
			result: Translated,
		},
		{
			name: "one that ended is known until the retention is over",
			do: func(tb *table) {
				tb.open(nat(client, virtual, backend, 1), event, 0)
				tb.close(nat(client, virtual, backend, 1), event, second)
				tb.expire(second + retention)
			},
			peer:   backend,
			result: Translated,
		},
		{
			name: "and then forgotten",
			do: func(tb *table) {
				tb.open(nat(client, virtual, backend, 1), event, 0)
				tb.close(nat(client, virtual, backend, 1), event, second)
				tb.expire(second + retention + 1)
			},
			peer:   virtual,
			result: NotTranslated,
		},
		{
			name: "one of which only the end is told is known for a while",
			do: func(tb *table) {
				tb.close(nat(client, virtual, backend, 1), event, second)
			},
			peer:   backend,
			result: Translated,
		},
		{
			name: "a line of a dump that was read before the end does not bring it back",
			do: func(tb *table) {
				from := dumped
				from.began = second
				tb.close(nat(client, virtual, backend, 1), event, 2*second)
				tb.open(nat(client, virtual, backend, 1), from, 3*second)
				tb.expire(2*second + retention + 1)
			},
			peer:   virtual,
			result: NotTranslated,
		},
		{
			name: "a dump brings back what an earlier one had missed",
			do: func(tb *table) {
				tb.open(nat(client, virtual, backend, 1), dumped, 0)
				tb.sweep(1, 2, second)
				tb.open(nat(client, virtual, backend, 1), origin{netns: 1, round: 3, began: 2 * second, dump: true}, 3*second)
				tb.sweep(1, 3, 4*second)
				tb.expire(5*second + retention)
			},
			peer:   backend,
			result: Translated,
		},
		{
			name: "a port that is used again belongs to the new connection",
			do: func(tb *table) {
				tb.open(nat(client, virtual, backend, 1), event, 0)
				tb.close(nat(client, virtual, backend, 1), event, second)
				tb.open(nat(client, virtual, another, 2), event, 2*second)
			},
			peer:   another,
			result: Translated,
		},
		{
			name: "also when the end of the old one was missed",
			do: func(tb *table) {
				tb.open(nat(client, virtual, backend, 1), event, 0)
				tb.open(nat(client, virtual, another, 2), event, 2*second)
			},
			peer:   another,
			result: Translated,
		},
		{
			name: "also when the end of the old one comes late",
			do: func(tb *table) {
				tb.open(nat(client, virtual, backend, 1), event, 0)
				tb.open(nat(client, virtual, another, 2), event, 2*second)
				tb.close(nat(client, virtual, backend, 1), event, 3*second)
			},
			peer:   another,
			result: Translated,
		},
		{
			name: "a dump that was read before the port was used again does not undo it",
			do: func(tb *table) {
				tb.open(nat(client, virtual, another, 2), event, 2*second)
				tb.open(nat(client, virtual, backend, 1), dumped, 3*second)
			},
			peer:   another,
			result: Translated,
		},
		{
			name: "of two that ended, the newer one is meant",
			do: func(tb *table) {
				tb.open(nat(client, virtual, backend, 1), event, 0)
				tb.close(nat(client, virtual, backend, 1), event, second)
				tb.open(nat(client, virtual, another, 2), event, 2*second)
				tb.close(nat(client, virtual, another, 2), event, 3*second)
			},
			peer:   another,
			result: Translated,
		},
		{
			name: "the late end of an earlier connection with the same addresses changes nothing",
			do: func(tb *table) {
				tb.open(nat(client, virtual, backend, 2), event, 0)
				tb.close(nat(client, virtual, backend, 1), event, second)
				tb.expire(second + retention + 1)
			},
			peer:   backend,
			result: Translated,
		},
		{
			name: "what a dump has not shown has ended",
			do: func(tb *table) {
				tb.open(nat(client, virtual, backend, 1), dumped, 0)
				tb.sweep(1, 2, second)
				tb.expire(second + retention + 1)
			},
			peer:   virtual,
			result: NotTranslated,
		},
		{
			name: "unless it began meanwhile",
			do: func(tb *table) {
				tb.open(nat(client, virtual, backend, 1), origin{netns: 1, round: 2}, 0)
				tb.sweep(1, 2, second)
				tb.expire(second + retention + 1)
			},
			peer:   backend,
			result: Translated,
		},
		{
			name: "a dump of one namespace says nothing of another",
			do: func(tb *table) {
				tb.open(nat(client, virtual, backend, 1), event, 0)
				tb.sweep(2, 5, second)
				tb.leave(3, second)
				tb.expire(second + retention + 1)
			},
			peer:   backend,
			result: Translated,
		},
		{
			name: "what was in a namespace ends with it",
			do: func(tb *table) {
				tb.open(nat(client, virtual, backend, 1), event, 0)
				tb.leave(1, second)
				tb.expire(second + retention + 1)
			},
			peer:   virtual,
			result: NotTranslated,
		},
		{
			name: "the same addresses in two zones, translated differently, tell nothing",
			do: func(tb *table) {
				a, b := nat(client, virtual, backend, 1), nat(client, virtual, another, 2)
				b.zone = 7
				tb.open(a, event, 0)
				tb.open(b, event, 0)
			},
			result: Ambiguous,
		},
		{
			name: "in two zones, translated alike, they tell",
			do: func(tb *table) {
				a, b := nat(client, virtual, backend, 1), nat(client, virtual, backend, 2)
				b.zone = 7
				tb.open(a, event, 0)
				tb.open(b, event, 0)
			},
			peer:   backend,
			result: Translated,
		},
		{
			name: "the socket's own namespace comes first",
			do: func(tb *table) {
				tb.open(nat(client, virtual, another, 1), event, 0)
				tb.open(nat(client, virtual, backend, 2), origin{netns: 99}, 0)
				tb.open(nat(client, virtual, another, 3), origin{netns: 5}, 0)
			},
			peer:   backend,
			result: Translated,
		},
		{
			name: "the collector's comes second",
			do: func(tb *table) {
				tb.open(nat(client, virtual, another, 1), origin{netns: 5}, 0)
				tb.open(nat(client, virtual, backend, 2), event, 0)
			},
			peer:   backend,
			result: Translated,
		},
		{
			name: "the others must agree",
			do: func(tb *table) {
				tb.open(nat(client, virtual, another, 1), origin{netns: 5}, 0)
				tb.open(nat(client, virtual, backend, 2), origin{netns: 6}, 0)
			},
			result: Ambiguous,
		},
		{
			name: "and do, if all say the same",
			do: func(tb *table) {
				tb.open(nat(client, virtual, backend, 1), origin{netns: 5}, 0)
				tb.open(nat(client, virtual, backend, 2), origin{netns: 6}, 0)
			},
			peer:   backend,
			result: Translated,
		},
		{
			name: "one that lives counts before one of another namespace that has ended",
			do: func(tb *table) {
				tb.open(nat(client, virtual, backend, 1), origin{netns: 5}, 0)
				tb.open(nat(client, virtual, another, 2), origin{netns: 6}, 0)
				tb.close(nat(client, virtual, another, 2), origin{netns: 6}, second)
			},
			peer:   backend,
			result: Translated,
		},
		{
			name: "a second translation is followed in another namespace",
			do: func(tb *table) {
				tb.open(nat(client, virtual, "10.9.9.9:80", 1), event, 0)
				tb.open(nat(client, "10.9.9.9:80", backend, 2), origin{netns: 5}, 0)
			},
			peer:   backend,
			result: Translated,
		},
		{
			name: "but not in the same one, which translates a packet once",
			do: func(tb *table) {
				tb.open(nat(client, virtual, backend, 1), event, 0)
				tb.open(nat(client, backend, another, 2), event, 0)
			},
			peer:   backend,
			result: Translated,
		},
		{
			name: "a circle ends",
			do: func(tb *table) {
				for i := range uint32(10) {
					tb.open(nat(client, virtual, backend, i), origin{netns: 20 + 2*i}, 0)
					tb.open(nat(client, backend, virtual, i), origin{netns: 21 + 2*i}, 0)
				}
			},
			peer:   virtual, // four hops
			result: Translated,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tb := newTable(100, retention)
			tt.do(tb)
			peer, result := ask(tb, client, virtual)
			assert.Equal(t, tt.result, result)
			if tt.peer != "" {
				assert.Equal(t, tt.peer, peer)
			}
		})
	}
}

func TestWhoOpenedTheConnectionStaysWhoDid(t *testing.T) {
	tb := newTable(100, retention)
	tb.open(nat(client, virtual, backend, 1), event, 0)
	// Another connection, in another namespace: its answers look like what the first one's
	// client sends beyond its translation.
	tb.open(nat(backend, "10.7.7.7:40000", client, 2), origin{netns: 5}, 0)
	beyond, _, result := tb.resolve(tupleOf(ap(client), ap(virtual)), 99, 1)
	assert.Equal(t, Translated, result)
	assert.Equal(t, tupleOf(ap(client), ap(backend)), beyond)
}

func TestAFullTable(t *testing.T) {
	tb := newTable(3, retention)
	for i := range 3 {
		tb.open(nat(fmt.Sprintf("10.0.0.1:%d", 1000+i), virtual, backend, uint32(i)), event, 0)
	}
	t.Run("refuses while nothing has ended", func(t *testing.T) {
		tb.open(nat("10.0.0.1:2000", virtual, backend, 9), event, second)
		assert.EqualValues(t, 1, tb.counts.refused)
		_, result := ask(tb, "10.0.0.1:2000", virtual)
		assert.Equal(t, NotTranslated, result)
	})
	t.Run("gives the room of the one that ended first", func(t *testing.T) {
		tb.close(nat("10.0.0.1:1002", virtual, backend, 2), event, second)
		tb.close(nat("10.0.0.1:1000", virtual, backend, 0), event, 2*second)
		tb.open(nat("10.0.0.1:2000", virtual, backend, 9), event, 3*second)
		assert.EqualValues(t, 1, tb.counts.evicted)
		for port, want := range map[int]Result{1000: Translated, 1001: Translated, 1002: NotTranslated, 2000: Translated} {
			_, result := ask(tb, fmt.Sprintf("10.0.0.1:%d", port), virtual)
			assert.Equal(t, want, result, port)
		}
		assert.Equal(t, 3, tb.held)
		assert.Equal(t, 1, tb.ended)
	})
}

// model is the table written for clarity: a list, newest first.
type model struct {
	capacity int
	records  []modelRecord
}

type modelRecord struct {
	c     connection
	netns uint32
	ended time.Duration // -1: live
	order int           // of its end
}

// TestTheTableIsWhatTheModelSays: whatever comes in whatever order, look-ups agree with a
// list that is searched from its begin, and the bookkeeping stays whole.
func TestTheTableIsWhatTheModelSays(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 1))
		tb := newTable(24, retention)
		m := &model{capacity: 24}
		for step := range 3000 {
			now := time.Duration(step) * second
			c := nat(fmt.Sprintf("10.0.0.1:%d", 1000+random.IntN(8)), virtual, fmt.Sprintf("10.0.1.1:%d", 1000+random.IntN(3)), 0)
			c.id, c.zone = random.Uint32N(3), uint16(random.IntN(2))
			from := origin{netns: 1 + random.Uint32N(2), round: 1}
			switch random.IntN(10) {
			case 0, 1, 2, 3, 4:
				tb.open(c, from, now)
				m.open(c, from.netns, now)
			case 5, 6, 7, 8:
				tb.close(c, from, now)
				m.close(c, from.netns, now)
			case 9:
				tb.expire(now)
				m.expire(now)
			}
			require.Equal(t, len(m.records), tb.held, "seed %d, step %d", seed, step)
			require.Equal(t, m.ended(), tb.ended, "seed %d, step %d", seed, step)
			for port := range uint16(8) {
				key := tupleOf(netip.AddrPortFrom(ap(client).Addr(), 1000+port), ap(virtual))
				want, wantResult := m.resolve(key, 1, 99)
				got, _, gotResult := tb.resolve(key, 1, 99)
				require.Equal(t, wantResult, gotResult, "seed %d, step %d, port %d", seed, step, port)
				if wantResult == Translated {
					require.Equal(t, want, got, "seed %d, step %d, port %d", seed, step, port)
				}
			}
		}
		// All leaves the index as it was.
		tb.leave(1, 1e6*second)
		tb.leave(2, 1e6*second)
		tb.expire(2e6 * second)
		require.Zero(t, tb.held)
		for _, e := range tb.heads {
			require.Zero(t, e)
		}
	}
}

func (m *model) open(c *connection, netns uint32, now time.Duration) {
	for i := range m.records {
		r := &m.records[i]
		if r.netns != netns || r.c.zone != c.zone || r.c.original != c.original {
			continue
		}
		if r.c == *c {
			r.ended = -1
			return
		}
		if r.ended < 0 {
			m.end(r, now)
		}
	}
	m.insert(c, netns)
}

func (m *model) close(c *connection, netns uint32, now time.Duration) {
	for i := range m.records {
		if r := &m.records[i]; r.netns == netns && r.c == *c {
			if r.ended < 0 {
				m.end(r, now)
			}
			return
		}
	}
	if m.insert(c, netns) {
		m.end(&m.records[0], now)
	}
}

func (m *model) end(r *modelRecord, now time.Duration) {
	for _, other := range m.records {
		r.order = max(r.order, other.order+1)
	}
	r.ended = now
}

func (m *model) insert(c *connection, netns uint32) bool {
	if len(m.records) == m.capacity {
		first := -1
		for i, r := range m.records {
			if r.ended >= 0 && (first < 0 || r.order < m.records[first].order) {
				first = i
			}
		}
		if first < 0 {
			return false
		}
		m.records = append(m.records[:first], m.records[first+1:]...)
	}
	m.records = append([]modelRecord{{c: *c, netns: netns, ended: -1}}, m.records...)
	return true
}

func (m *model) expire(now time.Duration) {
	kept := m.records[:0]
	for _, r := range m.records {
		if r.ended < 0 || now-r.ended <= retention {
			kept = append(kept, r)
		}
	}
	m.records = kept
}

func (m *model) ended() (n int) {
	for _, r := range m.records {
		if r.ended >= 0 {
			n++
		}
	}
	return n
}

// resolve looks for the one live translation, else for the newest one of those that have
// ended; of the socket's own namespace, else of any other.
func (m *model) resolve(key tuple, netns, own uint32) (tuple, Result) {
	for _, mine := range []bool{true, false} {
		live, gone := map[tuple]bool{}, map[[2]uint32]tuple{}
		for _, r := range m.records {
			if (r.netns == netns) != mine || r.c.original != key {
				continue
			}
			place := [2]uint32{r.netns, uint32(r.c.zone)}
			if r.ended < 0 {
				live[r.c.reply.inverse()] = true
			} else if _, newer := gone[place]; !newer {
				gone[place] = r.c.reply.inverse()
			}
		}
		if len(live) == 0 {
			for _, beyond := range gone {
				live[beyond] = true
			}
		}
		for beyond := range live {
			if len(live) > 1 {
				return tuple{}, Ambiguous
			}
			return beyond, Translated
		}
	}
	return key, NotTranslated
}

func TestAnEventAllocatesNothing(t *testing.T) {
	tb := newTable(10_000, retention)
	c := nat(client, virtual, backend, 1)
	tb.open(c, event, 0)
	now := time.Duration(0)
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		now += second
		tb.open(c, event, now)
		tb.close(c, event, now)
		tb.expire(now)
		c.id++
	}))
}

func TestALookUpAllocatesNothing(t *testing.T) {
	tracker := New(Settings{})
	tracker.table.open(nat(client, virtual, backend, 1), event, 0)
	local, peer := ap(client), ap(virtual)
	assert.Zero(t, testing.AllocsPerRun(1000, func() { tracker.Resolve(1, local, peer) }))
}

// BenchmarkEvent is the begin and the end of a connection, in a table with 200,000 others.
func BenchmarkEvent(b *testing.B) {
	tb := newTable(defaultMaxEntries, retention)
	c := nat(client, virtual, backend, 1)
	set := func(n int) {
		c.original.srcPort = uint16(n)
		c.original.src[13] = byte(n >> 16)
		c.reply.dstPort, c.reply.dst = c.original.srcPort, c.original.src
		c.id = uint32(n)
	}
	for n := range 200_000 {
		set(n)
		tb.open(c, event, 0)
	}
	b.ReportAllocs()
	n := 200_000
	for b.Loop() {
		set(n)
		tb.open(c, event, 1)
		tb.close(c, event, 2)
		tb.expire(3 + retention)
		n++
	}
}

func BenchmarkResolve(b *testing.B) {
	tracker := New(Settings{})
	c := nat(client, virtual, backend, 1)
	for n := range 200_000 {
		c.original.srcPort, c.original.src[13] = uint16(n), byte(n>>16)
		c.reply.dstPort, c.reply.dst = c.original.srcPort, c.original.src
		tracker.table.open(c, event, 0)
	}
	for name, local := range map[string]string{"translated": "10.0.0.1:12345", "not translated": "10.0.77.1:12345"} {
		b.Run(name, func(b *testing.B) {
			local, peer := ap(local), ap(virtual)
			b.ReportAllocs()
			for b.Loop() {
				tracker.Resolve(1, local, peer)
			}
		})
	}
}
