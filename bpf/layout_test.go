// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheLayoutIsTheSameAtEachStart(t *testing.T) {
	of := func(change func(*Options)) layout {
		o := Options{MaxFlows: 10, MaxSockets: 10}
		change(&o)
		spec, err := loadSockops()
		require.NoError(t, err)
		require.NoError(t, configure(spec, &o, 7))
		l, err := layoutOf(spec)
		require.NoError(t, err)
		return l
	}
	usual := of(func(*Options) {})
	assert.Equal(t, usual, of(func(*Options) {}))
	assert.Equal(t, usual, of(func(o *Options) { o.MaxFlows, o.MaxSockets = 20, 30 }), "bounds do not matter")
	for name, change := range map[string]func(*Options){
		"detail":     func(o *Options) { o.Detail = DetailECN },
		"nat":        func(o *Options) { o.NAT = true },
		"containers": func(o *Options) { o.Containers = true },
	} {
		assert.NotEqual(t, usual.All, of(change).All, name)
		assert.Equal(t, usual.Tables, of(change).Tables, name)
	}
}

func TestTheLayoutChangesWithTheMembersOfAStruct(t *testing.T) {
	spec, err := loadSockops()
	require.NoError(t, err)
	require.NoError(t, configure(spec, &Options{MaxFlows: 1, MaxSockets: 1}, 0))
	before, err := layoutOf(spec)
	require.NoError(t, err)

	swapMembers(t, spec.Maps[sockopsMapConns].Value)
	after, err := layoutOf(spec)
	require.NoError(t, err)
	assert.NotEqual(t, before.All, after.All)
	assert.Equal(t, before.Tables, after.Tables)

	key, err := spec.Types.AnyTypeByName("flow_key")
	require.NoError(t, err)
	swapMembers(t, key)
	last, err := layoutOf(spec)
	require.NoError(t, err)
	assert.NotEqual(t, after.Tables, last.Tables)
}

// swapMembers has two members of a struct change places.
func swapMembers(t testing.TB, of btf.Type) {
	t.Helper()
	s, ok := of.(*btf.Struct)
	require.True(t, ok)
	m := s.Members
	require.Greater(t, len(m), 1)
	m[0].Offset, m[1].Offset = m[1].Offset, m[0].Offset
}
