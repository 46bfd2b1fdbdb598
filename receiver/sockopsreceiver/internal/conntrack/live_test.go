// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLiveHandsOverBothEndsOfEachConnectionThatLives(t *testing.T) {
	tracker := New(Settings{})
	const connections = 2*chunkSize + 5 // records of three chunks
	for i := range connections {
		c := nat(fmt.Sprintf("10.0.%d.1:%d", i>>12, 1000+i&0xfff), virtual, backend, uint32(i))
		tracker.table.open(c, event, 0)
		if i%2 == 1 {
			tracker.table.close(c, event, 0)
		}
	}
	clients, servers := map[Socket]bool{}, map[Socket]bool{}
	tracker.Live(func(s Socket) {
		// The lock is free: what is handed over is looked up.
		got, result := tracker.ResolveAnywhere(s.Local, s.Peer)
		require.Equal(t, Translated, result)
		if s.Client {
			clients[s] = true
			require.Equal(t, ap(virtual), s.Peer)
			require.Equal(t, Translation{Local: s.Local, Peer: ap(backend)}, got)
		} else {
			servers[s] = true
			require.Equal(t, ap(backend), s.Local)
			require.Equal(t, Translation{Local: ap(virtual), Peer: s.Peer}, got)
		}
	})
	assert.Len(t, clients, connections/2+1)
	assert.Len(t, servers, connections/2+1)
}

func TestWhatDependsOnTheNamespaceIsAmbiguousAnywhere(t *testing.T) {
	tracker := New(Settings{})
	tracker.own = 1
	tracker.table.open(nat(client, virtual, backend, 1), event, 0)
	_, result := tracker.ResolveAnywhere(ap(client), ap(virtual))
	assert.Equal(t, Translated, result)
	tracker.table.open(nat(client, virtual, another, 1), origin{netns: 2}, 0)
	_, result = tracker.ResolveAnywhere(ap(client), ap(virtual))
	assert.Equal(t, Ambiguous, result)
	got, result := tracker.Resolve(7, ap(client), ap(virtual))
	assert.Equal(t, Translated, result, "the collector's own namespace decides")
	assert.Equal(t, ap(backend), got.Peer)
	assert.Zero(t, tracker.Stats().Ambiguous, "only what a socket asked for is counted")
}
