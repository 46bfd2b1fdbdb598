// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// discovery is what those know who look for namespaces, one at a time.
type discovery struct {
	mu       sync.Mutex
	over     bool
	followed map[uint32]*presence
	failed   map[uint32]time.Time // when it is tried again
	buffer   []byte               // for dumps of addresses
}

// presence of a namespace that is followed.
type presence struct {
	missed     int // times, one after the other, that it was looked for and not found
	silent     bool
	interfaces *interfaces
}

// end closes everything.
func (d *discovery) end() {
	d.over = true
	for _, p := range d.followed {
		p.interfaces.close()
	}
}

const (
	// Processes come and go while they are looked through, so a namespace may be missed once.
	missedOften = 2
	// What could not be entered, for want of a capability as a rule, is not worth more.
	failedRetry = time.Minute
	// Most namespaces have little or nothing to tell, and there may be hundreds: at the
	// defaults all of them together can take 1 GiB of the kernel's memory at worst.
	othersShare = 8
)

// refreshUntil looks for namespaces at once, and then every so often.
func (t *Tracker) refreshUntil(ctx context.Context) {
	ticker := time.NewTicker(t.settings.RefreshInterval)
	defer ticker.Stop()
	for {
		_ = t.refresh() // counted
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// refresh follows the namespaces that there are, and leaves those that are gone. Its error
// says why some are not followed.
func (t *Tracker) refresh() error {
	d := &t.discovery
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return errNotRunning
	}
	own, failure := inodeOf(t.settings.Namespace)
	found, hidden, err := findNamespaces("/proc")
	failure = errors.Join(failure, err)
	if own != 0 {
		found[own] = t.settings.Namespace
	}
	t.forgetMissing(found)

	failed, refused := 0, 0
	for _, inode := range ownFirst(found, own) {
		switch {
		case d.followed[inode] != nil:
			d.followed[inode].missed = 0
		case inode != own && len(d.followed) >= t.settings.MaxNamespaces:
			refused++
		case time.Now().Before(d.failed[inode]):
			failed++
		default:
			err := t.follow(inode, found[inode])
			if errors.Is(err, errGone) {
				continue
			}
			if err != nil {
				failed++
				failure = errors.Join(failure, err)
				d.failed[inode] = time.Now().Add(failedRetry)
			}
		}
	}
	failure = errors.Join(failure, t.look())
	silent := 0
	for _, p := range d.followed {
		if p.silent {
			silent++
		}
	}
	t.count(func(s *Stats) {
		s.Namespaces, s.NamespacesRefused, s.NamespacesFailed, s.NamespacesSilent = len(d.followed), refused, failed, silent
		s.ProcessesHidden = hidden
	})
	return failure
}

// look reads the addresses of all namespaces that are followed. It is done after they were
// looked for: who has a connection has an address by then.
func (t *Tracker) look() error {
	d := &t.discovery
	if d.buffer == nil {
		d.buffer = make([]byte, dumpBuffer)
	}
	began := time.Since(t.began)
	var found [][16]byte
	var failure error
	for inode, p := range d.followed {
		var err error
		if found, err = p.interfaces.addresses(found, d.buffer); err != nil {
			failure = errors.Join(failure, fmt.Errorf("list the addresses of network namespace %d: %w", inode, err))
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.addresses.update(found, began, failure == nil, t.settings.Retention)
	return failure
}

func ownFirst(found map[uint32]string, own uint32) []uint32 {
	inodes := slices.Sorted(maps.Keys(found)) // older ones first, as a rule, and the same ones each time
	if i := slices.Index(inodes, own); i > 0 {
		inodes = slices.Insert(slices.Delete(inodes, i, i+1), 0, own)
	}
	return inodes
}

// forgetMissing leaves the namespaces that are no longer found: being followed is all
// that keeps them alive.
func (t *Tracker) forgetMissing(found map[uint32]string) {
	d := &t.discovery
	for inode, p := range d.followed {
		if _, ok := found[inode]; ok {
			continue
		}
		if p.missed++; p.missed >= missedOften {
			p.interfaces.close()
			delete(d.followed, inode)
			t.reader.do(func() { t.reader.leave(inode) })
		}
	}
	for inode := range d.failed {
		if _, ok := found[inode]; !ok {
			delete(d.failed, inode)
		}
	}
}

// follow begins to follow a namespace.
func (t *Tracker) follow(inode uint32, path string) error {
	buffer := t.settings.ReceiveBuffer
	if path != t.settings.Namespace {
		buffer /= othersShare
	}
	n, i, err := open(path, inode, buffer)
	if err != nil {
		return fmt.Errorf("follow connection tracking of network namespace %d: %w", inode, err)
	}
	t.discovery.followed[inode] = &presence{silent: n.silent, interfaces: i}
	t.reader.do(func() { t.reader.follow(n) })
	return nil
}
