// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"math"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// withinBinomial checks a count of hits against n draws at rate p, at six standard
// deviations: a right rate fails once in 500 million runs.
func withinBinomial(t *testing.T, n, hits uint64, p float64) {
	t.Helper()
	mean := float64(n) * p
	assert.InDelta(t, mean, float64(hits), 6*math.Sqrt(mean*(1-p))+1, "%d of %d at rate %v", hits, n, p)
}

func TestLossDropsTheConfiguredShareAndNoMore(t *testing.T) {
	a, r, b := pair(t)
	const n = 40_000
	for name, test := range map[string]struct {
		inject func(Fault) (*Injection, error)
		rate   float64
		addr   netip.Addr
	}{
		"on the sender's link":             {func(f Fault) (*Injection, error) { return a.Link().Fault(f, FromA) }, 0.03, b.Addr4()},
		"on the receiver's link":           {func(f Fault) (*Injection, error) { return b.Link().Fault(f, ToA) }, 0.3, b.Addr6()},
		"leaving the sender":               {func(f Fault) (*Injection, error) { return a.Fault(f, Out) }, 0.5, b.Addr4()},
		"coming to the receiver":           {func(f Fault) (*Injection, error) { return b.Fault(f, In) }, 0.001, b.Addr4()},
		"in the router, once for a packet": {func(f Fault) (*Injection, error) { return r.Fault(f, In) }, 0.1, b.Addr6()},
		"leaving the router":               {func(f Fault) (*Injection, error) { return r.Fault(f, Out) }, 0.1, b.Addr4()},
		"both directions":                  {func(f Fault) (*Injection, error) { return b.Fault(f, Both) }, 0.03, b.Addr4()},
	} {
		t.Run(name, func(t *testing.T) {
			in, err := test.inject(Loss{Rate: test.rate})
			require.NoError(t, err)
			rx, tx := udpSocket(t, b), udpSocket(t, a)
			dst := netip.AddrPortFrom(test.addr, localPort(rx))
			began := time.Now()
			for range n {
				_, err := tx.WriteToUDPAddrPort(make([]byte, 12), dst)
				require.NoError(t, err)
			}
			c, err := in.Counts()
			require.NoError(t, err)
			assert.EqualValues(t, n, c.Seen)
			withinBinomial(t, n, c.Hit, test.rate)
			// Exactly the others arrived: the last of them, and none after it.
			receiveAll(t, rx, began, int(n-c.Hit))
			require.NoError(t, rx.SetReadDeadline(time.Unix(1, 0)))
			_, err = rx.Read(make([]byte, 12))
			assert.Error(t, err)

			require.NoError(t, in.Clear())
			require.NoError(t, in.Clear(), "again")
			after, err := in.Counts()
			require.NoError(t, err)
			assert.Equal(t, c, after, "counts stay after Clear")
			flood(t, a, b, test.addr, 1000, 1000, 0)
		})
	}
}

func TestFaultStrikesOneDirectionOnly(t *testing.T) {
	a, _, b := pair(t)
	for name, test := range map[string]struct {
		inject  func() (*Injection, error)
		aToB    bool
		farSide *Node
	}{
		"link, from A": {func() (*Injection, error) { return a.Link().Fault(Blackhole{}, FromA) }, false, b},
		"link, to A":   {func() (*Injection, error) { return a.Link().Fault(Blackhole{}, ToA) }, true, b},
		"host, out":    {func() (*Injection, error) { return b.Fault(Blackhole{}, Out) }, true, a},
		"host, in":     {func() (*Injection, error) { return b.Fault(Blackhole{}, In) }, false, a},
	} {
		t.Run(name, func(t *testing.T) {
			in, err := test.inject()
			require.NoError(t, err)
			passes, blocked := [2]*Node{a, b}, [2]*Node{b, a}
			if !test.aToB {
				passes, blocked = blocked, passes
			}
			flood(t, passes[0], passes[1], passes[1].Addr4(), 100, 100, 0)
			before, err := in.Counts()
			require.NoError(t, err)
			assert.Zero(t, before.Hit)

			rx, tx := udpSocket(t, blocked[1]), udpSocket(t, blocked[0])
			for range 100 {
				_, err := tx.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(blocked[1].Addr6(), localPort(rx)))
				require.NoError(t, err)
			}
			c, err := in.Counts()
			require.NoError(t, err)
			assert.EqualValues(t, 100, c.Hit)
			require.NoError(t, in.Clear())
		})
	}
}

func TestFaultAtOneHostSparesItsNeighbour(t *testing.T) {
	needLab(t)
	lab := New()
	r := lab.Router("r")
	sick, well, server := r.Host("sick", "10.0.0.1"), r.Host("well", "10.0.0.2"), r.Host("server", "10.0.0.3")
	start(t, lab)
	s := serverOn(t, server)
	in, err := sick.Fault(Blackhole{}, Both)
	require.NoError(t, err)
	config := ClientConfig{Targets: to(server, s), Connections: 1, Timeout: 200 * time.Millisecond}
	report, err := sick.RunClient(testContext(t), config)
	require.NoError(t, err)
	assert.Equal(t, 1, report.Failed)
	config.Timeout = 0
	report, err = well.RunClient(testContext(t), config)
	require.NoError(t, err)
	assert.Equal(t, 1, report.Opened)
	require.NoError(t, in.Clear())
}

func TestClientSeesTheErrorOfTheFault(t *testing.T) {
	a, _, b := pair(t)
	server := serverOn(t, b)
	closed := netip.AddrPortFrom(b.Addr4(), 1)
	v4 := netip.AddrPortFrom(b.Addr4(), server.Port())
	v6 := netip.AddrPortFrom(b.Addr6(), server.Port())
	for name, test := range map[string]struct {
		fault  Fault
		target netip.AddrPort
		mapped bool
		want   syscall.Errno
	}{
		"a port on which nobody listens refuses":        {nil, closed, false, syscall.ECONNREFUSED},
		"refused, IPv4":                                 {Refused{}, v4, false, syscall.ECONNREFUSED},
		"refused, IPv6":                                 {Refused{}, v6, false, syscall.ECONNREFUSED},
		"refused, IPv4-mapped":                          {Refused{Port: server.Port()}, v4, true, syscall.ECONNREFUSED},
		"unreachable, IPv4":                             {Unreachable{}, v4, false, syscall.EHOSTUNREACH},
		"unreachable, IPv6":                             {Unreachable{Port: server.Port()}, v6, false, syscall.EHOSTUNREACH},
		"refused at another port does nothing":          {Refused{Port: 1}, v4, false, 0},
		"unreachable at another port does nothing":      {Unreachable{Port: 1}, v6, false, 0},
		"blackhole at another port does nothing":        {Blackhole{Port: 1}, v6, false, 0},
		"an address that the router does not know":      {nil, netip.MustParseAddrPort("10.9.9.9:1"), false, syscall.ENETUNREACH},
		"an IPv6 address that the router does not know": {nil, netip.MustParseAddrPort("[fd00:9::9]:1"), false, syscall.ENETUNREACH},
	} {
		t.Run(name, func(t *testing.T) {
			for place, inject := range map[string]func() (*Injection, error){
				"on the link":   func() (*Injection, error) { return a.Link().Fault(test.fault, FromA) },
				"at the server": func() (*Injection, error) { return b.Fault(test.fault, In) },
			} {
				if test.fault != nil {
					in, err := inject()
					require.NoError(t, err)
					defer func() { require.NoError(t, in.Clear()) }()
				}
				report, err := a.RunClient(testContext(t), ClientConfig{
					Targets: []netip.AddrPort{test.target}, Mapped: test.mapped, Connections: 5, Concurrency: 5, Upload: Exactly(100),
				})
				require.NoError(t, err)
				for _, c := range report.Conns {
					assert.Equal(t, test.want, c.Errno, "%s: %s", place, c.Err)
				}
			}
		})
	}
}

func TestBlackholedConnectTimesOut(t *testing.T) {
	a, _, b := pair(t)
	require.NoError(t, a.Sysctl("net.ipv4.tcp_syn_retries", "1"))
	in, err := b.Fault(Blackhole{}, In)
	require.NoError(t, err)
	report, err := a.RunClient(testContext(t), ClientConfig{
		Targets: []netip.AddrPort{netip.AddrPortFrom(b.Addr4(), 80)}, Connections: 2, Concurrency: 2,
	})
	require.NoError(t, err)
	for _, c := range report.Conns {
		assert.Equal(t, syscall.ETIMEDOUT, c.Errno, c.Err)
		assert.Equal(t, "connect", c.Op)
	}
	c, err := in.Counts()
	require.NoError(t, err)
	assert.GreaterOrEqual(t, c.Hit, uint64(4), "two SYNs of each")
}

func TestResetEndsOpenConnectionsAtBothEnds(t *testing.T) {
	a, _, b := pair(t)
	for name, target := range map[string]netip.Addr{"IPv4": b.Addr4(), "IPv6": b.Addr6()} {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t)
			server := serverOn(t, b)
			client, err := a.StartClient(ctx, ClientConfig{
				Targets: []netip.AddrPort{netip.AddrPortFrom(target, server.Port())}, Connections: 10, Stepwise: true,
				Upload: Exactly(100), Download: Exactly(100),
			})
			require.NoError(t, err)
			report, err := client.Exchange(ctx)
			require.NoError(t, err)
			require.Equal(t, 10, report.Opened)
			require.Zero(t, report.Severed)

			// What the server sends is answered with an RST, and lost: only it is told.
			in, err := b.Link().Fault(Reset{Port: server.Port()}, FromA)
			require.NoError(t, err)
			// With the other direction too, the client's own segments tell it.
			in2, err := a.Link().Fault(Reset{Port: server.Port()}, FromA)
			require.NoError(t, err)
			report, err = client.Exchange(ctx)
			require.NoError(t, err)
			assert.Equal(t, 10, report.Severed)
			for _, c := range report.Conns {
				assert.Equal(t, syscall.ECONNRESET, c.Errno, c.Err)
			}
			require.NoError(t, in.Clear())
			require.NoError(t, in2.Clear())
			_, err = client.Stop(ctx)
			require.NoError(t, err)
		})
	}
}

func TestFaultsAreIndependentAndClearedOneByOne(t *testing.T) {
	a, _, b := pair(t)
	var all []*Injection
	for range 4 {
		in, err := a.Link().Fault(Loss{Rate: 0.5}, Both)
		require.NoError(t, err)
		all = append(all, in)
	}
	const n = 20_000
	rx, tx := udpSocket(t, b), udpSocket(t, a)
	for range n {
		_, err := tx.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(b.Addr4(), localPort(rx)))
		require.NoError(t, err)
	}
	left := uint64(n)
	for _, in := range all {
		c, err := in.Counts()
		require.NoError(t, err)
		assert.Equal(t, left, c.Seen)
		withinBinomial(t, c.Seen, c.Hit, 0.5)
		left -= c.Hit
	}
	for _, in := range all {
		require.NoError(t, in.Clear())
	}
	flood(t, a, b, b.Addr4(), 1000, 1000, 0)
}

func TestFaultRefusesWhatMakesNoSense(t *testing.T) {
	a, r, _ := pair(t)
	for name, test := range map[string]struct {
		fault Fault
		dir   Direction
		want  string
	}{
		"no loss":               {Loss{}, In, "loss rate 0"},
		"less than the least":   {Loss{Rate: 1e-7}, In, "loss rate 1e-07"},
		"more than all":         {Loss{Rate: 1.1}, In, "loss rate 1.1"},
		"negative loss":         {Loss{Rate: -1}, In, "loss rate -1"},
		"not a number":          {Loss{Rate: math.NaN()}, In, "loss rate NaN"},
		"no delay":              {Delay{}, In, "delay 0s"},
		"two things at a time":  {Delay{Delay: time.Second, Jitter: 2 * time.Second, Queue: -1}, In, "queue -1"},
		"more jitter than time": {Delay{Delay: time.Second, Jitter: 2 * time.Second, Queue: -1}, In, "jitter 2s"},
		"no fault":              {nil, In, "no fault"},
		"no direction":          {Blackhole{}, 0, "direction"},
		"a strange direction":   {Blackhole{}, 7, "direction"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := a.Fault(test.fault, test.dir)
			assert.ErrorContains(t, err, test.want)
			_, err = a.Link().Fault(test.fault, test.dir)
			assert.ErrorContains(t, err, test.want)
		})
	}
	_, err := r.Fault(Loss{Rate: 0.5}, Both)
	assert.ErrorContains(t, err, "twice")
	for _, ok := range []Loss{{Rate: 1e-6}, {Rate: 1}} {
		in, err := a.Fault(ok, Both)
		require.NoError(t, err)
		require.NoError(t, in.Clear())
	}
}
