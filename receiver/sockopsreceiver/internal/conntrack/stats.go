// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

// Stats says what a [Tracker] holds, and what it could not do.
type Stats struct {
	// As of now.

	Entries           int // translated connections held, those that have ended included
	Ended             int // of those, the ones that have ended
	Namespaces        int // followed
	NamespacesRefused int // found, but past MaxNamespaces
	NamespacesFailed  int // found, but could not be entered or listened to
	ProcessesHidden   int // whose namespace could not be looked at (needs CAP_SYS_PTRACE)
	NamespacesSilent  int // followed, but sending no events (net.netfilter.nf_conntrack_events was 0): dumped at each Sync

	Addresses        int // of this machine, that are known
	AddressesRefused int // found, but past 65,536

	// Totals since the start.

	Events       uint64 // read; the kernel filters those of other protocols and of what is not translated
	Dumps        uint64 // read to their end
	DumpFailures uint64 // refused by the kernel; asked for again
	Overruns     uint64 // times that the receive buffer was full; each is followed by a dump
	EventsLost   uint64 // messages that the kernel dropped then
	Malformed    uint64 // datagrams that were not what the kernel writes
	Refused      uint64 // connections that did not fit into MaxEntries
	Evicted      uint64 // ended connections forgotten before their time, to make room
	Superseded   uint64 // connections whose end was seen only by the next one of the same tuple
	Ambiguous    uint64 // look-ups that found translations that do not agree
}

// Stats may be called at any time, by any goroutine.
func (t *Tracker) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.stats
	s.Entries, s.Ended = t.table.held, t.table.ended
	s.Refused, s.Evicted, s.Superseded = t.table.counts.refused, t.table.counts.evicted, t.table.counts.superseded
	s.Addresses, s.AddressesRefused = len(t.addresses.seen), t.addresses.refused
	return s
}
