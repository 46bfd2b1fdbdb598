// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowattr

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAFlowIsReadAsItWasWritten(t *testing.T) {
	v4, peer4 := netip.MustParseAddr("10.0.1.17"), netip.MustParseAddr("10.0.2.9")
	v6, peer6 := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	for _, tt := range []struct {
		name string
		flow Flow
		want map[string]any
	}{
		{"a client", Flow{Local: v4, Peer: peer4, PeerPort: 443, Role: RoleClient}, map[string]any{
			"network.transport": "tcp", "network.type": "ipv4", "flow.role": "client",
			"network.local.address": "10.0.1.17", "network.peer.address": "10.0.2.9", "network.peer.port": int64(443),
		}},
		{"a server over IPv6 in a container", Flow{Local: v6, Peer: peer6, LocalPort: 80, Role: RoleServer, ContainerID: "c0ffee", PodUID: "uid", Netns: 4026531833}, map[string]any{
			"network.transport": "tcp", "network.type": "ipv6", "flow.role": "server", "flow.netns": "4026531833",
			"network.local.address": "2001:db8::1", "network.local.port": int64(80), "network.peer.address": "2001:db8::2",
			"container.id": "c0ffee", "k8s.pod.uid": "uid",
		}},
		{"an unknown role without a port", Flow{Local: v4, Peer: peer4}, map[string]any{
			"network.transport": "tcp", "network.type": "ipv4", "flow.role": "unknown",
			"network.local.address": "10.0.1.17", "network.peer.address": "10.0.2.9",
		}},
		{"a translated one", Flow{Local: v4, Peer: peer4, PeerPort: 8080, Role: RoleClient, NAT: NAT{Peer: netip.MustParseAddr("172.20.0.10"), PeerPort: 80}}, map[string]any{
			"network.transport": "tcp", "network.type": "ipv4", "flow.role": "client",
			"network.local.address": "10.0.1.17", "network.peer.address": "10.0.2.9", "network.peer.port": int64(8080),
			"flow.nat.peer.address": "172.20.0.10", "flow.nat.peer.port": int64(80),
		}},
		{"the overflow flow", Flow{Overflow: true, IPv6: true, Role: RoleServer}, map[string]any{
			"flow.overflow": true, "network.type": "ipv6", "flow.role": "server",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := pcommon.NewMap()
			tt.flow.Put(m)
			assert.Equal(t, tt.want, m.AsRaw())
			got, ok := Read(m)
			require.True(t, ok)
			assert.Equal(t, tt.flow, got)
		})
	}
}

func TestAListenerIsNamedByItsAddressAndPortOnly(t *testing.T) {
	m := pcommon.NewMap()
	f := Flow{Local: netip.MustParseAddr("0.0.0.0"), LocalPort: 80, Role: RoleListener}
	f.Put(m)
	assert.Equal(t, map[string]any{"network.local.address": "0.0.0.0", "network.local.port": int64(80)}, m.AsRaw())
	_, ok := Read(m)
	assert.False(t, ok, "it has no role: not a flow")
}

func TestWhatIsNoFlowOrMalformedIsReadAsAbsent(t *testing.T) {
	m := pcommon.NewMap()
	require.NoError(t, m.FromRaw(map[string]any{
		"flow.role": "emperor", "network.local.address": "not an address", "network.peer.address": 7,
		"network.peer.port": 70_000, "network.local.port": -1, "flow.netns": "x",
	}))
	f, ok := Read(m)
	assert.True(t, ok)
	assert.Equal(t, Flow{}, f)
	_, ok = Read(pcommon.NewMap())
	assert.False(t, ok)
}

func TestAGlanceSeesWhatReadingDoes(t *testing.T) {
	for name, raw := range map[string]map[string]any{
		"nothing":          {},
		"a flow":           {"flow.role": "client", "network.local.address": "10.0.0.1", "network.peer.address": "::ffff:10.0.0.2", "network.peer.port": 443},
		"a translated one": {"flow.role": "server", "network.local.address": "10.0.0.1", "flow.nat.local.address": "172.17.0.2", "flow.nat.peer.address": "fe80::1"},
		"the overflow":     {"flow.overflow": true, "flow.role": "unknown"},
		"no overflow":      {"flow.overflow": false},
		"a listener":       {"network.local.address": "0.0.0.0"},
		"malformed":        {"flow.role": 7, "network.local.address": "x", "network.peer.address": 7},
	} {
		m := pcommon.NewMap()
		require.NoError(t, m.FromRaw(raw))
		g := LookAt(m)
		f, ok := Read(m)
		assert.Equal(t, ok, g.IsFlow, name)
		assert.Equal(t, f.Overflow, g.Overflow, name)
		assert.Equal(t, f.Local, ParseAddress(g.Local), name)
		assert.Equal(t, f.Peer, ParseAddress(g.Peer), name)
		assert.Equal(t, f.NAT.Local, ParseAddress(g.NATLocal), name)
		assert.Equal(t, f.NAT.Peer, ParseAddress(g.NATPeer), name)
		assert.False(t, g.Enriched || g.Aggregated, name)
	}
}

func TestAGlanceTellsWhatIsEnriched(t *testing.T) {
	for key, want := range map[string]bool{
		"flow.category": true, "flow.path": true, "flow.monitors": true, "flow.unresolved": true,
		"flow.local.aws.eni.id": true, "flow.remote.cloud.region": true,
		"flow.locality": false, "flow.phase": false, "flow.nat.local.port": false, "network.type": false, "x": false, "flow.": false,
	} {
		m := pcommon.NewMap()
		m.PutStr(key, "x")
		assert.Equal(t, want, LookAt(m).Enriched, key)
	}
	m := pcommon.NewMap()
	m.PutBool("flow.aggregated", true)
	assert.True(t, LookAt(m).Aggregated)
}

func TestMappedAddressesAreRead(t *testing.T) {
	m := pcommon.NewMap()
	m.PutStr(Role, "client")
	m.PutStr(NetworkLocalAddress, "::ffff:10.0.0.1")
	f, _ := Read(m)
	assert.Equal(t, netip.MustParseAddr("10.0.0.1"), f.Local)
}

func TestMetricNamesAreUniqueAndHaveUnits(t *testing.T) {
	var names []string
	for _, m := range slices.Concat(FlowMetrics, NHIMetrics) {
		names = append(names, m.Name)
		assert.NotEmpty(t, m.Unit, m.Name)
		assert.NotEmpty(t, m.Description, m.Name)
	}
	slices.Sort(names)
	assert.Len(t, slices.Compact(slices.Clone(names)), len(names))
}

// FuzzRead writes what it read from arbitrary attributes and reads it again: a flow that
// was read once is the same ever after.
func FuzzRead(f *testing.F) {
	f.Add("client", "10.0.0.1", "::1", int64(0), int64(443), false, "ipv4")
	f.Add("server", "fe80::1%eth0", "::ffff:1.2.3.4", int64(80), int64(0), true, "ipv6")
	f.Fuzz(func(t *testing.T, role, local, peer string, localPort, peerPort int64, overflow bool, kind string) {
		m := pcommon.NewMap()
		m.PutStr(Role, role)
		m.PutStr(NetworkLocalAddress, local)
		m.PutStr(NetworkPeerAddress, peer)
		m.PutInt(NetworkLocalPort, localPort)
		m.PutInt(NetworkPeerPort, peerPort)
		m.PutBool(Overflow, overflow)
		m.PutStr(NetworkType, kind)
		once, ok := Read(m)
		require.True(t, ok)
		if once.Overflow { // its addresses are not written
			return
		}
		again := pcommon.NewMap()
		once.Put(again)
		twice, ok := Read(again)
		require.True(t, ok)
		assert.Equal(t, once, twice)
	})
}

func BenchmarkRead(b *testing.B) {
	m := pcommon.NewMap()
	f := Flow{Local: netip.MustParseAddr("10.0.1.17"), Peer: netip.MustParseAddr("10.0.2.9"), PeerPort: 443, Role: RoleClient}
	f.Put(m)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := Read(m); !ok {
			b.Fatal("not a flow")
		}
	}
}

func BenchmarkLookAt(b *testing.B) {
	m := pcommon.NewMap()
	f := Flow{Local: netip.MustParseAddr("10.0.1.17"), Peer: netip.MustParseAddr("10.0.2.9"), PeerPort: 443, Role: RoleClient}
	f.Put(m)
	b.ReportAllocs()
	for b.Loop() {
		if !LookAt(m).IsFlow {
			b.Fatal("not a flow")
		}
	}
}

func BenchmarkPut(b *testing.B) {
	f := Flow{Local: netip.MustParseAddr("10.0.1.17"), Peer: netip.MustParseAddr("10.0.2.9"), PeerPort: 443, Role: RoleClient}
	b.ReportAllocs()
	for b.Loop() {
		f.Put(pcommon.NewMap())
	}
}
