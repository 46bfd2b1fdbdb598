// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package nat

import (
	"context"
	"net/netip"
	"time"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/conntrack"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/streams"
)

// Kernel is what the kernel side is told: see [bpf.Sockops].
type Kernel interface {
	Translate(tuples []bpf.Tuple, ids []uint32) (int, error)
	Forget(tuples []bpf.Tuple) error
	TranslationsComplete(complete bool) error
}

// Tracker knows translations: see [conntrack.Tracker].
type Tracker interface {
	Sync(ctx context.Context) error
	Resolve(netns uint32, local, peer netip.AddrPort) (conntrack.Translation, conntrack.Result)
	ResolveAnywhere(local, peer netip.AddrPort) (conntrack.Translation, conntrack.Result)
	Live(yield func(conntrack.Socket))
}

// syncTimeout is how long a harvest waits for conntrack to catch up: 40 times what it
// takes at 100,000 events a second.
const syncTimeout = 2 * time.Second

// Translator translates the flows of harvests. It is not safe for concurrent use.
type Translator struct {
	kernel  Kernel
	tracker Tracker

	names    names
	told     told
	synced   bool // in this harvest
	healthy  bool // all that was asked in the last harvest could be answered
	complete bool // what the kernel believes (bpf.Sockops.TranslationsComplete)
	all      bool // rows may have been missing: tell of all that live
	foreign  bool // rows may bear ids that another process has told
	counts   Counts
}

// Counts are totals since the start, but for Told.
type Counts struct {
	Translated    uint64 // look-ups of connections' rows, by how they went
	NotTranslated uint64
	Ambiguous     uint64
	SyncFailures  uint64 // waits for conntrack that ended before it was there
	UnknownIDs    uint64 // flows that bear an id of which nothing is known
	Refused       uint64 // connections of which the kernel could not be told: they are reported as they are
	Told          int    // connections of which the kernel has been told
}

// New makes a translator. resumed says that the flow tables were filled for another
// process: until they were read the kernel is told nothing, and ids are not believed.
func New(kernel Kernel, tracker Tracker, resumed bool) *Translator {
	return &Translator{
		kernel:  kernel,
		tracker: tracker,
		names:   newNames(),
		told:    told{ids: map[bpf.Tuple]uint32{}},
		all:     true,
		foreign: resumed,
	}
}

// Counts gives the totals.
func (t *Translator) Counts() Counts {
	c := t.counts
	c.Told, c.Refused = len(t.told.ids), t.told.refused
	return c
}

// Translate gives the identity beyond translation of a flow of the kernel, and what the
// socket held where that is something else. It is called during a harvest.
func (t *Translator) Translate(k *bpf.FlowKey, f *bpf.Flow) (bpf.FlowKey, streams.Held) {
	switch {
	case k.Role == bpf.RoleListener:
	case k.Kind == bpf.KindConnection:
		return t.connection(k, f)
	case k.Kind == bpf.KindFlow && k.Translation != 0:
		if b, ok := t.names.of(k.Translation); ok && !t.foreign {
			return translated(k, &b)
		}
		t.counts.UnknownIDs++
	}
	return *k, streams.Held{}
}

// connection translates the row of a single connection. One that was open when the
// sockets were walked will be there in the next round: the kernel is told of it.
func (t *Translator) connection(k *bpf.FlowKey, f *bpf.Flow) (bpf.FlowKey, streams.Held) {
	t.sync()
	local, peer := addrPort(k.Local, k.LocalPort), addrPort(k.Peer, k.PeerPort)
	open := f.Open != [len(f.Open)]uint32{}
	identity := identityOf(k)
	x, result := t.tracker.Resolve(k.Netns, local, peer)
	switch result {
	case conntrack.Translated:
		t.counts.Translated++
		b := beyondOf(&identity, local, x)
		if open && !t.foreign {
			t.tell(local, peer, b)
		}
		return translated(&identity, &b)
	case conntrack.Ambiguous:
		t.counts.Ambiguous++
		if open && !t.foreign {
			t.set(tupleOf(local, peer), bpf.AskTranslation)
		}
	default:
		t.counts.NotTranslated++
		if open {
			t.untell(local, peer)
		}
	}
	return identity, streams.Held{}
}

// identityOf is the flow to which a connection belongs, before translation.
func identityOf(k *bpf.FlowKey) bpf.FlowKey {
	identity := *k
	identity.Kind, identity.Ports = bpf.KindFlow, 0
	if k.Ports&bpf.PortLocal == 0 {
		identity.LocalPort = 0
	}
	if k.Ports&bpf.PortPeer == 0 {
		identity.PeerPort = 0
	}
	return identity
}

// beyondOf leaves of a connection's translation what is part of the flow's identity.
func beyondOf(identity *bpf.FlowKey, held netip.AddrPort, x conntrack.Translation) beyond {
	local := localEnd(held, x)
	b := beyond{local: local.Addr().As16(), peer: x.Peer.Addr().As16()}
	if identity.LocalPort != 0 {
		b.localPort = local.Port()
	}
	if identity.PeerPort != 0 {
		b.peerPort = x.Peer.Port()
	}
	return b
}

// localEnd is what a socket's own end is told by. A peer elsewhere knows no more of it than
// what it dialed, or whom it sees. A peer on this machine is told by what it really talks
// to, which is what the socket holds.
func localEnd(held netip.AddrPort, x conntrack.Translation) netip.AddrPort {
	if x.PeerHere {
		return held
	}
	return x.Local
}

// translated is the flow beyond translation, and what the socket held where it differs.
func translated(k *bpf.FlowKey, b *beyond) (bpf.FlowKey, streams.Held) {
	out, held := *k, streams.Held{}
	out.Translation = 0
	if out.Local = b.local; out.Local != k.Local {
		held.Local = k.Local
	}
	if out.Peer = b.peer; out.Peer != k.Peer {
		held.Peer = k.Peer
	}
	if k.LocalPort != 0 && b.localPort != 0 && b.localPort != k.LocalPort {
		out.LocalPort, held.LocalPort = b.localPort, k.LocalPort
	}
	if k.PeerPort != 0 && b.peerPort != 0 && b.peerPort != k.PeerPort {
		out.PeerPort, held.PeerPort = b.peerPort, k.PeerPort
	}
	return out, held
}

// sync waits, once in a harvest, until conntrack knows what the kernel knew when it
// closed the flow table: rows of connections that have just begun and ended included.
func (t *Translator) sync() {
	if t.synced {
		return
	}
	t.synced = true
	ctx, cancel := context.WithTimeout(context.Background(), syncTimeout)
	defer cancel()
	if err := t.tracker.Sync(ctx); err != nil {
		t.healthy = false
		t.counts.SyncFailures++
	}
}

func addrPort(address [16]byte, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(address).Unmap(), port)
}

func tupleOf(local, peer netip.AddrPort) bpf.Tuple {
	return bpf.Tuple{Local: local.Addr().As16(), Peer: peer.Addr().As16(), LocalPort: local.Port(), PeerPort: peer.Port()}
}
