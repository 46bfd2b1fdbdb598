// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package soak

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

// load is what the applications do until they are stopped.
type load struct {
	clients map[string][]*netlab.Client // by host
	stop    context.CancelFunc          // of the exchanges
	working sync.WaitGroup
}

// startLoad has both clients talk to the server: short connections with every way to end, connections that
// last, slow readers, and attempts at a port that nobody listens on.
func startLoad(t *testing.T, f *fleet) *load {
	t.Helper()
	server := f.watched[len(f.watched)-1]
	at := netip.AddrPortFrom(server.Addr4(), lossy)
	ctx, stop := context.WithCancel(t.Context())
	l := &load{clients: map[string][]*netlab.Client{}, stop: stop}
	for _, n := range f.watched[:len(f.watched)-1] {
		begin := func(config netlab.ClientConfig) *netlab.Client {
			config.Summary = true
			if config.Targets == nil {
				config.Targets = []netip.AddrPort{at}
			}
			c, err := n.StartClient(t.Context(), config)
			require.NoError(t, err)
			l.clients[n.Name()] = append(l.clients[n.Name()], c)
			return c
		}
		// A connection that waits for its retransmission timer holds up no other.
		for _, how := range []netlab.CloseMode{netlab.CloseByClient, netlab.CloseByServer, netlab.ResetByClient} {
			begin(netlab.ClientConfig{Close: how, Concurrency: 8, Interval: 30 * time.Millisecond, Upload: netlab.Size{Max: 20_000}, Download: netlab.Size{Max: 50_000}, Seed: uint64(how) + 1})
		}
		begin(netlab.ClientConfig{Concurrency: 2, Interval: time.Second, Upload: netlab.Exactly(1000), Download: netlab.Exactly(200_000), ReadRate: 200_000})
		begin(netlab.ClientConfig{Concurrency: 1, Interval: 200 * time.Millisecond, Targets: []netip.AddrPort{netip.AddrPortFrom(server.Addr4(), refusing)}})
		lasting := begin(netlab.ClientConfig{Stepwise: true, Connections: 20, Concurrency: 20, Upload: netlab.Exactly(5_000), Download: netlab.Exactly(20_000)})
		l.working.Go(func() {
			for ctx.Err() == nil {
				if _, err := lasting.Exchange(t.Context()); !assert.NoError(t, err) {
					return
				}
				select {
				case <-ctx.Done():
				case <-time.After(2 * time.Second):
				}
			}
		})
	}
	return l
}

// end lets all connections end, and gives what the applications of each client host counted.
func (l *load) end(t *testing.T) map[string]netlab.Report {
	t.Helper()
	l.stop()
	l.working.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	sums := map[string]netlab.Report{}
	for host, clients := range l.clients {
		var sum netlab.Report
		for _, c := range clients {
			r, err := c.Stop(ctx)
			require.NoError(t, err)
			sum.Attempted += r.Attempted
			sum.Opened += r.Opened
			sum.Failed += r.Failed
			sum.Severed += r.Severed
			sum.Written += r.Written
			sum.Read += r.Read
		}
		sums[host] = sum
	}
	return sums
}
