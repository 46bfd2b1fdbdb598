// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Fault is something that goes wrong with packets: [Loss], [Delay], [Blackhole],
// [Refused], [Reset] or [Unreachable].
//
// Faults strike a packet when it arrives at the far end of a cable, before the
// network stack there. So the sender has sent it, as on a real network: a packet
// that a rule drops on its way *out* of a host is a local error to TCP, which tries
// again and counts no loss.
//
// A Port other than 0 limits a fault to TCP and UDP packets from or to that port.
type Fault interface {
	// rules are the nft statements for what the fault does with a packet.
	rules() ([]string, error)
	port() uint16
}

// Loss drops each packet with a probability of Rate, above 0 and at most 1, with a
// resolution of 0.000001. Draws are independent, and random: not repeatable.
type Loss struct {
	Rate float64
	Port uint16
}

// Blackhole drops every packet, without a word.
type Blackhole struct{ Port uint16 }

// Refused answers connection attempts with an RST, as a host does on whose port
// nobody listens: "connection refused". What is open stays so.
type Refused struct{ Port uint16 }

// Reset answers what belongs to an open connection (every TCP segment but SYN and
// RST) with an RST, and drops it: "connection reset by peer". The end that sends
// is told, not the other one; with [Both], the other is when it sends too.
type Reset struct{ Port uint16 }

// Unreachable answers TCP and UDP packets with an ICMP "host unreachable" (IPv6:
// "address unreachable"). It ends a connection attempt ("no route to host"); an
// open connection takes it as a hint and goes on trying.
//
// The kernel drops an ICMP error that is there before connect() has let go of the
// socket. Only on a network without any latency, as here, that happens; the answer
// to the second SYN, a second later, then ends the attempt. A [Delay] of 1 ms avoids it.
type Unreachable struct{ Port uint16 }

// Delay holds each packet back for Delay, more or less by up to Jitter, evenly
// spread. Packets stay in order, so a late one holds back those after it. Delays
// on one way add up. Delayed packets pass through this process: a lab whose
// process stands still delays more. A delay acts on all packets.
//
// While a delay comes or goes, some packets may overtake others. It needs
// /dev/net/tun.
type Delay struct {
	Delay  time.Duration
	Jitter time.Duration // at most Delay

	// Queue is how many packets are held at most; more are dropped, and counted in
	// [Counts.Hit]. 0 is 20,000: 30 MB, or 100 ms of 2.4 Gbit/s.
	Queue int
}

// ppm is the resolution of a loss rate.
const ppm = 1_000_000

// defaultQueue is explained at [Delay.Queue].
const defaultQueue = 20_000

func (f Loss) port() uint16        { return f.Port }
func (f Blackhole) port() uint16   { return f.Port }
func (f Refused) port() uint16     { return f.Port }
func (f Reset) port() uint16       { return f.Port }
func (f Unreachable) port() uint16 { return f.Port }
func (f Delay) port() uint16       { return 0 }

// hit counts the packets that a rule takes.
const hit = "counter name hit "

func (f Loss) rules() ([]string, error) {
	n := math.Round(f.Rate * ppm)
	if !(n >= 1 && n <= ppm) { // also when it is no number
		return nil, fmt.Errorf("loss rate %v: must be from 0.000001 to 1", f.Rate)
	}
	if n == ppm {
		return []string{hit + "drop"}, nil
	}
	return []string{fmt.Sprintf("numgen random mod %d < %d %sdrop", ppm, int(n), hit)}, nil
}

func (Blackhole) rules() ([]string, error) {
	return []string{hit + "drop"}, nil
}

func (Refused) rules() ([]string, error) {
	return []string{"tcp flags & (syn | ack | rst) == syn " + hit + "reject with tcp reset"}, nil
}

func (Reset) rules() ([]string, error) {
	return []string{"tcp flags & (syn | rst) == 0 " + hit + "reject with tcp reset"}, nil
}

func (Unreachable) rules() ([]string, error) {
	return []string{"meta l4proto { tcp, udp } " + hit + "reject with icmpx type host-unreachable"}, nil
}

// rules of a delay are the relay's (see relay.go); here it is only checked.
func (f Delay) rules() ([]string, error) {
	var errs []error
	if f.Delay <= 0 || f.Delay > maxDelay {
		errs = append(errs, fmt.Errorf("delay %v: must be above 0 and at most %v", f.Delay, maxDelay))
	}
	if f.Jitter < 0 || f.Jitter > f.Delay {
		errs = append(errs, fmt.Errorf("jitter %v: must be from 0 to the delay, %v", f.Jitter, f.Delay))
	}
	if f.Queue < 0 {
		errs = append(errs, fmt.Errorf("queue %d: must not be negative", f.Queue))
	}
	return nil, errors.Join(errs...)
}

// maxDelay is beyond what any TCP connection lives with.
const maxDelay = time.Minute

// Direction says which packets of a link or a node a fault strikes.
type Direction uint8

// Of a link: packets that its end A sends, that it receives, or both. Of a node:
// those that leave it, those that come to it, or both.
const (
	FromA Direction = 1 << iota
	ToA
	Both = FromA | ToA

	Out = FromA
	In  = ToA
)

// Counts is what a fault did so far.
type Counts struct {
	Seen uint64 // packets that it looked at
	Hit  uint64 // of those, the ones that it struck; of a [Delay], those that found its queue full
}
