// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"context"
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// byID indexes a report.
func byID(t *testing.T, r *Report) map[uint64]ConnReport {
	t.Helper()
	m := map[uint64]ConnReport{}
	for _, c := range r.Conns {
		require.NotContains(t, m, c.ID)
		m[c.ID] = c
	}
	return m
}

func TestBothEndsCountTheSameBytes(t *testing.T) {
	a, _, b := pair(t)
	for name, config := range map[string]ClientConfig{
		"closed by the client":  {Close: CloseByClient},
		"closed by the server":  {Close: CloseByServer},
		"reset by the client":   {Close: ResetByClient},
		"reset by the server":   {Close: ResetByServer},
		"both ways at a time":   {Duplex: true, Close: CloseByServer},
		"three exchanges":       {Exchanges: 3, Close: CloseByServer},
		"IPv4-mapped":           {Mapped: true},
		"Multipath TCP":         {Multipath: true},
		"Fast Open":             {FastOpen: true},
		"nothing but a header":  {Upload: Exactly(0), Download: Exactly(0)},
		"a download only":       {Upload: Exactly(0), Close: CloseByServer},
		"many of little at all": {Connections: 300, Concurrency: 50, Upload: Size{0, 10}, Download: Size{0, 10}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t)
			server := serverOn(t, b)
			config.Targets = []netip.AddrPort{
				netip.AddrPortFrom(b.Addr4(), server.Port()),
				netip.AddrPortFrom(b.Addr6(), server.Port()),
			}
			if config.Connections == 0 {
				config.Connections, config.Concurrency = 20, 4
			}
			if config.Upload == (Size{}) {
				config.Upload = Size{1, 1_000_000}
			}
			if config.Download == (Size{}) {
				config.Download = Size{1, 1_000_000}
			}
			client, err := a.RunClient(ctx, config)
			require.NoError(t, err)
			at, err := server.Stop(ctx)
			require.NoError(t, err)
			assert.Equal(t, config.Connections, client.Attempted)
			assert.Equal(t, config.Connections, client.Opened)
			assert.Zero(t, client.Failed)
			assert.Equal(t, config.Connections, at.Opened)
			assert.Equal(t, client.Written, at.Read)
			assert.Equal(t, client.Read, at.Written)
			servers := byID(t, at)
			var sum int64
			for id, c := range byID(t, client) {
				s, ok := servers[id]
				require.True(t, ok)
				assert.Equal(t, c.Written, s.Read)
				assert.Equal(t, c.Read, s.Written)
				assert.Equal(t, c.Local.Port(), s.Remote.Port())
				assert.Equal(t, c.Local.Addr().Unmap(), s.Remote.Addr().Unmap())
				assert.Equal(t, config.Mapped && s.Local.Addr().Is4In6(), c.Local.Addr().Is4In6())
				assert.GreaterOrEqual(t, c.Written, int64(headerSize*max(1, config.Exchanges)))
				assert.NotZero(t, c.Cookie)
				sum += c.Written
				// The end that is reset sees it; nobody else sees an error.
				wantClient, wantServer := syscall.Errno(0), syscall.Errno(0)
				if config.Close == ResetByClient {
					wantServer = syscall.ECONNRESET
				}
				if config.Close == ResetByServer {
					wantClient = syscall.ECONNRESET
				}
				assert.Equal(t, wantClient, c.Errno, c.Err)
				assert.Equal(t, wantServer, s.Errno, s.Err)
			}
			assert.Equal(t, client.Written, sum)

			again, err := server.Stop(ctx)
			require.NoError(t, err)
			assert.Same(t, at, again)
		})
	}
}

func TestSizesComeAgainWithTheSeed(t *testing.T) {
	a, _, b := pair(t)
	server := serverOn(t, b)
	sizes := func(seed uint64) map[int64]bool {
		report, err := a.RunClient(testContext(t), ClientConfig{
			Targets: to(b, server), Connections: 20, Concurrency: 5, Upload: Size{100, 100_000}, Seed: seed,
		})
		require.NoError(t, err)
		all := map[int64]bool{}
		for _, c := range report.Conns {
			all[c.Written] = true
		}
		return all
	}
	first := sizes(1)
	assert.Greater(t, len(first), 10)
	assert.Equal(t, first, sizes(1))
	assert.NotEqual(t, first, sizes(2))
}

func TestSlowReaderIsSlow(t *testing.T) {
	a, _, b := pair(t)
	ctx := testContext(t)
	server, err := b.StartServer(ctx, ServerConfig{Listen: dual, ReceiveBuffer: 8 << 10})
	require.NoError(t, err)
	for name, config := range map[string]ClientConfig{
		"the server": {Upload: Exactly(500_000), ServerReadRate: 1_000_000},
		"the client": {Download: Exactly(500_000), ReadRate: 1_000_000, ReceiveBuffer: 8 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			config.Targets, config.Connections = to(b, server), 1
			config.Close = CloseByServer
			report, err := a.RunClient(ctx, config)
			require.NoError(t, err)
			require.Zero(t, report.Severed)
			took := report.Conns[0].Duration
			assert.GreaterOrEqual(t, took, 490*time.Millisecond)
			assert.Less(t, took, 5*time.Second)
		})
	}
}

func TestServerThatAcceptsNothingOverflowsItsBacklog(t *testing.T) {
	a, _, b := pair(t)
	ctx := testContext(t)
	server, err := b.StartServer(ctx, ServerConfig{Listen: netip.AddrPortFrom(b.Addr4(), 0), Backlog: 3, NoAccept: true})
	require.NoError(t, err)
	client, err := a.StartClient(ctx, ClientConfig{
		Targets: to(b, server), Connections: 10, Stepwise: true, Timeout: time.Second,
	})
	require.NoError(t, err)
	begun := client.Begun()
	assert.GreaterOrEqual(t, begun.Opened, 4, "the backlog and one")
	assert.GreaterOrEqual(t, begun.Failed, 4, "more only if a handshake was under way when the queue became full")
	assert.Equal(t, 10, begun.Opened+begun.Failed)
	_, err = client.Stop(ctx)
	require.NoError(t, err)
	report, err := server.Stop(ctx)
	require.NoError(t, err)
	assert.Zero(t, report.Attempted)
}

func TestServerForIPv6OnlyRefusesIPv4(t *testing.T) {
	a, _, b := pair(t)
	ctx := testContext(t)
	server, err := b.StartServer(ctx, ServerConfig{Listen: dual, IPv6Only: true})
	require.NoError(t, err)
	report, err := a.RunClient(ctx, ClientConfig{Targets: []netip.AddrPort{
		netip.AddrPortFrom(b.Addr4(), server.Port()), netip.AddrPortFrom(b.Addr6(), server.Port()),
	}, Connections: 2})
	require.NoError(t, err)
	assert.Equal(t, 1, report.Failed)
	assert.Equal(t, 1, report.Opened)
}

func TestStepwiseClientGoesOnWhenItIsTold(t *testing.T) {
	a, _, b := pair(t)
	for name, mode := range map[string]CloseMode{"client": CloseByClient, "server": CloseByServer, "reset": ResetByServer} {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t)
			server := serverOn(t, b)
			client, err := a.StartClient(ctx, ClientConfig{
				Targets: to(b, server), Connections: 5, Stepwise: true, Upload: Exactly(1000), Download: Exactly(2000), Close: mode,
			})
			require.NoError(t, err)
			assert.Equal(t, 5, client.Begun().Opened)
			assert.Zero(t, client.Begun().Written)
			for i := range int64(3) {
				report, err := client.Exchange(ctx)
				require.NoError(t, err)
				assert.Equal(t, 5*(i+1)*(1000+headerSize), report.Written)
				assert.Equal(t, 5*(i+1)*2000, report.Read)
				for _, c := range report.Conns {
					assert.True(t, c.Open)
				}
			}
			report, err := client.Stop(ctx)
			require.NoError(t, err)
			at, err := server.Stop(ctx)
			require.NoError(t, err)
			assert.Equal(t, report.Written, at.Read)
			assert.Equal(t, report.Read, at.Written)
			for _, c := range report.Conns {
				assert.False(t, c.Open)
			}
		})
	}
}

func TestEndlessClientStopsWhenItIsTold(t *testing.T) {
	a, _, b := pair(t)
	ctx := testContext(t)
	server := serverOn(t, b)
	client, err := a.StartClient(ctx, ClientConfig{
		Targets: to(b, server), Interval: time.Millisecond, Concurrency: 2, Upload: Exactly(10), Summary: true,
	})
	require.NoError(t, err)
	w, err := a.WatchDestroyed(ctx)
	require.NoError(t, err)
	_, err = w.Wait(ctx, 50)
	require.NoError(t, err)
	report, err := client.Stop(ctx)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, report.Opened, 50)
	assert.Empty(t, report.Conns)
	assert.Zero(t, report.Severed)
	again, err := client.Wait(ctx)
	require.NoError(t, err)
	assert.Same(t, report, again)
}

func TestAppsSayWhatIsWrong(t *testing.T) {
	a, _, b := pair(t)
	ctx := testContext(t)
	server := serverOn(t, b)
	_, err := b.StartServer(ctx, ServerConfig{Listen: netip.AddrPortFrom(b.Addr4(), server.Port())})
	assert.ErrorContains(t, err, "address already in use")
	_, err = b.StartServer(ctx, ServerConfig{})
	assert.ErrorContains(t, err, "no address")
	_, err = b.StartServer(ctx, ServerConfig{Listen: netip.AddrPortFrom(a.Addr4(), 0)})
	assert.ErrorContains(t, err, "cannot assign requested address")

	_, err = a.StartClient(ctx, ClientConfig{
		Upload: Size{5, 1}, Download: Size{-1, 0}, Connections: -1, Timeout: -1, Close: 9, Targets: []netip.AddrPort{{}},
	})
	for _, want := range []string{"Upload", "Download", "Connections", "Timeout", "Close", "no address and port"} {
		assert.ErrorContains(t, err, want)
	}
	_, err = a.StartClient(ctx, ClientConfig{Stepwise: true})
	assert.ErrorContains(t, err, "no Targets")
	assert.ErrorContains(t, err, "Stepwise")
	_, err = a.RunClient(ctx, ClientConfig{Targets: to(b, server)})
	assert.Error(t, err, "it would never end")
	client, err := a.StartClient(ctx, ClientConfig{Targets: to(b, server)})
	require.NoError(t, err)
	_, err = client.Exchange(ctx)
	assert.Error(t, err)
	_, err = client.Stop(ctx)
	require.NoError(t, err)

	// One that dies is reported, and its context kills it.
	short, cancel := context.WithCancel(ctx)
	victim, err := b.StartServer(short, ServerConfig{Listen: dual})
	require.NoError(t, err)
	cancel()
	<-victim.proc.done
	_, err = victim.Stop(ctx)
	assert.ErrorContains(t, err, "has ended")

	stuck, err := a.StartClient(ctx, ClientConfig{Targets: to(b, server), Connections: 1, Upload: Exactly(maxTransfer), ServerReadRate: 1})
	require.NoError(t, err)
	expired, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	_, err = stuck.Wait(expired)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestAppNeedsMain(t *testing.T) {
	a, _, _ := pair(t)
	mainCalled.Store(false)
	defer mainCalled.Store(true)
	_, err := a.StartServer(t.Context(), ServerConfig{Listen: dual})
	assert.ErrorContains(t, err, "netlab.Main")
}

func TestErrorOfAConnectionIsWrittenDown(t *testing.T) {
	var r ConnReport
	r.setError(nil)
	assert.Equal(t, ConnReport{}, r)
	r.setError(&opError{"write", syscall.EPIPE})
	assert.Equal(t, ConnReport{Op: "write", Err: "write: broken pipe", Errno: syscall.EPIPE}, r)
	r = ConnReport{}
	r.setError(errors.New("other"))
	assert.Equal(t, ConnReport{Op: "read", Err: "other"}, r)
}
