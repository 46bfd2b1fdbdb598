// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"iter"
	"net/netip"
	"unique"
)

// generation is answers by flow. The keys of nearly all flows are kept without a pointer:
// the garbage collector need not follow three of them for each.
type generation struct {
	plain map[plainKey]*enrichment
	rare  map[flowKey]*enrichment // with translated addresses, or zones
}

type plainKey struct {
	local, peer [16]byte
	kind        uint8 // bits, as an address may be none
}

const (
	hasLocal uint8 = 1 << iota
	hasPeer
	isListener
)

// plain gives the key without pointers; false for a flow that has none.
func (k *flowKey) plain() (p plainKey, ok bool) {
	if k.nat != (unique.Handle[natPair]{}) || k.local.Zone() != "" || k.peer.Zone() != "" {
		return p, false
	}
	if k.local.IsValid() {
		p.local, p.kind = k.local.As16(), hasLocal
	}
	if k.peer.IsValid() {
		p.peer, p.kind = k.peer.As16(), p.kind|hasPeer
	}
	if k.listener {
		p.kind |= isListener
	}
	return p, true
}

// key is the reverse: addresses are unmapped, so that a mapped one is IPv4.
func (p *plainKey) key() flowKey {
	k := flowKey{listener: p.kind&isListener != 0}
	if p.kind&hasLocal != 0 {
		k.local = netip.AddrFrom16(p.local).Unmap()
	}
	if p.kind&hasPeer != 0 {
		k.peer = netip.AddrFrom16(p.peer).Unmap()
	}
	return k
}

func (g *generation) len() int { return len(g.plain) + len(g.rare) }

// take gives an answer and removes it.
func (g *generation) take(k *flowKey) *enrichment {
	if p, ok := k.plain(); ok {
		e := g.plain[p]
		if e != nil {
			delete(g.plain, p)
		}
		return e
	}
	e := g.rare[*k]
	delete(g.rare, *k)
	return e
}

func (g *generation) get(k *flowKey) *enrichment {
	if p, ok := k.plain(); ok {
		return g.plain[p]
	}
	return g.rare[*k]
}

func (g *generation) put(k *flowKey, e *enrichment) {
	if p, ok := k.plain(); ok {
		if g.plain == nil {
			g.plain = map[plainKey]*enrichment{}
		}
		g.plain[p] = e
		return
	}
	if g.rare == nil {
		g.rare = map[flowKey]*enrichment{}
	}
	g.rare[*k] = e
}

func (g *generation) all() iter.Seq2[flowKey, *enrichment] {
	return func(yield func(flowKey, *enrichment) bool) {
		for p, e := range g.plain {
			if !yield(p.key(), e) {
				return
			}
		}
		for k, e := range g.rare {
			if !yield(k, e) {
				return
			}
		}
	}
}
