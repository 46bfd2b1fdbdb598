// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import "github.com/cilium/ebpf"

// drainBatch is how many flows one system call reads: 256 kB of values.
const drainBatch = 256

// batch is what one system call reads of a flow table. Its values are of one of two
// sizes, like the table's.
type batch struct {
	keys     []FlowKey
	plain    []Flow
	detailed []detailedFlow
}

func newBatch(detail bool) batch {
	b := batch{keys: make([]FlowKey, drainBatch)}
	if detail {
		b.detailed = make([]detailedFlow, drainBatch)
	} else {
		b.plain = make([]Flow, drainBatch)
	}
	return b
}

func (b *batch) take(table *ebpf.Map, cursor *ebpf.MapBatchCursor) (int, error) {
	if b.detailed != nil {
		return table.BatchLookupAndDelete(cursor, b.keys, b.detailed, nil)
	}
	return table.BatchLookupAndDelete(cursor, b.keys, b.plain, nil)
}

func (b *batch) at(i int) (*FlowKey, *Flow, *Detail) {
	if b.detailed != nil {
		return &b.keys[i], &b.detailed[i].Flow, &b.detailed[i].Detail
	}
	return &b.keys[i], &b.plain[i], nil
}

func (b *batch) grow() {
	b.keys = make([]FlowKey, 2*len(b.keys))
	if b.detailed != nil {
		b.detailed = make([]detailedFlow, 2*len(b.detailed))
	} else {
		b.plain = make([]Flow, 2*len(b.plain))
	}
}
