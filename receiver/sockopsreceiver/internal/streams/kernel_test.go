// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package streams

import (
	"net/netip"
	"reflect"
	"testing"
	"unique"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/internal/exphist"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/container"
)

func address(s string) [16]byte { return netip.MustParseAddr(s).As16() }

func TestTheRolesOfKernelAndWireHaveTheSameNumbers(t *testing.T) {
	for kernel, wire := range map[int]flowattr.RoleKind{
		bpf.RoleUnknown:  flowattr.RoleUnknown,
		bpf.RoleClient:   flowattr.RoleClient,
		bpf.RoleServer:   flowattr.RoleServer,
		bpf.RoleListener: flowattr.RoleListener,
	} {
		assert.EqualValues(t, wire, kernel)
	}
	assert.EqualValues(t, bpf.KindFlow, kindFlow)
	assert.EqualValues(t, bpf.KindOverflowIPv4, kindOverflowIPv4)
	assert.EqualValues(t, bpf.KindOverflowIPv6, kindOverflowIPv6)
	assert.Len(t, bpf.Histogram{}.Buckets, exphist.NBuckets)
}

// Each counter of struct flow has exactly one slot, so that nothing that the kernel
// counts is left out here.
func TestEveryCounterOfTheKernelHasItsSlot(t *testing.T) {
	var f bpf.Flow
	counters := 0
	each := func(v reflect.Value) {
		counters++
		v.SetUint(uint64(counters))
	}
	fields := reflect.ValueOf(&f).Elem()
	for i := range fields.NumField() {
		name := fields.Type().Field(i).Name
		switch field := fields.Field(i); {
		case name == "Open": // levels, not sums
		case name == "SegmentsOut": // for the audit
		case field.CanUint():
			each(field)
		case field.Kind() == reflect.Array:
			for j := range field.Len() {
				each(field.Index(j))
			}
		}
	}
	var sums [numSums]uint64
	require.True(t, new(Table).sumsOf(&f, nil, &sums))
	require.Equal(t, listenDrops+1, counters)
	for i, n := range sums[:counters] {
		assert.EqualValues(t, i+1, n, "slot %d", i)
	}
}

func TestTheIdentityOfAKernelFlow(t *testing.T) {
	for name, c := range map[string]struct {
		kernel bpf.FlowKey
		want   flowattr.Flow
	}{
		"a client is known by the server's port": {
			bpf.FlowKey{Local: address("::ffff:10.0.1.17"), Peer: address("::ffff:10.0.2.9"), PeerPort: 443, Role: bpf.RoleClient, Netns: 7},
			flowattr.Flow{Local: netip.MustParseAddr("10.0.1.17"), Peer: netip.MustParseAddr("10.0.2.9"), PeerPort: 443, Role: flowattr.RoleClient},
		},
		"a server over IPv6": {
			bpf.FlowKey{Local: address("2001:db8::1"), Peer: address("2001:db8::2"), LocalPort: 80, Role: bpf.RoleServer},
			flowattr.Flow{Local: netip.MustParseAddr("2001:db8::1"), Peer: netip.MustParseAddr("2001:db8::2"), LocalPort: 80, Role: flowattr.RoleServer},
		},
		"a listener on all addresses has no peer": {
			bpf.FlowKey{Local: address("::"), Peer: address("2001:db8::2"), LocalPort: 80, PeerPort: 9, Role: bpf.RoleListener},
			flowattr.Flow{Local: netip.MustParseAddr("::"), LocalPort: 80, Role: flowattr.RoleListener},
		},
		"an overflow flow has network type and role": {
			bpf.FlowKey{Kind: bpf.KindOverflowIPv6, Role: bpf.RoleServer, Local: address("2001:db8::1")},
			flowattr.Flow{Overflow: true, IPv6: true, Role: flowattr.RoleServer},
		},
		"listeners overflow as role unknown": {
			bpf.FlowKey{Kind: bpf.KindOverflowIPv4, Role: bpf.RoleListener},
			flowattr.Flow{Overflow: true, Role: flowattr.RoleUnknown},
		},
		"a role that does not exist is unknown": {
			bpf.FlowKey{Local: address("::ffff:10.0.1.17"), Peer: address("::ffff:10.0.2.9"), Role: 200},
			flowattr.Flow{Local: netip.MustParseAddr("10.0.1.17"), Peer: netip.MustParseAddr("10.0.2.9")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := new(Table).keyOf(&c.kernel)
			assert.Equal(t, c.want, k.flow())
		})
	}
}

// containerOf makes a container of the low bits of a cgroup's id, a pod of those above.
func containerOf(cgroup uint64, _ uint32) (h unique.Handle[container.ID]) {
	id := container.ID{Container: []string{"", "a", "b", "c"}[cgroup&3], Pod: []string{"", "p", "q", "r"}[cgroup>>2&3]}
	if id != (container.ID{}) {
		h = unique.Make(id)
	}
	return h
}

// Two keys that differ must not be written with the same attributes: each stream has one
// writer. And the attributes say what the key says.
func FuzzIdentityIsOneToOne(f *testing.F) {
	v4, v6 := address("::ffff:10.0.0.1"), address("2001:db8::1")
	f.Add(v4[:], v4[:], uint16(0), uint16(443), uint8(1), uint8(0), uint8(0), v4[:], v4[:], uint16(443), uint16(0), uint8(2), uint8(0), uint8(3))
	f.Add(v6[:], v4[:], uint16(1), uint16(2), uint8(3), uint8(0), uint8(1), v6[:], v6[:], uint16(1), uint16(0), uint8(3), uint8(0), uint8(2))
	f.Add(v6[:], v4[:], uint16(1), uint16(2), uint8(3), uint8(1), uint8(7), []byte{}, []byte{1}, uint16(0), uint16(0), uint8(9), uint8(77), uint8(7))
	f.Fuzz(func(t *testing.T, l1, p1 []byte, lp1, pp1 uint16, r1, k1, c1 uint8, l2, p2 []byte, lp2, pp2 uint16, r2, k2, c2 uint8) {
		make1 := func(l, p []byte, lp, pp uint16, r, k, c uint8) key {
			kernel := bpf.FlowKey{LocalPort: lp, PeerPort: pp, Role: r, Kind: k, Cgroup: uint64(c)}
			copy(kernel.Local[:], l)
			copy(kernel.Peer[:], p)
			return (&Table{settings: Settings{Container: containerOf}}).keyOf(&kernel)
		}
		a, b := make1(l1, p1, lp1, pp1, r1, k1, c1), make1(l2, p2, lp2, pp2, r2, k2, c2)
		put := func(k key) pcommon.Map {
			m := pcommon.NewMap()
			flow := k.flow()
			flow.Put(m)
			return m
		}
		require.Equal(t, a == b, put(a).Equal(put(b)), "%+v\n%+v", a, b)
		if got, ok := flowattr.Read(put(a)); ok {
			require.Equal(t, a.flow(), got)
		} else {
			require.Equal(t, flowattr.RoleListener, a.role)
		}
	})
}
