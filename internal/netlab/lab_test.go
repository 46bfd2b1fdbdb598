// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestHostsReachEachOtherAcrossThreeRouters(t *testing.T) {
	needLab(t)
	lab := New()
	vpcA, tgw, vpcB := lab.Router("vpc-a"), lab.Router("tgw"), lab.Router("vpc-b")
	lab.Link(vpcA, tgw)
	lab.Link(tgw, vpcB)
	client := vpcA.Host("client", "10.1.0.1", "fd00:a::1")
	sibling := vpcA.Host("sibling", "10.1.0.2", "fd00:a::2")
	web := vpcB.Host("web", "10.2.0.1", "fd00:b::1", "10.2.0.77")
	start(t, lab)

	server := serverOn(t, web)
	near := serverOn(t, sibling)
	targets := []netip.AddrPort{
		netip.AddrPortFrom(web.Addr4(), server.Port()),
		netip.AddrPortFrom(web.Addr6(), server.Port()),
		netip.AddrPortFrom(web.Addrs()[2], server.Port()),
		netip.AddrPortFrom(sibling.Addr4(), near.Port()),
		netip.AddrPortFrom(sibling.Addr6(), near.Port()),
		netip.MustParseAddrPort("127.0.0.1:1"), // its own loopback: nobody listens
	}
	report, err := client.RunClient(testContext(t), ClientConfig{
		Targets: targets, Connections: len(targets), Upload: Exactly(5000), Download: Exactly(5000),
	})
	require.NoError(t, err)
	assert.Equal(t, 5, report.Opened)
	assert.Equal(t, 1, report.Failed)
	assert.Equal(t, 0, report.Severed)
	for _, c := range report.Conns[:5] {
		assert.True(t, c.Local.Addr() == client.Addr4() || c.Local.Addr() == client.Addr6(), "from %s", c.Local)
	}

	// Three routers: the segment arrives with three hops less.
	assert.Equal(t, 64-3, hopLimit(t, client, web))
	assert.Equal(t, 64-1, hopLimit(t, client, sibling))
}

// hopLimit sends a datagram and returns the TTL with which it arrives.
func hopLimit(t *testing.T, from, to *Node) int {
	t.Helper()
	rx := udpSocket(t, to)
	tx := udpSocket(t, from)
	raw, err := rx.SyscallConn()
	require.NoError(t, err)
	var ttl int
	require.NoError(t, raw.Control(func(fd uintptr) { require.NoError(t, receiveTTL(int(fd))) }))
	_, err = tx.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(to.Addr4(), localPort(rx)))
	require.NoError(t, err)
	ttl, err = readTTL(rx)
	require.NoError(t, err)
	return ttl
}

func TestTwoLinkedHostsNeedNoRouter(t *testing.T) {
	needLab(t)
	lab := New()
	a := lab.Host("a", "10.0.0.1")
	b := lab.Host("b", "10.0.0.2", "fd00::2")
	link := lab.Link(a, b)
	start(t, lab)
	assert.Same(t, a, link.A())
	assert.Same(t, b, link.B())
	assert.Same(t, link, b.Link())
	server := serverOn(t, b)
	report, err := a.RunClient(testContext(t), ClientConfig{Targets: to(b, server), Connections: 1, Upload: Exactly(10)})
	require.NoError(t, err)
	assert.Equal(t, 1, report.Opened)
}

func TestHostWithTwoLinksTakesTheShorterWay(t *testing.T) {
	needLab(t)
	lab := New()
	r1, r2, r3 := lab.Router("r1"), lab.Router("r2"), lab.Router("r3")
	lab.Link(r1, r2)
	lab.Link(r2, r3)
	multi := r1.Host("multi", "10.0.0.1")
	lab.Link(multi, r3)
	far := r3.Host("far", "10.0.3.1")
	near := r1.Host("near", "10.0.1.1")
	start(t, lab)
	assert.Equal(t, 64-1, hopLimit(t, multi, far))
	assert.Equal(t, 64-1, hopLimit(t, multi, near))
	assert.Equal(t, 64-3, hopLimit(t, near, far), "hosts do not forward: not through multi")
}

func TestInterfaceNamesFitAndDiffer(t *testing.T) {
	needLab(t)
	lab := New()
	r := lab.Router("router")
	first := r.Host("a-name-that-is-as-long-as-a-name-may-be1", "10.0.0.1")
	second := r.Host("a-name-that-is-as-long-as-a-name-may-be2", "10.0.0.2")
	r.Host("lo", "10.0.0.3")
	r.Host("default", "10.0.0.4")
	twice := r.Host("twice", "10.0.0.5")
	lab.Link(twice, r)
	start(t, lab)
	names := map[string]bool{"lo": true}
	for _, p := range r.ports {
		assert.False(t, names[p.device], "two interfaces are called %q", p.device)
		assert.LessOrEqual(t, len(p.device), unix.IFNAMSIZ-1)
		names[p.device] = true
	}
	flood(t, first, second, second.Addr4(), 10, 10, 0)
	flood(t, first, twice, twice.Addr4(), 10, 10, 0)
}

func TestSegmentsOnTheCableAreOfOneMTU(t *testing.T) {
	a, _, b := pair(t)
	server := serverOn(t, b)
	in, err := a.Link().Fault(Loss{Rate: 1e-6, Port: server.Port()}, FromA) // counts what passes
	require.NoError(t, err)
	const size = 1_000_000
	_, err = a.RunClient(testContext(t), ClientConfig{Targets: to(b, server), Connections: 1, Upload: Exactly(size)})
	require.NoError(t, err)
	// A client has closed its connection before the last of it has crossed.
	assert.EventuallyWithT(t, func(t *assert.CollectT) {
		c, err := in.Counts()
		require.NoError(t, err)
		assert.GreaterOrEqual(t, c.Seen, uint64(size/mtu), "packets of more than one segment crossed the link")
	}, 10*time.Second, 20*time.Millisecond)
}

func TestDeclarationErrorsAreReportedAllAtOnce(t *testing.T) {
	lab := New()
	other := New().Host("elsewhere", "10.0.0.9")
	a := lab.Host("a", "10.0.0.1", "10.0.0.300", "fe80::1%eth0")
	lab.Host("a", "10.0.0.1")
	lab.Host("Upper.Case", "::ffff:1.2.3.4")
	lab.Link(a, a)
	lab.Link(a, other)
	err := lab.Start(t.Context())
	require.Error(t, err)
	for _, want := range []string{
		`"10.0.0.300"`, `"fe80::1%eth0"`, `node "a" is declared twice`, `address 10.0.0.1 is that of "a"`,
		`node "Upper.Case"`, `"::ffff:1.2.3.4"`, "two nodes of one lab",
	} {
		assert.ErrorContains(t, err, want)
	}
	assert.NoError(t, lab.Close())
	assert.Error(t, lab.Start(t.Context()), "a lab starts once")
}

func TestNothingWorksBeforeStartAndAfterClose(t *testing.T) {
	needLab(t)
	lab := New()
	r := lab.Router("r")
	a := r.Host("a", "10.0.0.1")
	check := func() {
		t.Helper()
		assert.Error(t, a.Do(func() error { t.Error("fn ran"); return nil }))
		assert.Error(t, a.Command(t.Context(), "true").Run())
		assert.Error(t, a.Sysctl("net.ipv4.ip_forward", "1"))
		_, err := a.Fault(Blackhole{}, In)
		assert.Error(t, err)
		_, err = a.Fault(Delay{Delay: 1}, In)
		assert.Error(t, err)
		_, err = a.WatchDestroyed(t.Context())
		assert.Error(t, err)
		_, err = a.WatchDestroyedBySS(t.Context())
		assert.Error(t, err)
		_, err = a.StartServer(t.Context(), ServerConfig{Listen: dual})
		assert.Error(t, err)
	}
	assert.Empty(t, lab.ID())
	assert.Empty(t, lab.Cgroup())
	assert.Empty(t, a.NetnsPath())
	check()
	require.NoError(t, lab.Start(t.Context()))
	assert.Error(t, lab.Start(t.Context()))
	require.NoError(t, lab.Close())
	require.NoError(t, lab.Close())
	check()
}

func TestStartThatFailsLeavesNothing(t *testing.T) {
	needLab(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	lab := New()
	r := lab.Router("r")
	r.Host("a", "10.0.0.1")
	require.ErrorIs(t, lab.Start(ctx), context.Canceled)
	assert.Empty(t, traces(t, lab.ID()))
}

func TestTwoLabsWithTheSameNamesAndAddressesLiveSideBySide(t *testing.T) {
	a1, _, b1 := pair(t)
	a2, _, b2 := pair(t)
	assert.NotEqual(t, a1.NetnsPath(), a2.NetnsPath())
	s1 := serverOn(t, b1)
	in, err := a2.Fault(Blackhole{}, Both)
	require.NoError(t, err)
	config := ClientConfig{Targets: to(b1, s1), Connections: 3, Upload: Exactly(1000)}
	report, err := a1.RunClient(testContext(t), config)
	require.NoError(t, err)
	assert.Equal(t, 3, report.Opened, "a fault in one lab struck the other")

	require.NoError(t, in.Clear())
	report, err = a2.RunClient(testContext(t), config)
	require.NoError(t, err)
	assert.Equal(t, 3, report.Failed, "a server of one lab answered in the other")

	require.NoError(t, a2.lab.Close())
	report, err = a1.RunClient(testContext(t), config)
	require.NoError(t, err)
	assert.Equal(t, 3, report.Opened, "closing one lab hurt the other")
	_ = b2
}

func BenchmarkLabOfTenHosts(b *testing.B) {
	needLab(b)
	for b.Loop() {
		lab := New()
		r := lab.Router("r")
		for i := range 10 {
			r.Host("host-"+strconv.Itoa(i), "10.0.0."+strconv.Itoa(i+1), "fd00::"+strconv.Itoa(i+1))
		}
		require.NoError(b, lab.Start(b.Context()))
		require.NoError(b, lab.Close())
	}
}

// traces lists all that the machine shows of labs whose name begins with prefix.
func traces(t testing.TB, prefix string) []string {
	t.Helper()
	var found []string
	root, err := findCgroup2()
	require.NoError(t, err)
	for _, dir := range []string{netnsDir, root, privateMounts} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), prefix) {
				found = append(found, filepath.Join(dir, e.Name()))
			}
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, prefix) {
			found = append(found, line)
		}
	}
	links, err := net.Interfaces()
	require.NoError(t, err)
	for _, l := range links {
		if strings.Contains(l.HardwareAddr.String(), "02:4e:4c") {
			found = append(found, l.Name)
		}
	}
	return found
}
