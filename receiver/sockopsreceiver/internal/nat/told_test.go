// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package nat

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
)

func TestANumberIsUsedAgainOnlyWhenNoRowIsLeftThatBearsIt(t *testing.T) {
	n := newNames()
	a, b := beyond{localPort: 1}, beyond{localPort: 2}
	first := n.acquire(a)
	assert.EqualValues(t, 1, first)
	assert.Equal(t, first, n.acquire(a), "one number for one name")
	n.release(first)
	n.release(first)
	for round := range 2 {
		got, ok := n.of(first)
		assert.True(t, ok, "round %d", round)
		assert.Equal(t, a, got)
		n.nextRound()
	}
	_, ok := n.of(first)
	assert.False(t, ok)
	assert.Equal(t, first, n.acquire(b))
	got, _ := n.of(first)
	assert.Equal(t, b, got)

	t.Run("one that comes back in time keeps it", func(t *testing.T) {
		n.release(first)
		n.nextRound()
		assert.Equal(t, first, n.acquire(b))
		n.nextRound()
		n.nextRound()
		got, ok := n.of(first)
		assert.True(t, ok)
		assert.Equal(t, b, got)
		assert.NotEqual(t, first, n.acquire(a))
	})
}

func TestOnlyConnectionsThatAreStillThereAreTold(t *testing.T) {
	kernel, tracker := newFakeKernel(), newFakeTracker()
	tr := New(kernel, tracker, false)
	sent(t, kernel, tr)
	tracker.coming[podA] = &serviceTo
	s := client(podA)
	s.unfolded = 1
	kernel.fold(s, false, true) // it came and went
	assert.Equal(t, map[flow]uint64{beyondService: 1}, sent(t, kernel, tr))
	assert.NotContains(t, kernel.translations, tupleOf(podA.local, podA.peer))
}

// A connection that ends while the kernel is told of it leaves its translation behind.
func TestWhatWasSaidOfAnEarlierConnectionIsTakenBack(t *testing.T) {
	kernel, tracker := newFakeKernel(), newFakeTracker()
	tr := New(kernel, tracker, false)
	tracker.known[podA] = serviceTo
	kernel.sockets = []*socket{client(podA)}
	sent(t, kernel, tr)
	assert.Contains(t, kernel.translations, tupleOf(podA.local, podA.peer))
	plain := client(podA)
	plain.unfolded = 1
	kernel.sockets = []*socket{plain}
	tracker.coming[podA] = nil // known when the row asks, not before
	flows := sent(t, kernel, tr)
	assert.NotContains(t, flows, beyondService)
	assert.NotContains(t, kernel.translations, tupleOf(podA.local, podA.peer))
	for range 2 {
		plain.unfolded = 1
		assert.NotContains(t, sent(t, kernel, tr), beyondService)
	}
}

func TestTheKernelIsToldWhenNotAllIsKnownAnyMore(t *testing.T) {
	kernel, tracker := newFakeKernel(), newFakeTracker()
	tr := New(kernel, tracker, false)
	sent(t, kernel, tr)
	assert.True(t, kernel.complete)
	tracker.failed = errKernel
	s := client(podA)
	kernel.sockets = []*socket{s}
	for range 2 {
		s.unfolded = 1 // asks
		sent(t, kernel, tr)
	}
	assert.False(t, kernel.complete)
	tracker.failed = nil
	sent(t, kernel, tr)
	assert.True(t, kernel.complete)
}

func TestErrorsOfTheKernelAreReported(t *testing.T) {
	kernel, tracker := newFakeKernel(), newFakeTracker()
	tr := New(kernel, tracker, false)
	kernel.failing = errKernel
	assert.ErrorIs(t, tr.Begin(), errKernel)
	tracker.known[podA] = serviceTo
	row := bpf.FlowKey{Kind: bpf.KindConnection, Role: bpf.RoleClient, Local: address("10.1.0.2"), LocalPort: 40000, Peer: address("172.20.0.10"), PeerPort: 443, Ports: bpf.PortPeer}
	key, held := tr.Translate(&row, &bpf.Flow{Open: [3]uint32{1}})
	assert.Equal(t, beyondService, flow{key, held}, "the row itself is translated all the same")
	assert.ErrorIs(t, tr.End(true, true, false), errKernel)
	assert.EqualValues(t, 1, tr.Counts().Refused)
	kernel.failing = nil
	assert.NoError(t, tr.Begin())
	tr.Translate(&row, &bpf.Flow{Open: [3]uint32{1}})
	assert.NoError(t, tr.End(true, true, false))
	assert.Len(t, kernel.translations, 1)
}
