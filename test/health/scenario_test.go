// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package health

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

// scenario is what is done to the packets, and what has to be said of it.
type scenario struct {
	name      string
	injected  string
	begin     func(t testing.TB, f *fleet) (end func())
	state     string
	causes    []string
	component string // suspected; "": not asked
	short     bool   // also in the short form
}

// lost is the loss of every scenario that loses.
const lost = 0.01

// added is what the delay adds to each round trip: the lab's own are 0.1 ms, so that the least that is
// promised to be found counts, 0.5 ms.
const added = time.Millisecond

const (
	gateway = flowattr.ComponentTransitGateway + "/tgw-hub"
	client1 = flowattr.ComponentInstance + "/i-client-1"
	server1 = flowattr.ComponentInstance + "/i-server-1"
)

var (
	none       = []string{flowattr.CauseNone}
	network    = []string{flowattr.CauseNetwork}
	localHost  = []string{flowattr.CauseLocalHost}
	remoteHost = []string{flowattr.CauseRemoteHost}
	// A reader that is slow may be one host's or its application's.
	reader      = []string{flowattr.CauseRemoteHost, flowattr.CauseApplication}
	application = []string{flowattr.CauseApplication}
)

func onLink(link func(*fleet) *netlab.Link, fault netlab.Fault, d netlab.Direction) func(testing.TB, *fleet) func() {
	return func(t testing.TB, f *fleet) func() {
		in, err := link(f).Fault(fault, d)
		require.NoError(t, err)
		return func() { require.NoError(t, in.Clear()) }
	}
}

func trunk(f *fleet) *netlab.Link       { return f.trunk }
func plane(f *fleet) *netlab.Link       { return f.plane }
func client1Link(f *fleet) *netlab.Link { return f.clients[0].Link() }
func server1Link(f *fleet) *netlab.Link { return f.servers[0].Link() }

var scenarios = []scenario{
	{
		name: "shared link", injected: "1 % of what crosses the gateway's cable, both ways",
		begin: onLink(trunk, netlab.Loss{Rate: lost}, netlab.Both),
		state: flowattr.StateDegraded, causes: network, component: gateway,
	},
	{
		name: "one sender", injected: "1 % of what one client sends",
		begin: onLink(client1Link, netlab.Loss{Rate: lost}, netlab.Out),
		state: flowattr.StateHealthy, causes: localHost, component: client1,
	},
	{
		name: "one receiver", injected: "1 % of what is sent to one server", short: true,
		begin: onLink(server1Link, netlab.Loss{Rate: lost}, netlab.In),
		state: flowattr.StateHealthy, causes: remoteHost, component: server1,
	},
	{
		name: "slow reader", injected: "one server reads 100 kB/s of each connection",
		begin: slowReader,
		state: flowattr.StateHealthy, causes: reader,
	},
	{
		name: "refused", injected: "one server refuses all connections",
		begin: onLink(server1Link, netlab.Refused{}, netlab.In),
		state: flowattr.StateHealthy, causes: application,
	},
	{
		name: "one of two equal-cost paths", injected: "1 % of what takes one of the gateway's two paths, both ways", short: true,
		begin: onLink(plane, netlab.Loss{Rate: lost}, netlab.Both),
		state: flowattr.StateDegraded, causes: network, component: gateway,
	},
	{
		name: "delay", injected: "1 ms more across the gateway",
		begin: onLink(trunk, netlab.Delay{Delay: added}, netlab.FromA),
		state: flowattr.StateDegraded, causes: network, component: gateway,
	},
	{
		name: "one direction", injected: "1 % of what crosses the gateway's cable from the clients",
		begin: onLink(trunk, netlab.Loss{Rate: lost}, netlab.FromA),
		state: flowattr.StateDegraded, causes: network, component: gateway,
	},
}

// slowReader has what the clients send to one server read slowly there: more than the
// receive buffer holds, so that the senders wait for its window.
func slowReader(t testing.TB, f *fleet) func() {
	f.retalk(t, 0, netlab.ClientConfig{
		Interval: 8 * interval, Upload: netlab.Exactly(32 * size), Download: netlab.Exactly(size), ServerReadRate: 100_000,
		Timeout: 4 * time.Second,
	})
	return func() { f.retalk(t, 0, ordinary) }
}
