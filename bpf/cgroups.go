// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// CgroupNames gives the names of the cgroup of a flow ([FlowKey].Cgroup) and of the up to
// seven around it, innermost first; the root of the hierarchy has the empty name. It
// takes them out, with pins two rounds later: the next flow that the kernel makes in that
// cgroup brings them again.
// Unknown, because the kernel had no room for them: [ebpf.ErrKeyNotExist]. Only with
// [Options].Containers.
//
// Safe for concurrent use, but not with Close, and with pins not with itself or Settle.
func (s *Sockops) CgroupNames(id uint64) ([]string, error) {
	var names sockopsCgroupNames
	take := s.objects.Cgroups.LookupAndDelete
	if s.pins != nil {
		s.pins.named.asked[id] = struct{}{}
		take = s.objects.Cgroups.Lookup
	}
	if err := take(id, &names); err != nil {
		return nil, fmt.Errorf("names of cgroup %d: %w", id, err)
	}
	var levels []string
	for i := range names.Level {
		level := make([]byte, len(names.Level[i]))
		for j, c := range names.Level[i] {
			level[j] = byte(c)
		}
		name, _, _ := bytes.Cut(level, []byte{0})
		levels = append(levels, string(name))
		if len(name) == 0 {
			break
		}
	}
	return levels, nil
}

// SynAcks gives for each network namespace, by inode, the SYN-ACKs sent again for
// handshakes that are not complete, in all since [Load] or, with pins, since they were
// last reported before it: what completes later is taken off again.
//
// Safe for concurrent use, but not with Close.
func (s *Sockops) SynAcks() (map[uint32]int64, error) {
	counts := map[uint32]int64{}
	var netns uint32
	var n int64
	it := s.objects.Synacks.Iterate()
	for it.Next(&netns, &n) {
		if s.pins != nil {
			n -= s.pins.told.before[netns]
		}
		counts[netns] = n
	}
	if err := it.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return nil, fmt.Errorf("read the retransmitted SYN-ACKs: %w", err)
	}
	return counts, nil
}
