// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package nat

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/conntrack"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/streams"
)

// flow is a flow as it is handed on.
type flow struct {
	key  bpf.FlowKey
	held streams.Held
}

var (
	podA      = ends{ap("10.1.0.2:40000"), ap("172.20.0.10:443")}
	serviceTo = conntrack.Translation{Local: ap("10.1.0.2:40000"), Peer: ap("10.2.0.2:8443")}
)

func address(s string) [16]byte { return netip.MustParseAddr(s).As16() }

func TestTheIdentityBeyondTranslation(t *testing.T) {
	for _, tt := range []struct {
		name string
		row  bpf.FlowKey
		x    conntrack.Translation
		want flow
	}{
		{
			name: "a client of a service: address and port of the peer",
			row:  bpf.FlowKey{Role: bpf.RoleClient, Local: address("10.1.0.2"), LocalPort: 40000, Peer: address("172.20.0.10"), PeerPort: 443, Ports: bpf.PortPeer},
			x:    serviceTo,
			want: flow{
				bpf.FlowKey{Role: bpf.RoleClient, Local: address("10.1.0.2"), Peer: address("10.2.0.2"), PeerPort: 8443},
				streams.Held{Peer: address("172.20.0.10"), PeerPort: 443},
			},
		},
		{
			name: "a port that stays is not told twice",
			row:  bpf.FlowKey{Role: bpf.RoleClient, Local: address("10.1.0.2"), LocalPort: 40000, Peer: address("172.20.0.10"), PeerPort: 443, Ports: bpf.PortPeer},
			x:    conntrack.Translation{Local: ap("10.1.0.2:40000"), Peer: ap("10.2.0.2:443")},
			want: flow{
				bpf.FlowKey{Role: bpf.RoleClient, Local: address("10.1.0.2"), Peer: address("10.2.0.2"), PeerPort: 443},
				streams.Held{Peer: address("172.20.0.10")},
			},
		},
		{
			name: "a client that leaves as its host: its own port is nobody's",
			row:  bpf.FlowKey{Role: bpf.RoleClient, Local: address("10.1.0.2"), LocalPort: 40000, Peer: address("203.0.113.9"), PeerPort: 443, Ports: bpf.PortPeer},
			x:    conntrack.Translation{Local: ap("10.0.0.1:61000"), Peer: ap("203.0.113.9:443")},
			want: flow{
				bpf.FlowKey{Role: bpf.RoleClient, Local: address("10.0.0.1"), Peer: address("203.0.113.9"), PeerPort: 443},
				streams.Held{Local: address("10.1.0.2")},
			},
		},
		{
			name: "a server behind a service, and a client on its own host: what the client dialed is the client's to tell",
			row:  bpf.FlowKey{Role: bpf.RoleServer, Local: address("10.1.0.3"), LocalPort: 8443, Peer: address("10.0.0.1"), PeerPort: 61000, Ports: bpf.PortLocal},
			x:    conntrack.Translation{Local: ap("172.20.0.10:443"), Peer: ap("10.1.0.2:40000"), PeerHere: true},
			want: flow{
				bpf.FlowKey{Role: bpf.RoleServer, Local: address("10.1.0.3"), LocalPort: 8443, Peer: address("10.1.0.2")},
				streams.Held{Peer: address("10.0.0.1")},
			},
		},
		{
			name: "a client that reaches a server of its own host as that host",
			row:  bpf.FlowKey{Role: bpf.RoleClient, Local: address("10.1.0.2"), LocalPort: 40000, Peer: address("10.0.0.1"), PeerPort: 30080, Ports: bpf.PortPeer},
			x:    conntrack.Translation{Local: ap("10.0.0.1:61000"), Peer: ap("10.1.0.3:8443"), PeerHere: true},
			want: flow{
				bpf.FlowKey{Role: bpf.RoleClient, Local: address("10.1.0.2"), Peer: address("10.1.0.3"), PeerPort: 8443},
				streams.Held{Peer: address("10.0.0.1"), PeerPort: 30080},
			},
		},
		{
			name: "a client whose port alone was changed",
			row:  bpf.FlowKey{Role: bpf.RoleClient, Local: address("10.1.0.2"), LocalPort: 40000, Peer: address("203.0.113.9"), PeerPort: 443, Ports: bpf.PortPeer},
			x:    conntrack.Translation{Local: ap("10.1.0.2:61000"), Peer: ap("203.0.113.9:443")},
			want: flow{bpf.FlowKey{Role: bpf.RoleClient, Local: address("10.1.0.2"), Peer: address("203.0.113.9"), PeerPort: 443}, streams.Held{}},
		},
		{
			name: "a server behind a host port, IPv6, and a client behind another host",
			row:  bpf.FlowKey{Role: bpf.RoleServer, Local: address("fd00:2::2"), LocalPort: 80, Peer: address("fd00::1"), PeerPort: 61000, Ports: bpf.PortLocal},
			x:    conntrack.Translation{Local: ap("[fd00::2]:8080"), Peer: ap("[fd00:1::2]:40000")},
			want: flow{
				bpf.FlowKey{Role: bpf.RoleServer, Local: address("fd00::2"), LocalPort: 8080, Peer: address("fd00:1::2")},
				streams.Held{Local: address("fd00:2::2"), LocalPort: 80, Peer: address("fd00::1")},
			},
		},
		{
			name: "a role that nobody knows, without a server's port",
			row:  bpf.FlowKey{Local: address("10.1.0.2"), LocalPort: 700, Peer: address("172.20.0.10"), PeerPort: 800},
			x:    conntrack.Translation{Local: ap("10.1.0.2:700"), Peer: ap("10.2.0.2:8443")},
			want: flow{bpf.FlowKey{Local: address("10.1.0.2"), Peer: address("10.2.0.2")}, streams.Held{Peer: address("172.20.0.10")}},
		},
		{
			name: "a role that nobody knows, with one",
			row:  bpf.FlowKey{Local: address("10.1.0.2"), LocalPort: 40000, Peer: address("172.20.0.10"), PeerPort: 800, Ports: bpf.PortPeer},
			x:    conntrack.Translation{Local: ap("10.1.0.2:40000"), Peer: ap("10.2.0.2:8443")},
			want: flow{
				bpf.FlowKey{Local: address("10.1.0.2"), Peer: address("10.2.0.2"), PeerPort: 8443},
				streams.Held{Peer: address("172.20.0.10"), PeerPort: 800},
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			kernel, tracker := newFakeKernel(), newFakeTracker()
			tr := New(kernel, tracker, false)
			require.NoError(t, tr.Begin())
			e := ends{addrPort(tt.row.Local, tt.row.LocalPort), addrPort(tt.row.Peer, tt.row.PeerPort)}
			tracker.coming[e] = &tt.x
			tt.row.Kind, tt.row.Cgroup, tt.row.Netns = bpf.KindConnection, 5, 6
			tt.want.key.Cgroup, tt.want.key.Netns = 5, 6
			got := func(k bpf.FlowKey) flow {
				key, held := tr.Translate(&k, &bpf.Flow{Open: [3]uint32{0, 1, 0}})
				return flow{key, held}
			}
			assert.Equal(t, tt.want, got(tt.row), "its own row")
			require.NoError(t, tr.End(true, true, false))
			id, told := kernel.translations[tupleOf(e.local, e.peer)]
			require.True(t, told)
			row := identityOf(&tt.row)
			row.Translation = id
			assert.Equal(t, tt.want, got(row), "by its id")
		})
	}
}

func TestWhatIsNotTranslatedStaysAsItIs(t *testing.T) {
	tracker := newFakeTracker()
	tr := New(newFakeKernel(), tracker, false)
	require.NoError(t, tr.Begin())
	for name, k := range map[string]bpf.FlowKey{
		"a flow":           {Role: bpf.RoleClient, Local: address("10.1.0.2"), Peer: address("10.2.0.2"), PeerPort: 443},
		"an overflow flow": {Kind: bpf.KindOverflowIPv4, Role: bpf.RoleServer},
		"a listener":       {Role: bpf.RoleListener, Local: address("::"), LocalPort: 443},
	} {
		got, held := tr.Translate(&k, &bpf.Flow{})
		assert.Equal(t, k, got, name)
		assert.Zero(t, held, name)
	}
	assert.Equal(t, 1, tracker.syncs, "the first harvest's begin: none of these asks")
	row := bpf.FlowKey{Kind: bpf.KindConnection, Role: bpf.RoleClient, Local: address("10.1.0.2"), LocalPort: 40000, Peer: address("10.2.0.2"), PeerPort: 443, Ports: bpf.PortPeer}
	got, held := tr.Translate(&row, &bpf.Flow{})
	assert.Equal(t, bpf.FlowKey{Role: bpf.RoleClient, Local: address("10.1.0.2"), Peer: address("10.2.0.2"), PeerPort: 443}, got)
	assert.Zero(t, held)
	tr.Translate(&row, &bpf.Flow{})
	assert.Equal(t, 2, tracker.syncs, "once in a harvest")
	assert.EqualValues(t, 2, tr.Counts().NotTranslated)
}

func TestAnUnknownIDIsCounted(t *testing.T) {
	tr := New(newFakeKernel(), newFakeTracker(), false)
	require.NoError(t, tr.Begin())
	k := bpf.FlowKey{Role: bpf.RoleClient, Local: address("10.1.0.2"), Peer: address("172.20.0.10"), PeerPort: 443}
	for _, id := range []uint32{1, 12345, 1 << 30, bpf.AskTranslation} {
		row := k
		row.Translation = id
		got, held := tr.Translate(&row, &bpf.Flow{})
		assert.Equal(t, k.Peer, got.Peer)
		assert.Zero(t, held)
	}
	assert.EqualValues(t, 4, tr.Counts().UnknownIDs)
}

// client is a socket that opened a connection.
func client(e ends) *socket { return &socket{ends: e, role: bpf.RoleClient} }

// sent gives what each flow sent in a harvest.
func sent(t testing.TB, k *fakeKernel, tr *Translator) map[flow]uint64 {
	t.Helper()
	flows := map[flow]uint64{}
	require.NoError(t, k.harvest(tr, func(key *bpf.FlowKey, f *bpf.Flow) {
		to, held := tr.Translate(key, f)
		to.Translation = 0
		if f.Sent > 0 {
			flows[flow{to, held}] += f.Sent
		}
	}))
	return flows
}

var beyondService = flow{
	bpf.FlowKey{Role: bpf.RoleClient, Local: address("10.1.0.2"), Peer: address("10.2.0.2"), PeerPort: 8443},
	streams.Held{Peer: address("172.20.0.10"), PeerPort: 443},
}

func TestASyncThatFailsHasAllToldAfterTheNextOne(t *testing.T) {
	kernel, tracker := newFakeKernel(), newFakeTracker()
	tr := New(kernel, tracker, false)
	s := client(podA)
	kernel.sockets = []*socket{s}
	tracker.coming[podA] = &serviceTo
	tracker.failed = errKernel
	s.unfolded = 1
	flows := sent(t, kernel, tr)
	assert.NotContains(t, flows, beyondService, "nothing is known of it yet")
	assert.False(t, kernel.complete)
	s.unfolded = 2
	sent(t, kernel, tr)
	assert.False(t, kernel.complete, "so that it goes on asking")
	tracker.failed = nil
	s.unfolded = 4
	assert.Equal(t, map[flow]uint64{beyondService: 4}, sent(t, kernel, tr))
	assert.True(t, kernel.complete)
	assert.NotZero(t, tr.Counts().SyncFailures)
}

func TestWhatDependsOnTheNamespaceGoesOnAsking(t *testing.T) {
	kernel, tracker := newFakeKernel(), newFakeTracker()
	tr := New(kernel, tracker, false)
	a, b := client(podA), client(podA)
	a.netns, b.netns = 1, 2
	kernel.sockets = []*socket{a, b}
	other := conntrack.Translation{Local: podA.local, Peer: ap("10.2.0.3:8443")}
	tracker.byNS[1] = map[ends]conntrack.Translation{podA: serviceTo}
	tracker.byNS[2] = map[ends]conntrack.Translation{podA: other}
	for range 5 {
		a.unfolded, b.unfolded = 10, 20
		flows := sent(t, kernel, tr)
		want := map[flow]uint64{}
		for netns, x := range map[uint32]conntrack.Translation{1: serviceTo, 2: other} {
			f := beyondService
			f.key.Netns, f.key.Peer = netns, x.Peer.Addr().As16()
			want[f] = uint64(netns) * 10
		}
		assert.Equal(t, want, flows)
	}
	assert.EqualValues(t, bpf.AskTranslation, kernel.translations[tupleOf(podA.local, podA.peer)])
}

func TestLoopbackAddressesAreInEveryNamespace(t *testing.T) {
	kernel, tracker := newFakeKernel(), newFakeTracker()
	tr := New(kernel, tracker, false)
	e := ends{ap("127.0.0.1:40000"), ap("127.0.0.1:80")}
	tracker.known[e] = conntrack.Translation{Local: ap("127.0.0.1:40000"), Peer: ap("127.0.0.1:8080")}
	s := client(e)
	kernel.sockets = []*socket{s}
	for range 3 {
		s.unfolded = 1
		for f := range sent(t, kernel, tr) {
			assert.EqualValues(t, 8080, f.key.PeerPort)
		}
	}
	assert.EqualValues(t, bpf.AskTranslation, kernel.translations[tupleOf(e.local, e.peer)])
}

func TestAFullKernelIsCountedAndFlowsAreReportedAsTheyAre(t *testing.T) {
	kernel, tracker := newFakeKernel(), newFakeTracker()
	kernel.capacity = 1
	tr := New(kernel, tracker, false)
	var refused bool
	for i := range 3 {
		e := ends{netip.AddrPortFrom(podA.local.Addr(), uint16(40000+i)), podA.peer}
		tracker.known[e] = conntrack.Translation{Local: e.local, Peer: serviceTo.Peer}
		kernel.sockets = append(kernel.sockets, client(e))
	}
	for range 3 {
		for _, s := range kernel.sockets {
			s.unfolded = 10
		}
		total := uint64(0)
		err := kernel.harvest(tr, func(key *bpf.FlowKey, f *bpf.Flow) {
			tr.Translate(key, f)
			total += f.Sent
		})
		refused = refused || err != nil
		assert.EqualValues(t, 30, total)
	}
	assert.True(t, refused, "the error says so")
	assert.LessOrEqual(t, tr.Counts().Told, 1)
	assert.NotZero(t, tr.Counts().Refused)
}

func TestAConnectionThatConntrackHasForgottenIsForgotten(t *testing.T) {
	kernel, tracker := newFakeKernel(), newFakeTracker()
	tr := New(kernel, tracker, false)
	tracker.known[podA] = serviceTo
	s := client(podA)
	kernel.sockets = []*socket{s}
	s.unfolded = 1
	sent(t, kernel, tr)
	require.Contains(t, kernel.translations, tupleOf(podA.local, podA.peer))
	kernel.sockets = nil // its end was not seen
	delete(tracker.known, podA)
	sent(t, kernel, tr)
	assert.NotContains(t, kernel.translations, tupleOf(podA.local, podA.peer))
	assert.Zero(t, tr.Counts().Told)
}

func TestIDsThatAnEarlierProcessHasToldAreNotBelieved(t *testing.T) {
	kernel, tracker := newFakeKernel(), newFakeTracker()
	tracker.known[podA] = serviceTo
	s := client(podA)
	kernel.sockets = []*socket{s}
	first := New(kernel, tracker, false)
	for range 2 {
		s.unfolded = 1
		sent(t, kernel, first)
	}
	s.unfolded = 100 // while nobody is there
	kernel.fold(s, false, false)
	kernel.translations, kernel.complete = map[bpf.Tuple]uint32{}, false // see resume in takeover.go

	tracker.known[ends{ap("10.1.0.2:50000"), podA.peer}] = conntrack.Translation{Local: ap("10.1.0.2:50000"), Peer: ap("10.2.0.9:8443")}
	second := New(kernel, tracker, true)
	s.unfolded = 1000
	flows := sent(t, kernel, second)
	assert.EqualValues(t, 1000, flows[beyondService])
	assert.Len(t, flows, 2)
	for f, n := range flows {
		if f != beyondService {
			assert.EqualValues(t, 100, n)
			assert.Equal(t, address("172.20.0.10"), f.key.Peer, "as the socket held it")
		}
	}
	assert.EqualValues(t, 1, second.Counts().UnknownIDs)
	for range 3 {
		s.unfolded = 1
		assert.Equal(t, map[flow]uint64{beyondService: 1}, sent(t, kernel, second))
	}
	assert.Contains(t, kernel.translations, tupleOf(podA.local, podA.peer))
}

// TestEveryByteIsToldByWhatItIsBeyondTranslation plays any history: connections come and
// go, with and without translation, ports are used again for other backends, tables are
// too small, rounds begin at any time. What is not in an overflow flow is where it belongs.
func TestEveryByteIsToldByWhatItIsBeyondTranslation(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			kernel, tracker := newFakeKernel(), newFakeTracker()
			if seed%3 == 2 {
				kernel.maxFlows = 5
			}
			tr := New(kernel, tracker, false)
			truth, got := map[flow]uint64{}, map[flow]uint64{}
			overflow, total := uint64(0), uint64(0)
			belongs, ended, harvests := map[*socket]flow{}, map[ends]int{}, 1
			count := func(s *socket, n uint64) {
				s.unfolded += n
				total += n
				truth[belongs[s]] += n
			}
			for range 600 {
				switch n := random.IntN(10); {
				case n < 3: // a new connection, of few possible ones
					e := ends{netip.AddrPortFrom(podA.local.Addr(), uint16(40000+random.IntN(12))), podA.peer}
					// Two connections of the same ports in one round are one row: the kernel does not tell
					// them apart, and a client's port is in TIME_WAIT for longer.
					if inUse(kernel, e) || ended[e] == harvests {
						continue
					}
					s := client(e)
					f := flow{key: bpf.FlowKey{Role: bpf.RoleClient, Local: e.local.Addr().As16(), Peer: e.peer.Addr().As16(), PeerPort: e.peer.Port()}}
					tracker.coming[e] = nil // what was there before has been replaced
					if random.IntN(4) > 0 {
						x := conntrack.Translation{Local: e.local, Peer: ap(fmt.Sprintf("10.2.0.%d:8443", 2+random.IntN(3)))}
						tracker.coming[e] = &x
						f.key.Peer, f.key.PeerPort = x.Peer.Addr().As16(), 8443
						f.held = beyondService.held
					}
					belongs[s] = f
					kernel.sockets = append(kernel.sockets, s)
					count(s, 1)
				case n < 6 && len(kernel.sockets) > 0:
					count(kernel.sockets[random.IntN(len(kernel.sockets))], 1+random.Uint64N(1000))
				case n < 7 && len(kernel.sockets) > 0: // something else folds it
					kernel.fold(kernel.sockets[random.IntN(len(kernel.sockets))], false, false)
				case n < 9 && len(kernel.sockets) > 0: // conntrack keeps what has ended, until the port is used again
					i := random.IntN(len(kernel.sockets))
					kernel.fold(kernel.sockets[i], false, true)
					ended[kernel.sockets[i].ends] = harvests
					kernel.sockets = append(kernel.sockets[:i], kernel.sockets[i+1:]...)
				case n == 9:
					require.NoError(t, tracker.Sync(t.Context())) // events are read at any time
					if random.IntN(2) == 0 {
						collect(t, kernel, tr, got, &overflow)
						harvests++
					}
				}
			}
			for range 2 {
				collect(t, kernel, tr, got, &overflow)
			}
			sum := overflow
			for f, n := range got {
				sum += n
				assert.LessOrEqual(t, n, truth[f], "%v", f)
			}
			assert.Equal(t, total, sum, "nothing is lost")
			if kernel.maxFlows > 100 {
				assert.Equal(t, truth, got)
			} else {
				assert.NotZero(t, overflow)
			}
		})
	}
}

func inUse(k *fakeKernel, e ends) bool {
	for _, s := range k.sockets {
		if s.ends == e {
			return true
		}
	}
	return false
}

func collect(t testing.TB, k *fakeKernel, tr *Translator, into map[flow]uint64, overflow *uint64) {
	t.Helper()
	require.NoError(t, k.harvest(tr, func(key *bpf.FlowKey, f *bpf.Flow) {
		to, held := tr.Translate(key, f)
		switch {
		case key.Kind == bpf.KindOverflowIPv4:
			*overflow += f.Sent
		case f.Sent > 0:
			into[flow{to, held}] += f.Sent
		}
	}))
}

func BenchmarkRows(b *testing.B) {
	kernel, tracker := newFakeKernel(), newFakeTracker()
	tr := New(kernel, tracker, false)
	tracker.known[podA] = serviceTo
	if err := tr.Begin(); err != nil {
		b.Fatal(err)
	}
	row := bpf.FlowKey{Kind: bpf.KindConnection, Role: bpf.RoleClient, Local: address("10.1.0.2"), LocalPort: 40000, Peer: address("172.20.0.10"), PeerPort: 443, Ports: bpf.PortPeer}
	f := &bpf.Flow{}
	b.ReportAllocs()
	for b.Loop() {
		tr.Translate(&row, f)
	}
}
