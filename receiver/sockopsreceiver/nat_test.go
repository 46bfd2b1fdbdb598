// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sockopsreceiver

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/conntrack"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/metadatatest"
)

// Connections as the kernel tells them while they are young: a pod's through a service, a
// pod's behind a host port, one that is not translated (that of web); and the first one's
// flow once the kernel was told of it.
var (
	serviceRow = bpf.FlowKey{
		Kind: bpf.KindConnection, Role: bpf.RoleClient, Ports: bpf.PortPeer, Netns: 4026531840,
		Local: address("::ffff:10.1.0.2"), LocalPort: 40000, Peer: address("::ffff:172.20.0.10"), PeerPort: 443,
	}
	hostPortRow = bpf.FlowKey{
		Kind: bpf.KindConnection, Role: bpf.RoleServer, Ports: bpf.PortLocal, Netns: 4026531840,
		Local: address("fd00:2::2"), LocalPort: 8443, Peer: address("fd00::1"), PeerPort: 61000,
	}
	plainRow = bpf.FlowKey{
		Kind: bpf.KindConnection, Role: bpf.RoleClient, Ports: bpf.PortPeer, Netns: 4026531840,
		Local: web.Local, LocalPort: 40001, Peer: web.Peer, PeerPort: 443,
	}
	serviceFlow = bpf.FlowKey{
		Role: bpf.RoleClient, Netns: 4026531840, Translation: 1,
		Local: address("::ffff:10.1.0.2"), Peer: address("::ffff:172.20.0.10"), PeerPort: 443,
	}
)

func translations() *fakeTracker {
	ap := netip.MustParseAddrPort
	return &fakeTracker{known: map[[2]netip.AddrPort]conntrack.Translation{
		{ap("10.1.0.2:40000"), ap("172.20.0.10:443")}:   {Local: ap("10.1.0.2:40000"), Peer: ap("10.2.0.2:8443")},
		{ap("[fd00:2::2]:8443"), ap("[fd00::1]:61000")}: {Local: ap("[fd00::2]:8080"), Peer: ap("[fd00:1::2]:40000")},
	}}
}

func TestTheTrackerLivesAsLongAsTheReceiver(t *testing.T) {
	for name, failing := range map[string]error{"followed": nil, "not followed for now": errKernel} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sink consumertest.MetricsSink
				k := &fakeKernel{rounds: [][]counted{{{serviceRow, bpf.Flow{Sent: 1}, nil}}}, tracked: translations()}
				k.tracked.failing = failing
				r := newTestReceiver(t, k, &sink, func(c *Config) { c.NAT = true })
				require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()), "a host is monitored all the same")
				time.Sleep(90 * time.Second)
				assert.Equal(t, 1, k.tracked.started)
				assert.Zero(t, k.tracked.closed)
				require.NoError(t, r.Shutdown(t.Context()))
				require.NoError(t, r.Shutdown(t.Context()))
				assert.Equal(t, 1, k.tracked.closed)
				assert.Equal(t, []int64{1}, values(sink.AllMetrics(), flowattr.MetricSent))
			})
		})
	}
}

func TestWithoutNATNothingIsTracked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{rounds: [][]counted{{{web, bpf.Flow{Sent: 1}, nil}}}, tracked: translations()}
		play(t, k, consumertest.NewNop())
		assert.Zero(t, k.tracked.started)
		assert.Zero(t, k.tracked.closed)
	})
}

func TestTelemetryOfTranslation(t *testing.T) {
	unknown := serviceFlow
	unknown.Translation = 77
	k := &fakeKernel{
		rounds: [][]counted{{
			{serviceRow, bpf.Flow{Sent: 1, Open: [3]uint32{0, 1, 0}}, nil}, {hostPortRow, bpf.Flow{Sent: 1}, nil},
			{plainRow, bpf.Flow{Sent: 1}, nil}, {unknown, bpf.Flow{Sent: 1}, nil},
		}},
		tracked: translations(),
	}
	k.tracked.stats = conntrack.Stats{
		Entries: 2, Namespaces: 3, NamespacesRefused: 5, NamespacesFailed: 7, NamespacesSilent: 11, Events: 13, Dumps: 17,
		DumpFailures: 19, EventsLost: 23, Malformed: 29, Refused: 31, Evicted: 37, AddressesRefused: 43,
	}
	observed(t, k, consumertest.NewNop(), 1, func(c *Config) { c.NAT, c.MaxNATConnections = true, 41 }, func(t *testing.T, tel *componenttest.Telemetry) {
		metadatatest.AssertEqualReceiverSockopsNatAddressesRefused(t, tel, number(43), anyTime)
		metadatatest.AssertEqualReceiverSockopsNatConnections(t, tel, number(2), anyTime)
		metadatatest.AssertEqualReceiverSockopsNatConnectionsCapacity(t, tel, number(41), anyTime)
		metadatatest.AssertEqualReceiverSockopsNatNamespaces(t, tel, number(3), anyTime)
		metadatatest.AssertEqualReceiverSockopsNatNamespacesRefused(t, tel, number(5), anyTime)
		metadatatest.AssertEqualReceiverSockopsNatNamespacesFailed(t, tel, number(7), anyTime)
		metadatatest.AssertEqualReceiverSockopsNatNamespacesSilent(t, tel, number(11), anyTime)
		metadatatest.AssertEqualReceiverSockopsNatEvents(t, tel, number(13), anyTime)
		metadatatest.AssertEqualReceiverSockopsNatDumps(t, tel, number(17), anyTime)
		metadatatest.AssertEqualReceiverSockopsNatDumpFailures(t, tel, number(19), anyTime)
		metadatatest.AssertEqualReceiverSockopsNatEventsLost(t, tel, number(23), anyTime)
		metadatatest.AssertEqualReceiverSockopsNatEventsMalformed(t, tel, number(29), anyTime)
		metadatatest.AssertEqualReceiverSockopsNatConnectionsRefused(t, tel, number(31), anyTime)
		metadatatest.AssertEqualReceiverSockopsNatConnectionsEvicted(t, tel, number(37), anyTime)
		metadatatest.AssertEqualReceiverSockopsNatLookupsTranslated(t, tel, number(2), anyTime)
		metadatatest.AssertEqualReceiverSockopsNatLookupsNotTranslated(t, tel, number(1), anyTime)
		metadatatest.AssertEqualReceiverSockopsNatLookupsAmbiguous(t, tel, number(0), anyTime)
		metadatatest.AssertEqualReceiverSockopsNatSyncFailures(t, tel, number(0), anyTime)
		metadatatest.AssertEqualReceiverSockopsNatTranslations(t, tel, number(1), anyTime)
		metadatatest.AssertEqualReceiverSockopsNatTranslationsRefused(t, tel, number(0), anyTime)
		metadatatest.AssertEqualReceiverSockopsNatTranslationsUnknown(t, tel, number(1), anyTime)
	})
}
