// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// DetailGroup is a set of groups of counters that are kept only when asked for (enum
// detail_group).
type DetailGroup uint32

// The groups. Each costs memory in the kernel, and time: see docs/benchmarks.md.
const (
	DetailLimits         DetailGroup = 1 << iota // what senders wait for
	DetailRetransmitType                         // why they retransmit
	DetailZeroWindows                            // that the peer closed its window; looks at every segment received
	DetailECN                                    // congestion marks that the peer echoed
)

// Detail is what the groups counted for a flow since the last harvest (flow.h). Limits
// are in jiffies: see [Sockops.Jiffy].
type Detail = sockopsDetail

type detailedFlow = sockopsDetailedFlow

// Indexes of [Detail].Limits (enum limit).
const (
	LimitBusy = iota
	LimitReceiverWindow
	LimitSendBuffer
)

// Second indexes of [Detail].Retransmissions (enum retransmit_type).
const (
	RetransmitFast = iota
	RetransmitTailLossProbe
	RetransmitTimeout
	RetransmitSpurious
	RetransmitUntold
)

// trimConn leaves out of the sockets' storage what only the groups need: the kernel
// rounds up to slab classes, and every socket of the host has one.
func trimConn(conns *ebpf.MapSpec, detail DetailGroup) error {
	if detail != 0 {
		return nil
	}
	whole, ok := conns.Value.(*btf.Struct)
	if !ok {
		return fmt.Errorf("storage of sockets: its type is %v, not a struct", conns.Value)
	}
	i := slices.IndexFunc(whole.Members, func(m btf.Member) bool { return m.Name == "detail" })
	if i < 0 {
		return fmt.Errorf("storage of sockets: %v has no member detail", whole)
	}
	short := *whole
	short.Members = whole.Members[:i]
	short.Size = whole.Members[i].Offset.Bytes()
	conns.Value, conns.ValueSize = &short, short.Size
	return nil
}

// hertz are the CONFIG_HZ that Kconfig offers on amd64 and arm64.
var hertz = []float64{100, 250, 300, 1000}

// jiffyOf finds out how long a jiffy is. The kernel's configuration says so, but not where
// a container can read it. The count of jiffies began at the boot, 300 s before it would
// fill 32 bits (INITIAL_JIFFIES in include/linux/jiffies.h): of the possible lengths one
// leads to the count that there is after ns of CLOCK_MONOTONIC. (Within a tick or two of
// 300 s all of them do.)
func jiffyOf(jiffies, ns uint64) time.Duration {
	distance := func(hz float64) float64 {
		expected := (float64(ns)/1e9-300)*hz + 1<<32
		return math.Abs(expected-float64(jiffies)) / hz
	}
	hz := slices.MinFunc(hertz, func(a, b float64) int { return cmp.Compare(distance(a), distance(b)) })
	return time.Duration(float64(time.Second) / hz)
}

// readJiffy has the kernel's clock read, by a walk: without pins nothing is watched yet.
// Also without DetailLimits: pins may hold limits that another process has asked for.
func (s *Sockops) readJiffy() error {
	if err := readAll(s.walk); err != nil {
		return fmt.Errorf("walk the sockets: %w", err)
	}
	var jiffies, ns uint64
	if err := errors.Join(s.objects.ClockJiffies.Get(&jiffies), s.objects.ClockNs.Get(&ns)); err != nil {
		return err
	}
	s.jiffy = jiffyOf(jiffies, ns)
	return nil
}

// Jiffy is the unit of [Detail].Limits.
func (s *Sockops) Jiffy() time.Duration { return s.jiffy }
