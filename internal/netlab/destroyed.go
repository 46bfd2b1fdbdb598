// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"net/netip"
)

// Destroyed is a TCP socket at its end: what the kernel knew of it when it was
// destroyed. Nothing comes after it, unlike with a read before close().
type Destroyed struct {
	// Local and Remote are as the socket had them: a socket of AF_INET6 that spoke
	// IPv4 has IPv4-mapped addresses. The remote port is 0 for a listener, and for a
	// connection that never came to be (its local address may be gone too).
	Local, Remote netip.AddrPort

	// Cookie is the socket's SO_COOKIE, unique on this machine until it restarts.
	Cookie uint64

	Info TCPInfo
}

// Listener reports whether the socket listened: it had no peer at all.
func (d Destroyed) Listener() bool {
	return d.Remote.Port() == 0 && (!d.Remote.Addr().IsValid() || d.Remote.Addr().IsUnspecified())
}

// ThrownAway reports whether the socket never was a connection's: when two CPUs have an ACK of the same handshake at a
// time, each makes a socket of it, and one is destroyed at once (Linux 6.18, inet_csk_complete_hashdance). It has
// sent nothing; a client's has sent its SYN.
func (d Destroyed) ThrownAway() bool { return d.Info.SegsOut == 0 && d.Info.BytesAcked == 0 }

// TCPInfo is the part of struct tcp_info (linux/tcp.h) that counts. Bytes are
// those of the kernel: acknowledged ones include the sequence numbers of SYN and
// FIN.
type TCPInfo struct {
	BytesAcked    uint64
	BytesReceived uint64
	BytesSent     uint64
	BytesRetrans  uint64

	SegsOut     uint32
	SegsIn      uint32
	DataSegsOut uint32
	DataSegsIn  uint32

	TotalRetrans uint32

	// MinRTT is the smallest round-trip time of late, in microseconds; like what follows, only
	// from [Node.WatchDestroyed].
	MinRTT uint32

	// What the sender waited for, in microseconds: Busy includes the other two. Only from
	// [Node.WatchDestroyed], like what follows.
	Busy, ReceiverWindowLimited, SendBufferLimited uint64
	// DSACKs are segments that the peer said it had twice, DeliveredCE those delivered
	// with a congestion mark.
	DSACKs, DeliveredCE uint32

	// TotalRTO counts timer expirations that retransmitted. It is only known when
	// HasTotalRTO is true: from Linux 6.7 on, and not from [Node.WatchDestroyedBySS],
	// for ss of iproute2 6.1 does not print it.
	TotalRTO    uint16
	HasTotalRTO bool
}

// Sum adds up the counters of all sockets. HasTotalRTO is true if it is for all.
func Sum(sockets []Destroyed) Totals {
	t := Totals{Sockets: len(sockets), HasTotalRTO: true}
	for _, s := range sockets {
		t.BytesAcked += s.Info.BytesAcked
		t.BytesReceived += s.Info.BytesReceived
		t.BytesSent += s.Info.BytesSent
		t.BytesRetrans += s.Info.BytesRetrans
		t.SegsOut += uint64(s.Info.SegsOut)
		t.SegsIn += uint64(s.Info.SegsIn)
		t.DataSegsOut += uint64(s.Info.DataSegsOut)
		t.DataSegsIn += uint64(s.Info.DataSegsIn)
		t.TotalRetrans += uint64(s.Info.TotalRetrans)
		t.TotalRTO += uint64(s.Info.TotalRTO)
		t.Busy += s.Info.Busy
		t.ReceiverWindowLimited += s.Info.ReceiverWindowLimited
		t.SendBufferLimited += s.Info.SendBufferLimited
		t.DSACKs += uint64(s.Info.DSACKs)
		t.DeliveredCE += uint64(s.Info.DeliveredCE)
		t.HasTotalRTO = t.HasTotalRTO && s.Info.HasTotalRTO
	}
	return t
}

// Totals is the sum of many [TCPInfo].
type Totals struct {
	Sockets                                            int
	BytesAcked, BytesReceived, BytesSent, BytesRetrans uint64
	SegsOut, SegsIn, DataSegsOut, DataSegsIn           uint64
	TotalRetrans, TotalRTO                             uint64
	Busy, ReceiverWindowLimited, SendBufferLimited     uint64
	DSACKs, DeliveredCE                                uint64
	HasTotalRTO                                        bool
}
