// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import "errors"

// Counters that are compared.
const (
	ActiveOpens = iota
	PassiveOpens
	Retransmissions
	Segments
	NumCounters
)

// Flow is what a flow counted since the harvest before.
type Flow struct {
	Netns     uint32 // inode of its network namespace
	Anonymous bool   // an overflow flow: Netns is not known

	Attempted       uint64
	Opened          uint64 // by servers
	Retransmissions uint64 // all of them
	SynAcks         uint64 // of those, what servers sent again before their connections opened
	SegmentsOut     uint64 // those without data included
}

// Report is what the audit found.
type Report struct {
	// Since the start: what the kernel counted in the namespaces while they were audited,
	// and what the flows covered of it.
	Seen, Covered [NumCounters]uint64
	// Recent is the same in the last rounds; see [Ratio].
	Recent struct{ Seen, Covered [NumCounters]uint64 }

	Audited    int    // network namespaces in this round
	Unreadable int    // with flows in this round, but no process of them can be looked at
	Refused    int    // past the bound
	Vanished   uint64 // since the start: audited, and then gone
}

// Ratio is covered ÷ seen in the last rounds; ok is false if there was nothing to see.
func (r *Report) Ratio(counter int) (ratio float64, ok bool) {
	seen := r.Recent.Seen[counter]
	return float64(r.Recent.Covered[counter]) / float64(seen), seen > 0
}

// MaxNamespaces is how many network namespaces are audited at most. Each costs a
// descriptor and 1 kB.
const MaxNamespaces = 1024

// recentRounds make a ratio that neither hangs on a single round nor on the distant
// past: five minutes of the default interval.
const recentRounds = 10

// SynAcks gives, by namespace, the SYN-ACKs sent again for handshakes that are not
// complete, in all.
type SynAcks func() (map[uint32]int64, error)

// Audit is used once a round: Before, Add for each flow of the harvest, After. It is not
// safe for concurrent use.
type Audit struct {
	synAcks    SynAcks
	max        int
	namespaces map[uint32]*namespace
	counted    map[uint32]*counts // by the flows of this harvest
	last       *counts            // of namespace lastNetns
	lastNetns  uint32
	spare      [NumCounters]spare
	report     Report
	rounds     [recentRounds]struct{ seen, covered [NumCounters]uint64 }
	round      int
	buffer     []byte
}

// counts is what flows covered, before it is known whether the harvest was whole.
type counts [NumCounters]int64

// namespace is one that is audited.
type namespace struct {
	process  process
	begun    bool
	active   bool    // flows have counted something
	synAcks  int64   // as of the last reading
	before   reading // of this round
	earlier  reading // of the round before
	balances [NumCounters]balance
	told     [NumCounters]struct{ seen, covered int64 } // is in the report
}

// New makes an audit of at most maxNamespaces network namespaces.
func New(maxNamespaces int, synAcks SynAcks) *Audit {
	return &Audit{
		synAcks:    synAcks,
		max:        maxNamespaces,
		namespaces: map[uint32]*namespace{},
		counted:    map[uint32]*counts{},
	}
}

// Before reads the kernel's counters. To be called right before the harvest.
func (a *Audit) Before() error {
	resent, err := a.synAcks()
	if err != nil {
		return err
	}
	for inode, n := range a.namespaces {
		n.earlier = n.before
		if readErr := a.read(inode, n, &n.before); readErr != nil {
			err = errors.Join(err, a.leave(inode, n, readErr))
			continue
		}
		if !n.begun {
			continue
		}
		grown := resent[inode] - n.synAcks
		n.synAcks = resent[inode]
		n.balances[Retransmissions].covered += grown
		n.balances[Segments].covered += synAckCounts * grown
		n.balances[Segments].allowance += n.before.withoutSocket(&n.earlier, grown)
	}
	return errors.Join(err, a.find())
}

// Add takes what a flow of the harvest counted.
func (a *Audit) Add(f *Flow) {
	c := counts{
		ActiveOpens:     int64(f.Attempted),
		PassiveOpens:    int64(f.Opened),
		Retransmissions: int64(f.Retransmissions),
		Segments:        int64(f.SegmentsOut + f.Opened + synAckCounts*f.SynAcks),
	}
	if f.Anonymous {
		for i, n := range c {
			a.spare[i].add(n)
		}
		return
	}
	if a.last == nil || a.lastNetns != f.Netns {
		a.lastNetns, a.last = f.Netns, a.counted[f.Netns]
		if a.last == nil {
			a.last = new(counts)
			a.counted[f.Netns] = a.last
		}
	}
	for i, n := range c {
		a.last[i] += n
	}
}

// After reads the kernel's counters again and draws the balance. whole says that the
// harvest handed over all there was; if it did not, the rest is waited for.
func (a *Audit) After(whole bool) error {
	resent, err := a.synAcks()
	a.report.Unreadable = 0
	for inode, c := range a.counted {
		if n := a.namespaces[inode]; n == nil {
			a.report.Unreadable++
		} else if n.begun {
			n.active = true
			for i := range n.balances {
				n.balances[i].covered += c[i]
			}
		}
	}
	clear(a.counted)
	a.last = nil
	if !whole || err != nil {
		return err
	}

	round := &a.rounds[a.round%recentRounds]
	*round = struct{ seen, covered [NumCounters]uint64 }{}
	a.round++
	var windows counts
	for inode, n := range a.namespaces {
		after := n.before
		if !n.begun || n.active || n.before != n.earlier { // else nothing happened that could be excess
			if readErr := a.readSNMP(inode, n, &after); readErr != nil {
				err = errors.Join(err, a.leave(inode, n, readErr))
				continue
			}
		}
		n.active = false
		if !n.begun {
			n.begin(&after, resent[inode])
			continue
		}
		a.settle(n, &after, &windows)
	}
	for i := range a.spare {
		a.spare[i].age(windows[i])
	}
	a.sum()
	a.report.Audited = len(a.namespaces)
	return err
}

// begin takes a namespace in: what was counted in it until now is not ours.
func (n *namespace) begin(after *reading, synAcks int64) {
	n.begun = true
	n.synAcks = synAcks
	first, base := n.before.counters(), after.counters()
	for i := range n.balances {
		n.balances[i].first, n.balances[i].base = first[i], base[i]
	}
}

// counters are those that are compared.
func (r *reading) counters() [NumCounters]uint64 {
	return [NumCounters]uint64{
		ActiveOpens:     r.activeOpens,
		PassiveOpens:    r.passiveOpens,
		Retransmissions: r.retransSegs,
		Segments:        r.segments(),
	}
}

func (a *Audit) settle(n *namespace, after *reading, windows *counts) {
	before, now := n.before.counters(), after.counters()
	round := &a.rounds[(a.round-1)%recentRounds]
	for i := range n.balances {
		b, told := &n.balances[i], &n.told[i]
		b.settle(before[i], now[i], &a.spare[i])
		windows[i] += b.window(before[i], now[i])
		if grown := b.seen() - told.seen; grown > 0 {
			told.seen += grown
			round.seen[i] += uint64(grown)
			a.report.Seen[i] += uint64(grown)
		}
		if grown := b.covered - told.covered; grown > 0 {
			told.covered += grown
			round.covered[i] += uint64(grown)
			a.report.Covered[i] += uint64(grown)
		}
	}
}

// sum adds up the last rounds.
func (a *Audit) sum() {
	a.report.Recent = struct{ Seen, Covered [NumCounters]uint64 }{}
	for i := range a.rounds {
		for c := range NumCounters {
			a.report.Recent.Seen[c] += a.rounds[i].seen[c]
			a.report.Recent.Covered[c] += a.rounds[i].covered[c]
		}
	}
}

// Report gives what was found up to the last round.
func (a *Audit) Report() Report { return a.report }

// Close lets go of all namespaces.
func (a *Audit) Close() {
	for inode, n := range a.namespaces {
		n.process.close()
		delete(a.namespaces, inode)
	}
}
