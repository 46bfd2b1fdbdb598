// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package nat

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"go.uber.org/goleak"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/conntrack"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

var errKernel = errors.New("the kernel said no")

// ends is what a socket holds.
type ends struct{ local, peer netip.AddrPort }

// fakeTracker knows what becomes of what sockets hold, once it was synchronized.
type fakeTracker struct {
	coming map[ends]*conntrack.Translation // nil: gone; not yet read
	known  map[ends]conntrack.Translation
	byNS   map[uint32]map[ends]conntrack.Translation // what a namespace says otherwise
	syncs  int
	failed error
}

func newFakeTracker() *fakeTracker {
	return &fakeTracker{
		coming: map[ends]*conntrack.Translation{},
		known:  map[ends]conntrack.Translation{},
		byNS:   map[uint32]map[ends]conntrack.Translation{},
	}
}

func (f *fakeTracker) Sync(context.Context) error {
	f.syncs++
	if f.failed != nil {
		return f.failed
	}
	for e, x := range f.coming {
		if x == nil {
			delete(f.known, e)
		} else {
			f.known[e] = *x
		}
		delete(f.coming, e)
	}
	return nil
}

func (f *fakeTracker) Resolve(netns uint32, local, peer netip.AddrPort) (conntrack.Translation, conntrack.Result) {
	if x, ok := f.byNS[netns][ends{local, peer}]; ok {
		return x, conntrack.Translated
	}
	if x, ok := f.known[ends{local, peer}]; ok {
		return x, conntrack.Translated
	}
	return conntrack.Translation{Local: local, Peer: peer}, conntrack.NotTranslated
}

func (f *fakeTracker) ResolveAnywhere(local, peer netip.AddrPort) (conntrack.Translation, conntrack.Result) {
	x, result := f.Resolve(0, local, peer)
	for _, known := range f.byNS {
		if other, ok := known[ends{local, peer}]; ok {
			if result == conntrack.Translated && other != x {
				return conntrack.Translation{}, conntrack.Ambiguous
			}
			x, result = other, conntrack.Translated
		}
	}
	return x, result
}

func (f *fakeTracker) Live(yield func(conntrack.Socket)) {
	for e := range f.known {
		yield(conntrack.Socket{Local: e.local, Peer: e.peer, Client: e.peer.Port() < 10_000})
	}
}

// fakeKernel is the rule of nat.h and the walk, in Go.
type fakeKernel struct {
	translations map[bpf.Tuple]uint32
	capacity     int
	complete     bool
	maxFlows     int
	sockets      []*socket
	tables       [2]map[bpf.FlowKey]*bpf.Flow
	round        int
	overflowed   bool
	failing      error // of what it is told
}

func newFakeKernel() *fakeKernel {
	k := &fakeKernel{translations: map[bpf.Tuple]uint32{}, capacity: 1 << 30, maxFlows: 1 << 30}
	k.tables = [2]map[bpf.FlowKey]*bpf.Flow{{}, {}}
	return k
}

func (k *fakeKernel) Translate(tuples []bpf.Tuple, ids []uint32) (int, error) {
	for i, tuple := range tuples {
		if k.failing != nil {
			return i, k.failing
		}
		if _, ok := k.translations[tuple]; !ok && len(k.translations) >= k.capacity {
			return i, errKernel
		}
		k.translations[tuple] = ids[i]
	}
	return len(tuples), nil
}

func (k *fakeKernel) Forget(tuples []bpf.Tuple) error {
	for _, tuple := range tuples {
		delete(k.translations, tuple)
	}
	return k.failing
}

func (k *fakeKernel) TranslationsComplete(complete bool) error {
	k.complete = complete
	return k.failing
}

// socket is a connection's end.
type socket struct {
	ends
	netns            uint32
	role             uint8
	walked, settled  bool
	unfolded, opened uint64
}

// fold adds what a socket counted to its flow.
func (k *fakeKernel) fold(s *socket, walk, ended bool) {
	key := bpf.FlowKey{Local: s.local.Addr().As16(), Peer: s.peer.Addr().As16(), Netns: s.netns, Role: s.role, LocalPort: s.local.Port(), PeerPort: s.peer.Port()}
	identity := key
	key.Ports = bpf.PortLocal
	identity.PeerPort = 0
	if s.role == bpf.RoleClient {
		key.Ports = bpf.PortPeer
		identity.LocalPort, identity.PeerPort = 0, s.peer.Port()
	}
	tuple := tupleOf(s.local, s.peer)
	id, told := k.translations[tuple]
	switch {
	case told && id != bpf.AskTranslation && s.walked:
		key = identity
		key.Translation = id
	case told || !s.settled || !k.complete:
		key.Kind = bpf.KindConnection
	default:
		key = identity
	}
	if told && ended {
		delete(k.translations, tuple)
	}
	table := k.tables[k.round&1]
	if table[key] == nil && len(table) >= k.maxFlows {
		k.overflowed = true
		key = bpf.FlowKey{Kind: bpf.KindOverflowIPv4, Role: s.role}
	}
	if table[key] == nil {
		table[key] = &bpf.Flow{}
	}
	table[key].Sent += s.unfolded
	table[key].Opened += uint32(s.opened)
	s.unfolded, s.opened = 0, 0
	if walk {
		table[key].Open[bpf.PhaseEstablished]++
	}
}

// harvest is a whole round of the receiver.
func (k *fakeKernel) harvest(t *Translator, yield func(*bpf.FlowKey, *bpf.Flow)) error {
	err := t.Begin()
	for _, s := range k.sockets {
		s.settled = s.walked
		k.fold(s, true, false)
		s.walked = true
	}
	k.round++
	table := k.tables[(k.round-1)&1]
	for key, flow := range table {
		yield(&key, flow)
	}
	clear(table)
	err = errors.Join(err, t.End(true, true, k.overflowed))
	k.overflowed = false
	return err
}
