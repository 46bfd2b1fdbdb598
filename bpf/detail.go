// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
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

// jiffyClock finds out how long a jiffy is. The kernel's configuration says so, but not
// where a container can read it.
type jiffyClock struct {
	jiffies, ns uint64 // at the end of the first walk
	jiffy       time.Duration
}

// hertz are the CONFIG_HZ that Kconfig offers on amd64 and arm64.
var hertz = []float64{100, 250, 300, 1000}

func (c *jiffyClock) add(jiffies, ns uint64) {
	if c.ns == 0 {
		c.jiffies, c.ns = jiffies, ns
		return
	}
	if jiffies == c.jiffies || ns == c.ns {
		return
	}
	measured := float64(jiffies-c.jiffies) / (float64(ns-c.ns) / 1e9)
	nearest := slices.MinFunc(hertz, func(a, b float64) int {
		if math.Abs(a-measured) < math.Abs(b-measured) {
			return -1
		}
		return 1
	})
	c.jiffy = time.Duration(float64(time.Second) / nearest)
}

// readClock notes the kernel's clock at the end of the last walk; a first walk only if
// there was none.
func (s *Sockops) readClock() error {
	if s.detail&DetailLimits == 0 {
		return nil
	}
	if s.clock.ns == 0 {
		if err := readAll(s.walk); err != nil {
			return fmt.Errorf("walk the sockets: %w", err)
		}
	}
	var jiffies, ns uint64
	if err := s.objects.ClockJiffies.Get(&jiffies); err != nil {
		return err
	}
	if err := s.objects.ClockNs.Get(&ns); err != nil {
		return err
	}
	s.clock.add(jiffies, ns)
	return nil
}

// Jiffy is the unit of [Detail].Limits. Known after the first harvest. Not safe for
// concurrent use with Harvest.
func (s *Sockops) Jiffy() time.Duration { return s.clock.jiffy }
