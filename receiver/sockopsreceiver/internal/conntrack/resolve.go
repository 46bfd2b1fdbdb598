// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

// Result says how a look-up went.
type Result int

const (
	// NotTranslated: no connection that is known holds the socket's addresses.
	NotTranslated Result = iota
	// Translated: the ends beyond translation are known.
	Translated
	// Ambiguous: several connections of several places hold the socket's addresses, and they
	// do not agree.
	Ambiguous
)

// maxHops is how many translations one after the other are followed: that of a nested
// node's namespace, then the host's, then a router's, and one to spare.
const maxHops = 4

// path is how far a look-up has come.
type path struct {
	netns, own uint32 // 0: any is as good
	hops       int
	visited    [maxHops]uint32 // namespaces: each translates a connection once
	direction  direction
}

// ranks: the socket's own namespace, where its packets are translated first, or last; the
// collector's, which is the host's as a rule; any other.
const (
	rankSocket = iota
	rankHost
	rankOther
	ranks
)

func (p *path) rank(netns uint32) int {
	switch netns {
	case p.netns:
		return rankSocket
	case p.own:
		return rankHost
	}
	return rankOther
}

// may says whether a record's end can be the next hop. Who opened a connection, as one
// translation shows, holds for those behind it.
func (p *path) may(r *record, d direction) bool {
	if p.hops > 0 && d != p.direction {
		return false
	}
	for _, netns := range p.visited[:p.hops] {
		if r.netns == netns {
			return false
		}
	}
	return true
}

// resolve follows the packets that a socket sends (or would send) as key through the
// translations on their way, and gives them as they are at last, and the last translation.
func (t *table) resolve(key tuple, netns, own uint32) (tuple, end, Result) {
	var last end
	p := path{netns: netns, own: own}
	for p.hops < maxHops {
		e, result := t.hop(&key, &p)
		switch result {
		case Ambiguous:
			return tuple{}, 0, Ambiguous
		case NotTranslated:
			if p.hops == 0 {
				return key, 0, NotTranslated
			}
			return key, last, Translated
		}
		last = e
		r := t.at(e.record())
		p.visited[p.hops], p.direction = r.netns, e.direction()
		p.hops++
		key = r.beyond(e.direction())
	}
	return key, last, Translated
}

// beyond is the tuple of direction d as it is beyond the translation: what the other end
// sees is the inverse of what it sends.
func (r *record) beyond(d direction) tuple { return r.tuples[directions-1-d].inverse() }

// hop finds the translation of a tuple: of the first rank that has any.
func (t *table) hop(key *tuple, p *path) (end, Result) {
	var found [ranks]end
	var conflict [ranks]bool
	for e := t.first(key); e != 0; e = t.next(e) {
		r := t.at(e.record())
		if r.tuples[e.direction()] != *key || !p.may(r, e.direction()) {
			continue
		}
		rank := p.rank(r.netns)
		switch t.compare(found[rank], e) {
		case better:
			found[rank], conflict[rank] = e, false
		case contradiction:
			conflict[rank] = true
		}
	}
	for rank, e := range found {
		if conflict[rank] {
			return 0, Ambiguous
		}
		if e != 0 {
			return e, Translated
		}
	}
	return 0, NotTranslated
}

type comparison int

const (
	better comparison = iota
	worse
	contradiction
)

// compare says what e is to what was found before it, which is newer. What is live counts
// before what has ended, for the port may be in use again.
func (t *table) compare(found, e end) comparison {
	if found == 0 {
		return better
	}
	f, r := t.at(found.record()), t.at(e.record())
	switch {
	case f.state != r.state:
		if r.state == live {
			return better
		}
		return worse
	case r.state == ended && f.netns == r.netns && f.zone == r.zone:
		return worse // an earlier connection of the same port
	case f.beyond(found.direction()) == r.beyond(e.direction()):
		return worse
	}
	return contradiction
}
