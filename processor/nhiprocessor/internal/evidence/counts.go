// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import "math"

// Field is one count of [Counts].
type Field uint8

// The counts of one key in one window.
const (
	Sent                  Field = iota // By
	Received                           // By
	Segments                           // data segments sent, retransmissions included
	Retransmitted                      // in phases established and close, known spurious ones not
	RetransmittedConnect               // SYN, SYN-ACK
	RetransmittedSpurious              // the peer had the segment already: no sign of loss
	Timeouts                           // in phases established and close
	TimeoutsConnect
	Attempted
	Opened
	FailedRefused
	FailedTimedOut
	FailedOther
	ClosedOrderly
	ClosedReset
	ClosedOther
	Active         // connections that sent
	Retransmitting // of those, the ones that retransmitted
	// What senders waited for, in µs.
	Busy           // acknowledgements
	ReceiverWindow // the peer to read
	SendBuffer     // room in their own buffer
	NumFields
)

// TimeUnits is how many units of the times are a second.
const TimeUnits = 1e6

// Counts is what the flows of one key did in one window. All of it is additive.
type Counts struct {
	N   [NumFields]uint64
	RTT RTT
	// Times are the round-trip times by size, nil when there are none.
	Times *Times
}

// RTT sums up round-trip times, in seconds.
type RTT struct {
	Count    uint64
	Sum, Min float64
}

// Add adds n to one count. A count that would overflow stays at its maximum.
func (c *Counts) Add(f Field, n uint64) {
	c.N[f] = saturated(c.N[f], n)
}

// AddRTT adds samples.
func (c *Counts) AddRTT(r RTT) {
	if r.Count == 0 {
		return
	}
	if c.RTT.Count == 0 || r.Min < c.RTT.Min {
		c.RTT.Min = r.Min
	}
	c.RTT.Count = saturated(c.RTT.Count, r.Count)
	c.RTT.Sum += r.Sum
}

// Merge adds o.
func (c *Counts) Merge(o *Counts) {
	c.MergeSums(o)
	if o.Times != nil {
		c.times().Merge(o.Times)
	}
}

func (c *Counts) times() *Times {
	if c.Times == nil {
		c.Times = &Times{}
	}
	return c.Times
}

// AddTimes adds n round-trip times of one size, as [Bucket] numbers it.
func (c *Counts) AddTimes(bucket int, n uint64) { c.times().Add(bucket, n) }

// MergeSums adds o but for its times.
func (c *Counts) MergeSums(o *Counts) {
	for f := range c.N {
		c.N[f] = saturated(c.N[f], o.N[f])
	}
	c.AddRTT(o.RTT)
}

// DataTransferred is payload sent plus received, in bytes.
func (c *Counts) DataTransferred() uint64 { return saturated(c.N[Sent], c.N[Received]) }

// AllRetransmissions counts retransmissions of every phase and type.
func (c *Counts) AllRetransmissions() uint64 {
	return saturated(c.N[Retransmitted], saturated(c.N[RetransmittedConnect], c.N[RetransmittedSpurious]))
}

// AllTimeouts counts timeouts of every phase.
func (c *Counts) AllTimeouts() uint64 { return saturated(c.N[Timeouts], c.N[TimeoutsConnect]) }

// Trials gives how many segments were exposed to loss, and how many of them were
// retransmitted. lost never exceeds segments: retransmissions of FIN are among the
// retransmissions but not among the data segments.
//
// SYNs are trials only while not one connection was opened and no new data got through
// on those open before. Then they are all that a
// black hole lets a host send; but once connections open, a lost SYN more often means a
// listener whose queue is full, and the data segments tell about the network.
func (c *Counts) Trials() (segments, lost uint64) {
	segments, lost = c.N[Segments], c.N[Retransmitted]
	if c.N[Opened] == 0 && c.N[Segments] <= c.N[Retransmitted] {
		lost = saturated(lost, c.N[RetransmittedConnect])
		segments = saturated(segments, saturated(c.N[Attempted], c.N[RetransmittedConnect]))
	}
	return max(segments, lost), lost
}

// Sending is for how long senders had something to send, and for how much of that they waited for the
// peer to read, in µs.
func (c *Counts) Sending() (all, waited uint64) {
	waited = c.N[ReceiverWindow]
	return saturated(waited, saturated(c.N[Busy], c.N[SendBuffer])), waited
}

func saturated(a, b uint64) uint64 {
	if s := a + b; s >= a {
		return s
	}
	return math.MaxUint64
}
