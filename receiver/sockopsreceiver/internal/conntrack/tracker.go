// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// Tracker follows the translations of the machine's network namespaces. Its methods are
// safe for concurrent use.
type Tracker struct {
	settings Settings
	began    time.Time

	mu        sync.Mutex // guards the table, the addresses and the stats
	table     *table
	addresses addresses
	stats     Stats
	own       uint32 // inode of Settings.Namespace

	life      sync.Mutex // guards the start and the end
	reader    *reader
	stop      context.CancelFunc
	running   sync.WaitGroup
	closed    bool
	discovery discovery
}

// New makes a tracker. It does nothing before [Tracker.Start].
func New(s Settings) *Tracker {
	s = s.withDefaults()
	return &Tracker{
		settings:  s,
		began:     time.Now(),
		table:     newTable(s.MaxEntries, s.Retention),
		addresses: newAddresses(maxAddresses),
	}
}

// Start begins to follow the collector's own namespace; the others are looked for in the
// background. An error about the own namespace is one to report and go on with: it is
// tried again whenever namespaces are looked for.
func (t *Tracker) Start() error {
	t.life.Lock()
	defer t.life.Unlock()
	if t.reader != nil || t.closed {
		return errors.New("follow connection tracking: a tracker starts once")
	}
	r, err := newReader(t)
	if err != nil {
		t.closed = true
		return err
	}
	t.reader = r
	t.discovery.followed, t.discovery.failed = map[uint32]*presence{}, map[uint32]time.Time{}
	t.running.Go(r.run)
	own, err := inodeOf(t.settings.Namespace)
	if err == nil {
		t.count(func(*Stats) { t.own = own })
		err = t.follow(own, t.settings.Namespace)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.stop = cancel
	t.running.Go(func() { t.refreshUntil(ctx) })
	return err
}

// Close ends it and waits until all is closed. Safe to call again, and without Start.
// Look-ups go on to be answered from what was known.
func (t *Tracker) Close() {
	t.life.Lock()
	defer t.life.Unlock()
	if t.reader == nil || t.closed {
		t.closed = true
		return
	}
	t.closed = true
	t.stop()
	t.discovery.mu.Lock() // whoever looks for namespaces has handed over what it found
	t.discovery.end()
	t.discovery.mu.Unlock()
	t.reader.do(func() { t.reader.stopped = true })
	t.running.Wait()
}

// errNotRunning is what Sync says before the start and after the end.
var errNotRunning = errors.New("connection tracking is not followed: not started, or closed")

// Sync looks for namespaces, and returns when everything is known that the kernel had
// told, or would have told in a dump, when it was called: connections that were open or
// closed then. An error says that ctx has ended before, or the tracker.
func (t *Tracker) Sync(ctx context.Context) error {
	t.life.Lock()
	r := t.reader
	running := r != nil && !t.closed
	t.life.Unlock()
	if !running {
		return errNotRunning
	}
	_ = t.refresh() // counted
	done := make(chan struct{})
	r.do(func() { r.synchronize(done) })
	select {
	case <-done:
		return nil
	case <-r.ended:
		return errNotRunning
	case <-ctx.Done():
		return fmt.Errorf("wait for the conntrack events: %w", context.Cause(ctx))
	}
}

// Translation is what the ends of a socket's connection are beyond translation.
type Translation struct {
	Local netip.AddrPort // this end as the peer sees it
	Peer  netip.AddrPort // whom this end really talks to
	// PeerHere: the peer has an address of this machine, and so its own end here tells what
	// the socket holds, whatever was made of that on the way.
	PeerHere bool
}

// Resolve translates the addresses of a socket of the namespace with this inode. Without
// translation it gives them as they are. It allocates nothing.
func (t *Tracker) Resolve(netns uint32, local, peer netip.AddrPort) (Translation, Result) {
	key := tupleOf(local, peer)
	t.mu.Lock()
	defer t.mu.Unlock()
	translation, result := t.translation(local, peer, key, netns, t.own)
	if result == Ambiguous {
		t.stats.Ambiguous++
	}
	return translation, result
}

// ResolveAnywhere is Resolve for a socket of which the namespace is not known: the result
// is Ambiguous if it depends on that.
func (t *Tracker) ResolveAnywhere(local, peer netip.AddrPort) (Translation, Result) {
	key := tupleOf(local, peer)
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.translation(local, peer, key, 0, 0)
}

func (t *Tracker) translation(local, peer netip.AddrPort, key tuple, netns, own uint32) (Translation, Result) {
	beyond, last, result := t.table.resolve(key, netns, own)
	if result != Translated {
		return Translation{Local: local, Peer: peer}, result
	}
	peerHere := t.addresses.peerHere(t.table.at(last.record()), last.direction())
	return Translation{Local: beyond.source(), Peer: beyond.destination(), PeerHere: peerHere}, Translated
}

// apply runs do with the table and the time.
func (t *Tracker) apply(do func(*table, time.Duration)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	do(t.table, time.Since(t.began))
}

// count runs do with the stats.
func (t *Tracker) count(do func(*Stats)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	do(&t.stats)
}
