// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
)

// With pins a round stays in the kernel until it is settled: read, but not deleted. So a
// process that is killed loses nothing; at worst the next one delivers a round again.

// roundReader reads a flow table, and leaves it as it is.
type roundReader struct {
	table  *ebpf.Map
	batch  *batch
	cursor ebpf.MapBatchCursor
	more   bool // not yet to its end
}

// readRound begins to read a table, which may be that of a process with other options.
func (s *Sockops) readRound(table *ebpf.Map) roundReader {
	b := &s.batch
	if table.ValueSize() != s.objects.FlowsA.ValueSize() {
		b = batchOf(table)
	}
	return roundReader{table: table, batch: b, more: true}
}

// batchOf fits the values of a table.
func batchOf(table *ebpf.Map) *batch {
	b := newBatch(table.ValueSize() != uint32(unsafe.Sizeof(Flow{})))
	return &b
}

// each hands over what is left to read. After an error it can be called again.
func (r *roundReader) each(yield Yield) error {
	if !r.more {
		return nil
	}
	if err := r.batch.each(r.table.BatchLookup, &r.cursor, yield); err != nil {
		return fmt.Errorf("read the flow table: %w", err)
	}
	r.more = false
	return nil
}

// errUnsettled says that the caller harvests without having settled the round before.
var errUnsettled = errors.New("harvest: the round before is not settled")

// Left says whether the next Harvest gives a round that an earlier process read or left
// and did not deliver, and when that round ended by that process's wall clock.
func (s *Sockops) Left() (end time.Time, left bool) {
	if s.pins == nil || len(s.pins.left) == 0 {
		return time.Time{}, false
	}
	return s.pins.left[0].end, true
}

// Unsettled says whether the last harvested round waits to be settled. Until it is there
// is no next one: the kernel goes on counting. Never without pins.
func (s *Sockops) Unsettled() bool {
	return s.pins != nil && s.pins.of != nil && !s.pins.read.more
}

// Offer says that the pipeline is about to get the harvested round, whose end is end. If
// the process is killed from here on until [Sockops.Settle], the round comes again.
func (s *Sockops) Offer(end time.Time) error {
	if s.pins == nil || s.pins.of == nil {
		return nil
	}
	g := s.pins.of
	g.Phase, g.End = offered, end.UnixNano()
	return g.save()
}

// Settle says what became of the harvested round, whose end is end: done with, delivered
// or lost for good; or else to be offered again.
func (s *Sockops) Settle(end time.Time, done bool) error {
	p := s.pins
	if p == nil || p.of == nil || p.read.more { // half of a round is not a round
		return nil
	}
	g := p.of
	if !done {
		g.Phase = held
		return g.save()
	}
	if g != p.own { // first, so that no interval is reported twice
		p.own.Delivered = end.UnixNano()
		if err := p.own.save(); err != nil {
			return err
		}
	}
	g.Phase, g.Delivered = settled, end.UnixNano()
	if err := g.save(); err != nil {
		return err
	}
	p.of = nil
	if len(p.left) == 0 {
		return p.named.settled(s.objects.Cgroups)
	}
	r := p.left[0]
	p.left = slices.Delete(p.left, 0, 1)
	err := r.close()
	if r.final {
		err = errors.Join(err, g.remove())
	}
	return err
}

// harvestPinned is Harvest with pins.
func (s *Sockops) harvestPinned(yield Yield) error {
	p := s.pins
	if s.Unsettled() {
		return errUnsettled
	}
	if p.of == nil {
		if err := s.nextRound(); err != nil {
			return err
		}
	}
	return p.read.each(yield)
}

// nextRound is one that was left, or a new one.
func (s *Sockops) nextRound() error {
	p := s.pins
	if len(p.left) > 0 {
		r := &p.left[0]
		if r.final {
			if err := r.begin(); err != nil {
				return err
			}
		}
		p.of, p.read = r.of, s.readRound(r.table)
		return nil
	}
	if err := s.renewSpare(); err != nil {
		return err
	}
	if err := s.fold(); err != nil {
		return err
	}
	if err := p.own.hold(s.round + 1); err != nil {
		return err
	}
	err := s.beginRound()
	if s.round != p.own.Round {
		p.own.Phase, p.own.Round = settled, s.round
		return errors.Join(err, p.own.save())
	}
	p.of, p.read = p.own, s.readRound(s.table(s.round-1))
	return err
}

// begin makes the last round of an old generation the held one. The tables have to look as
// if a process of that generation had ended the round, in case that this one is killed.
func (r *leftRound) begin() error {
	none := func(*FlowKey, *Flow, *Detail) {}
	b := batchOf(r.other)
	if err := b.each(r.other.BatchLookupAndDelete, new(ebpf.MapBatchCursor), none); err != nil {
		return fmt.Errorf("empty a flow table of %q: %w", r.of.path, err)
	}
	return r.of.hold(r.of.Round + 1)
}

// renewSpare empties the table of the round that was settled. If another size is wanted
// by now, a new one takes its place: after two rounds both have it, and nothing is lost.
func (s *Sockops) renewSpare() error {
	p, round := s.pins, s.round+1
	old := s.table(round)
	if old.MaxEntries() == p.entries {
		return s.drain(round, func(*FlowKey, *Flow, *Detail) {})
	}
	name, field := sockopsMapFlowsA, &s.objects.FlowsA
	if round&1 == 1 {
		name, field = sockopsMapFlowsB, &s.objects.FlowsB
	}
	table, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: name, Type: old.Type(), Flags: old.Flags(), MaxEntries: p.entries,
		KeySize: old.KeySize(), ValueSize: old.ValueSize(),
	})
	if err != nil {
		return fmt.Errorf("make a flow table for %d flows: %w", p.entries, explain(err))
	}
	err = reserveOverflow(table)
	if err == nil {
		err = p.own.replacePin(table, name)
	}
	if err != nil {
		return errors.Join(err, table.Close())
	}
	*field = table
	if err := s.objects.Flows.Put(round&1, table); err != nil { // the next process does it (checkSlot)
		return fmt.Errorf("put the flow table into its slot: %w", err)
	}
	return old.Close()
}
