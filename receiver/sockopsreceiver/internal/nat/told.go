// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package nat

import (
	"errors"
	"net/netip"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/conntrack"
)

// maxTold is how many connections the kernel's map holds (translations in nat.h).
const maxTold = 262_144

// told are the connections of which the kernel has been told, with their ids.
type told struct {
	ids     map[bpf.Tuple]uint32
	tuples  []bpf.Tuple // to be told at the end of the harvest, with
	newIDs  []uint32
	stale   []bpf.Tuple // to be forgotten
	refused uint64      // in all
}

// tell has the kernel told, at the end of the harvest, of a connection that a socket of
// some namespace holds.
func (t *Translator) tell(local, peer netip.AddrPort, b beyond) {
	id := uint32(bpf.AskTranslation)
	if t.unique(local, peer, b) {
		id = t.names.acquire(b)
	}
	t.set(tupleOf(local, peer), id)
}

// unique says whether a socket of any namespace that holds this means the same: the
// kernel looks at the tuple alone. Loopback addresses are in every namespace.
func (t *Translator) unique(local, peer netip.AddrPort, b beyond) bool {
	if local.Addr().IsLoopback() {
		return false
	}
	x, result := t.tracker.ResolveAnywhere(local, peer)
	return result == conntrack.Translated && b.is(local, x)
}

// is says whether b is what is left of a translation without the client's port.
func (b *beyond) is(held netip.AddrPort, x conntrack.Translation) bool {
	local := localEnd(held, x)
	return b.local == local.Addr().As16() && b.peer == x.Peer.Addr().As16() &&
		(b.localPort == 0 || b.localPort == local.Port()) && (b.peerPort == 0 || b.peerPort == x.Peer.Port())
}

// set takes over one use of the id.
func (t *Translator) set(tuple bpf.Tuple, id uint32) {
	old, known := t.told.ids[tuple]
	switch {
	case known:
		t.release(old)
		if old == id && id == bpf.AskTranslation {
			return // it asks every time
		}
	case len(t.told.ids) >= maxTold:
		t.release(id)
		t.told.refused++
		return
	}
	t.told.ids[tuple] = id
	t.told.tuples = append(t.told.tuples, tuple)
	t.told.newIDs = append(t.told.newIDs, id)
}

// untell takes back what was told of an earlier connection with these ports.
func (t *Translator) untell(local, peer netip.AddrPort) {
	tuple := tupleOf(local, peer)
	if id, known := t.told.ids[tuple]; known {
		t.told.stale = append(t.told.stale, tuple)
		delete(t.told.ids, tuple)
		t.release(id)
	}
}

func (t *Translator) release(id uint32) {
	if id != bpf.AskTranslation {
		t.names.release(id)
	}
}

// flush tells the kernel.
func (t *Translator) flush() error {
	tuples, ids := t.told.tuples, t.told.newIDs
	if len(tuples) == 0 {
		return nil
	}
	n, err := t.kernel.Translate(tuples, ids)
	if err != nil {
		// The rest is as it was before: told of nothing, or of what is no longer true.
		for _, tuple := range tuples[n:] {
			if id, ok := t.told.ids[tuple]; ok {
				delete(t.told.ids, tuple)
				t.release(id)
				t.told.refused++
			}
		}
		err = errors.Join(err, t.kernel.Forget(tuples[n:]))
	}
	t.told.tuples, t.told.newIDs = tuples[:0], ids[:0]
	return err
}

// review takes back what conntrack no longer knows, or knows to be otherwise: a port that
// is used again asks anew.
func (t *Translator) review() error {
	for tuple, id := range t.told.ids {
		local := addrPort(tuple.Local, tuple.LocalPort)
		x, result := t.tracker.ResolveAnywhere(local, addrPort(tuple.Peer, tuple.PeerPort))
		keep := result != conntrack.NotTranslated
		if id != bpf.AskTranslation {
			b, _ := t.names.of(id)
			keep = result == conntrack.Translated && b.is(local, x)
		}
		if !keep {
			t.told.stale = append(t.told.stale, tuple)
			delete(t.told.ids, tuple)
			t.release(id)
		}
	}
	return t.forget()
}

func (t *Translator) forget() error {
	if len(t.told.stale) == 0 {
		return nil
	}
	err := t.kernel.Forget(t.told.stale)
	t.told.stale = t.told.stale[:0]
	return err
}

// tellAll tells of both ends of every connection that lives: which of them are sockets of
// this machine is not known.
func (t *Translator) tellAll() {
	t.tracker.Live(func(s conntrack.Socket) {
		tuple := tupleOf(s.Local, s.Peer)
		if _, known := t.told.ids[tuple]; known {
			return
		}
		x, result := t.tracker.ResolveAnywhere(s.Local, s.Peer)
		switch result {
		case conntrack.Translated:
			identity := bpf.FlowKey{LocalPort: s.Local.Port()}
			if s.Client {
				identity = bpf.FlowKey{PeerPort: s.Peer.Port()}
			}
			t.tell(s.Local, s.Peer, beyondOf(&identity, s.Local, x))
		case conntrack.Ambiguous:
			t.set(tuple, bpf.AskTranslation)
		}
	})
}

// Begin comes before a harvest. Its error is one of the kernel's, to be reported: nothing
// is lost by it but time.
func (t *Translator) Begin() error {
	errs := []error{t.review()}
	if t.all && !t.foreign {
		t.synced, t.healthy = false, true
		t.sync()
		t.tellAll()
		errs = append(errs, t.flush())
	}
	if t.healthy != t.complete && !t.foreign {
		err := t.kernel.TranslationsComplete(t.healthy)
		if err == nil {
			t.complete = t.healthy
		}
		errs = append(errs, err)
	}
	t.synced, t.healthy = false, true
	return errors.Join(errs...)
}

// End comes after a harvest. whole says that no flow is left to hand over, own that its
// round ended in this process, overflowed that the kernel had no room for some of the
// rows: who was in them must be told of otherwise.
func (t *Translator) End(whole, own, overflowed bool) error {
	err := errors.Join(t.forget(), t.flush())     // in this order: what is told now is true
	t.all = overflowed || !t.healthy || t.foreign // while it is foreign, nobody is told
	if whole && own {
		t.foreign = false
	}
	if whole {
		t.names.nextRound()
	}
	return err
}
