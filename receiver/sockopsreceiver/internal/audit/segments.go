// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package audit

// Some segments are sent by no socket; the kernel counts them as its own (Linux 6.18,
// net/ipv4/tcp_output.c, tcp_ipv4.c).
//
// Known from the flows:
//
//	the SYN-ACK of a connection that a server opened: in OutSegs
//	a SYN-ACK sent again: in OutSegs and in RetransSegs
//
// Not known one by one, and not to be taken for a loss:
//
//	the ACK of a FIN that came to TIME_WAIT: at most one a socket in that state, as a rule
//	an RST, where there is no connection
//	the SYN-ACK of a handshake that is not complete, or was answered by a cookie or an RST
//
// These are an allowance: as far as they can explain a difference it is no loss.

// synAckCounts is how often the kernel counts a SYN-ACK that it sends again.
const synAckCounts = 2

// segments gives the segments that the kernel counted, those sent again included.
func (r *reading) segments() uint64 { return r.outSegs + r.retransSegs }

// timeWaits is how many sockets have been in TIME_WAIT.
func (r *reading) timeWaits() uint64 {
	return r.timeWaitsEnded + r.timeWaitsUsed + r.timeWaitsShot + r.timeWaitsNow
}

// withoutSocket gives the allowance for what happened since an earlier reading; synAcks
// is how many SYN-ACKs were sent again meanwhile for handshakes that are not complete.
func (r *reading) withoutSocket(earlier *reading, synAcks int64) (n int64) {
	for _, grown := range []int64{
		int64(r.timeWaits() - earlier.timeWaits()),
		int64(r.outRsts - earlier.outRsts),
		int64(r.embryonicRsts - earlier.embryonicRsts),
		int64(r.syncookiesSent - earlier.syncookiesSent),
		synAcks, // each had a first one
	} {
		n += max(0, grown)
	}
	return n
}
