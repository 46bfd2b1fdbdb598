// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// namedCgroups keeps the names of cgroups in the kernel's map for as long as flows may be
// there that need them: a round that comes again needs them again.
type namedCgroups struct {
	asked, before map[uint64]struct{} // since the last round was settled, and in the round before
}

// begin takes over what earlier processes have left in the map.
func (n *namedCgroups) begin(cgroups *ebpf.Map) error {
	n.asked, n.before = map[uint64]struct{}{}, map[uint64]struct{}{}
	var id uint64
	var names sockopsCgroupNames
	it := cgroups.Iterate()
	for it.Next(&id, &names) {
		n.before[id] = struct{}{}
	}
	if err := it.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return fmt.Errorf("read the named cgroups: %w", err)
	}
	return nil
}

// settled takes out what was not asked for in the round that is settled.
func (n *namedCgroups) settled(cgroups *ebpf.Map) error {
	for id := range n.before {
		if _, again := n.asked[id]; again {
			continue
		}
		if err := cgroups.Delete(id); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("forget cgroup %d: %w", id, err)
		}
	}
	clear(n.before)
	n.asked, n.before = n.before, n.asked
	return nil
}
