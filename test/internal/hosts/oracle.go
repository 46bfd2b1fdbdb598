// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package hosts

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

// Oracle watches the end of every socket of a host, by ss and by netlink: iproute2 6.1
// does not print total_rto.
type Oracle struct {
	ss, netlink *netlab.DestroyWatch
}

// Watch begins: no socket that is destroyed from here on is missed.
func Watch(t testing.TB, n *netlab.Node) Oracle {
	t.Helper()
	var o Oracle
	var err error
	o.ss, err = n.WatchDestroyedBySS(t.Context())
	require.NoError(t, err)
	o.netlink, err = n.WatchDestroyed(t.Context())
	require.NoError(t, err)
	return o
}

// Ended waits for the ends of n connections and sums up their counters.
func (o Oracle) Ended(t testing.TB, n int) netlab.Totals {
	t.Helper()
	bySS, byNetlink := o.Sockets(t, n)
	sum := netlab.Sum(bySS)
	require.Equal(t, n, sum.Sockets, "connections that ended")
	// What iproute2 6.1 does not print, or rounds.
	more := netlab.Sum(byNetlink)
	sum.TotalRTO, sum.HasTotalRTO, sum.DSACKs, sum.DeliveredCE = more.TotalRTO, more.HasTotalRTO, more.DSACKs, more.DeliveredCE
	sum.Busy, sum.ReceiverWindowLimited, sum.SendBufferLimited = more.Busy, more.ReceiverWindowLimited, more.SendBufferLimited
	return sum
}

// Sockets waits for the ends of n connections and gives all that there were, listeners
// aside, as ss and as netlink said.
func (o Oracle) Sockets(t testing.TB, n int) (bySS, byNetlink []netlab.Destroyed) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	enough := func(ds []netlab.Destroyed) bool { return len(connections(ds)) >= n }
	_, err := o.ss.WaitFor(ctx, "connections of ss", enough)
	require.NoError(t, err)
	_, err = o.netlink.WaitFor(ctx, "connections of netlink", enough)
	require.NoError(t, err)
	bySS, err = o.ss.Close() // reports overruns
	require.NoError(t, err)
	byNetlink, err = o.netlink.Close()
	require.NoError(t, err)
	return connections(bySS), connections(byNetlink)
}

func connections(ds []netlab.Destroyed) (kept []netlab.Destroyed) {
	for _, d := range ds {
		if !d.Listener() && !d.ThrownAway() {
			kept = append(kept, d)
		}
	}
	return kept
}
