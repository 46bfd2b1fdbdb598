// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package streams

import (
	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// keyOf gives the identity on the wire of a flow of the kernel. What the wire does not
// carry is left out, so that flows which differ in nothing else become one: a listener's
// peer and container, the addresses of an overflow flow, the network namespace if nobody asked for it.
func (t *Table) keyOf(k *bpf.FlowKey) key {
	role := flowattr.RoleKind(k.Role)
	if role > flowattr.RoleListener {
		role = flowattr.RoleUnknown
	}
	switch k.Kind {
	case bpf.KindOverflowIPv4, bpf.KindOverflowIPv6:
		if role == flowattr.RoleListener {
			role = flowattr.RoleUnknown // see key.overflow
		}
		return key{kind: kind(k.Kind), role: role}
	}
	id := key{local: k.Local, localPort: k.LocalPort, role: role}
	if t.settings.Netns {
		id.netns = k.Netns
	}
	if role != flowattr.RoleListener {
		id.peer, id.peerPort = k.Peer, k.PeerPort
		if t.settings.Container != nil {
			id.container = t.settings.Container(k.Cgroup, k.Netns)
		}
	}
	return id
}

// sumsOf lays out the sums of a flow of the kernel, and says whether any is not zero. d
// may be nil.
func (t *Table) sumsOf(f *bpf.Flow, d *bpf.Detail, s *[numSums]uint64) (some bool) {
	*s = [numSums]uint64{}
	s[sent], s[received] = f.Sent, f.Received
	s[segmentsSent], s[segmentsReceived] = f.SegmentsSent, f.SegmentsReceived
	copy(s[retransmissions:], f.Retransmissions[:])
	copy(s[timeouts:], f.Timeouts[:])
	s[attempted], s[opened] = uint64(f.Attempted), uint64(f.Opened)
	for i, n := range f.Failed {
		s[failed+i] = uint64(n)
	}
	for i, n := range f.Closed {
		s[closed+i] = uint64(n)
	}
	s[active], s[retransmitting] = uint64(f.Active), uint64(f.Retransmitting)
	s[listenDrops] = uint64(f.ListenDrops)
	if d != nil {
		t.detailOf(d, s)
	}
	return *s != [numSums]uint64{}
}

func (t *Table) detailOf(d *bpf.Detail, s *[numSums]uint64) {
	if t.settings.Jiffy != nil {
		jiffy := uint64(t.settings.Jiffy().Microseconds())
		for i, n := range d.Limits {
			s[waited+i] = n * jiffy
		}
	}
	for phase := range d.Retransmissions {
		for i, n := range d.Retransmissions[phase][:retransmitTypes] {
			s[typed+phase*retransmitTypes+i] = uint64(n)
			s[retransmissions+phase] -= uint64(n) // together they are all of them
		}
	}
	s[zeroWindows], s[ecnMarks] = uint64(d.ZeroWindows), uint64(d.EcnMarks)
}

// AddSynAcks adds SYN-ACKs that were sent again in a network namespace for handshakes
// that were not completed.
func (t *Table) AddSynAcks(netns uint32, n uint64) {
	if !t.settings.Netns {
		netns = 0
	}
	s := t.hold(key{kind: kindNamespace, netns: netns})
	t.account(s).sums[synAcks] += n
}

// Add adds what the kernel counted for a flow since the last harvest. Key, flow and
// detail (which may be nil) are read during the call only. It is the yield function of a
// harvest.
func (t *Table) Add(k *bpf.FlowKey, f *bpf.Flow, d *bpf.Detail) {
	counted := t.sumsOf(f, d, &t.sums) || f.Rtt.Count != 0 || f.Connect.Count != 0
	if !counted && f.Open == [phases]uint32{} {
		return
	}
	t.harvested++
	s := t.hold(t.identity(k, f))
	for p, n := range f.Open {
		s.open[p] += uint64(n)
	}
	if !counted {
		return
	}
	a := t.account(s)
	for i, n := range t.sums {
		a.sums[i] += n
	}
	t.addHistogram(a, rtt, &f.Rtt)
	t.addHistogram(a, connect, &f.Connect)
}

func (t *Table) addHistogram(a *account, which int, from *bpf.Histogram) {
	if from.Count == 0 {
		return
	}
	h := t.histogram(a, which)
	h.count += from.Count
	h.sumUS += from.SumUs
	h.maxUS = max(h.maxUS, from.MaxUs)
	h.minUS = min(h.minUS, ^from.MinUsInverted)
	for i, n := range &from.Buckets {
		h.buckets[i] += uint64(n)
	}
}
