// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package audit

import (
	"context"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

// laboratory is a client and a server, the real kernel side, and an audit of the two.
type laboratory struct {
	*testing.T
	kernel         *bpf.Sockops
	audit          *Audit
	client, server *netlab.Node
	link           *netlab.Link
	inhabitants    map[*netlab.Node]*netlab.Cmd // a namespace is found by a process in it
}

func newLaboratory(t *testing.T, o bpf.Options) *laboratory {
	for _, err := range []error{netlab.Supported(), bpf.Supported()} {
		if err != nil && os.Getenv("CI") == "true" && os.Geteuid() == 0 {
			t.Fatal(err)
		} else if err != nil {
			t.Skip(err)
		}
	}
	l := &laboratory{T: t, inhabitants: map[*netlab.Node]*netlab.Cmd{}}
	lab := netlab.New()
	l.client, l.server = lab.Host("client", "10.0.0.1"), lab.Host("server", "10.0.0.2")
	l.link = lab.Link(l.client, l.server)
	require.NoError(t, lab.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, lab.Close()) })

	o.CgroupPath = lab.Cgroup()
	if o.MaxSockets == 0 {
		o.MaxSockets = 1 << 16
	}
	var err error
	l.kernel, err = bpf.Load(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.kernel.Close()) })
	l.audit = New(MaxNamespaces, l.kernel.SynAcks)
	t.Cleanup(l.audit.Close)
	for _, n := range []*netlab.Node{l.client, l.server} {
		cmd := n.Command(context.Background(), "sleep", "1000")
		require.NoError(t, cmd.Start())
		l.inhabitants[n] = cmd
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
	l.round()
	return l
}

// round harvests as the receiver does.
func (l *laboratory) round() {
	l.Helper()
	require.NoError(l, l.audit.Before())
	require.NoError(l, l.kernel.Harvest(func(k *bpf.FlowKey, f *bpf.Flow, _ *bpf.Detail) {
		flow := FlowOf(k, f)
		l.audit.Add(&flow)
	}))
	require.NoError(l, l.audit.After(true))
	for name, node := range map[string]*netlab.Node{"client": l.client, "server": l.server} { // to see where a difference began
		if n := l.audit.namespaces[l.inode(node)]; n != nil {
			l.Logf("%s: SYN-ACKs %d, spare %+v: %+v", name, n.synAcks, l.audit.spare, n.balances)
		}
	}
	for inode, n := range l.audit.namespaces { // what others do on this machine is not watched
		if inode != l.inode(l.client) && inode != l.inode(l.server) {
			_ = l.audit.leave(inode, n, errGone)
		}
	}
}

// balances gives what the audit has found in a node.
func (l *laboratory) balances(n *netlab.Node) *namespace {
	l.Helper()
	found := l.audit.namespaces[l.inode(n)]
	require.NotNil(l, found)
	return found
}

func (l *laboratory) inode(n *netlab.Node) (inode uint32) {
	l.Helper()
	require.NoError(l, n.Do(func() error {
		var st unix.Stat_t
		err := unix.Stat("/proc/thread-self/ns/net", &st)
		inode = uint32(st.Ino)
		return err
	}))
	return inode
}

// nstat is what the program nstat says of the counters of a node, in all.
func (l *laboratory) nstat(n *netlab.Node) map[string]int64 {
	l.Helper()
	out, err := n.Command(l.Context(), "nstat", "-asz").Output()
	require.NoError(l, err)
	values := map[string]int64{}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] != "#kernel" {
			values[f[0]], err = strconv.ParseInt(f[1], 10, 64)
			require.NoError(l, err)
		}
	}
	return values
}

// lastRounds goes on until nothing moves any more, and gives nstat of both nodes: a FIN may be sent again after the last
// round that a test waits for.
func (l *laboratory) lastRounds() map[*netlab.Node]map[string]int64 {
	l.Helper()
	read := func() map[*netlab.Node]map[string]int64 {
		return map[*netlab.Node]map[string]int64{l.client: l.nstat(l.client), l.server: l.nstat(l.server)}
	}
	for now := read(); ; {
		l.round()
		l.round()
		before := now
		if now = read(); assert.ObjectsAreEqual(before, now) {
			return now
		}
	}
}

// traffic makes connections that exchange some data, and waits for their end.
func (l *laboratory) traffic(n int, c netlab.CloseMode) {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), time.Minute)
	defer cancel()
	server, err := l.server.StartServer(ctx, netlab.ServerConfig{Listen: netip.MustParseAddrPort("[::]:0")})
	require.NoError(l, err)
	report, err := l.client.RunClient(ctx, netlab.ClientConfig{
		Targets:     []netip.AddrPort{netip.AddrPortFrom(l.server.Addr4(), server.Port())},
		Connections: n, Concurrency: 20, Seed: 1, Close: c,
		Upload: netlab.Size{Min: 100, Max: 20_000}, Download: netlab.Exactly(20_000),
	})
	require.NoError(l, err)
	require.Equal(l, n, report.Opened)
	_, err = server.Stop(ctx)
	require.NoError(l, err)
}

// With loss, in both directions, by clients and servers that close first: what the audit
// has seen is what nstat shows, and the flows cover all of it.
func TestTheAuditOfRealTraffic(t *testing.T) {
	l := newLaboratory(t, bpf.Options{MaxFlows: 1000})
	loss, err := l.link.Fault(netlab.Loss{Rate: 0.03}, netlab.Both)
	require.NoError(t, err)
	const connections = 6 * 100
	for range 2 {
		l.traffic(100, netlab.CloseByClient)
		l.round()
		l.traffic(100, netlab.CloseByServer)
		l.round()
	}
	require.NoError(t, loss.Clear())
	l.traffic(100, netlab.ResetByClient)
	l.round()
	l.traffic(100, netlab.ResetByServer)
	l.round()
	nstat := l.lastRounds()

	for name, n := range map[string]*netlab.Node{"client": l.client, "server": l.server} {
		b, kernel := l.balances(n).balances, nstat[n]
		for i, want := range map[int]int64{
			ActiveOpens:     kernel["TcpActiveOpens"],
			Retransmissions: kernel["TcpRetransSegs"],
			Segments:        kernel["TcpOutSegs"] + kernel["TcpRetransSegs"],
		} {
			assert.Equal(t, want, b[i].seen()+b[i].explained, "%s: counter %d: %+v", name, i, b[i])
			assert.Equal(t, b[i].covered, b[i].seen(), "%s: counter %d: %+v", name, i, b[i])
		}
		assert.GreaterOrEqual(t, kernel["TcpRetransSegs"], int64(20), name)
		assert.Less(t, b[Segments].explained, kernel["TcpOutSegs"]/20, name)
	}
	// When two CPUs have an ACK of the same handshake at a time, the kernel counts a socket that it throws
	// away at once (Linux 6.18, inet_csk_complete_hashdance): once in some 50,000 connections here.
	opens := l.balances(l.server).balances[PassiveOpens]
	assert.EqualValues(t, connections, opens.covered)
	assert.Equal(t, nstat[l.server]["TcpPassiveOpens"], opens.seen())
	assert.LessOrEqual(t, opens.lost, int64(2))
}

// What no flow counts is seen all the same: here because only so many sockets are watched.
func TestTheAuditFindsWhatIsNotCovered(t *testing.T) {
	l := newLaboratory(t, bpf.Options{MaxFlows: 1000, MaxSockets: 8})
	for range 3 {
		l.traffic(100, netlab.CloseByClient)
		l.round()
	}
	l.round()
	client, server := l.balances(l.client).balances, l.balances(l.server).balances
	assert.EqualValues(t, 300, client[ActiveOpens].seen())
	assert.Equal(t, l.nstat(l.server)["TcpPassiveOpens"], server[PassiveOpens].seen())
	st, err := l.kernel.Stats()
	require.NoError(t, err)
	require.NotZero(t, st.Refused)
	lost := client[ActiveOpens].lost + server[PassiveOpens].lost
	assert.Greater(t, lost, int64(100))
	assert.LessOrEqual(t, lost, int64(st.Refused))
	for _, b := range []*balance{&client[Segments], &server[Segments]} {
		assert.Less(t, b.covered, b.seen())
	}
}

// A flow that found no room has no namespace, but what it counted is covered.
func TestTheAuditKnowsOfOverflowFlows(t *testing.T) {
	l := newLaboratory(t, bpf.Options{MaxFlows: 1})
	for range 3 {
		l.traffic(50, netlab.CloseByClient)
		l.round()
	}
	l.round()
	l.round()
	for _, n := range []*netlab.Node{l.client, l.server} {
		for i, b := range l.balances(n).balances {
			assert.Zero(t, b.lost, "counter %d", i)
		}
	}
	assert.EqualValues(t, 150, l.balances(l.client).balances[ActiveOpens].covered)
}

func TestANamespaceThatVanishes(t *testing.T) {
	l := newLaboratory(t, bpf.Options{MaxFlows: 1000})
	l.traffic(10, netlab.CloseByClient)
	l.round()
	inode := l.inode(l.client)
	require.Contains(t, l.audit.namespaces, inode)
	seen := l.audit.Report().Seen
	require.NoError(t, l.inhabitants[l.client].Process.Kill())
	require.Eventually(t, func() bool {
		l.round()
		return l.audit.namespaces[inode] == nil
	}, 5*time.Second, 10*time.Millisecond)
	assert.NotZero(t, l.audit.Report().Vanished)
	for i, n := range l.audit.Report().Seen {
		assert.GreaterOrEqual(t, n, seen[i], "what was seen stays")
	}
}

// Handshakes that are never completed have no socket; the kernel side counts their SYN-ACKs.
func TestTheAuditKnowsOfHandshakesThatAreNotCompleted(t *testing.T) {
	l := newLaboratory(t, bpf.Options{MaxFlows: 1000})
	server, err := l.server.StartServer(t.Context(), netlab.ServerConfig{Listen: netip.MustParseAddrPort("[::]:0")})
	require.NoError(t, err)
	hole, err := l.link.Fault(netlab.Blackhole{}, netlab.ToA) // what the server answers is lost
	require.NoError(t, err)
	report, err := l.client.RunClient(t.Context(), netlab.ClientConfig{
		Targets:     []netip.AddrPort{netip.AddrPortFrom(l.server.Addr4(), server.Port())},
		Connections: 10, Concurrency: 10, Timeout: 3500 * time.Millisecond,
	})
	require.NoError(t, err)
	require.Zero(t, report.Opened)
	require.NoError(t, hole.Clear())
	l.round()
	l.round()
	l.round()
	kernel, balances := l.nstat(l.server), l.balances(l.server).balances
	assert.GreaterOrEqual(t, kernel["TcpRetransSegs"], int64(10))
	for _, i := range []int{Retransmissions, Segments} {
		assert.Zero(t, balances[i].lost)
	}
	assert.Equal(t, kernel["TcpRetransSegs"], balances[Retransmissions].covered)
	assert.EqualValues(t, 10, l.balances(l.client).balances[ActiveOpens].covered)
}
