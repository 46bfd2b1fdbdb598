// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"errors"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

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

// reader is a system call that reads part of a table: BatchLookup or BatchLookupAndDelete.
type reader func(cursor *ebpf.MapBatchCursor, keys, values any, o *ebpf.BatchOptions) (int, error)

// each hands over what next reads, from the cursor on.
func (b *batch) each(next reader, cursor *ebpf.MapBatchCursor, yield Yield) error {
	for {
		n, err := b.take(next, cursor)
		for i := range n {
			key, flow, detail := b.at(i)
			if key.Kind == KindFlow || key.Kind == KindConnection || *flow != (Flow{}) {
				yield(key, flow, detail)
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, ebpf.ErrKeyNotExist):
			return nil
		case errors.Is(err, unix.ENOSPC): // a bucket holds more than the batch does
			b.grow()
		default:
			return err
		}
	}
}

func (b *batch) take(next reader, cursor *ebpf.MapBatchCursor) (int, error) {
	if b.detailed != nil {
		return next(cursor, b.keys, b.detailed, nil)
	}
	return next(cursor, b.keys, b.plain, nil)
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
