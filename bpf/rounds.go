// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cilium/ebpf"
)

// With pins a round stays in the kernel until it is settled: read, but not deleted. So a
// process that is killed loses nothing; at worst the next one delivers a round again.

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
	return s.pins != nil && s.pins.of != nil && !s.pins.reading
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
	if p == nil || p.of == nil || p.reading { // half of a round is not a round
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
		return nil
	}
	r := p.left[0]
	p.left = slices.Delete(p.left, 0, 1)
	err := r.table.Close()
	if r.final {
		err = errors.Join(err, g.remove())
	}
	return err
}

// harvestPinned is Harvest with pins.
func (s *Sockops) harvestPinned(yield func(*FlowKey, *Flow)) error {
	p := s.pins
	if s.Unsettled() {
		return errUnsettled
	}
	if p.of == nil {
		if err := s.begin(); err != nil {
			return err
		}
	}
	if err := s.read(p.table, &p.cursor, yield); err != nil {
		return err
	}
	p.reading = false
	return nil
}

// begin finds the next round to read: one that was left, or a new one.
func (s *Sockops) begin() error {
	p := s.pins
	if len(p.left) > 0 {
		r := &p.left[0]
		if r.of != p.own && (r.of.Phase == settled || r.of.Retiring != r.index) {
			if err := r.of.hold(0, r.index); err != nil {
				return err
			}
		}
		p.hold(r.of, r.table)
		return nil
	}
	if err := s.renewSpare(); err != nil {
		return err
	}
	if err := s.fold(); err != nil {
		return err
	}
	retiring, err := whichInUse(s.objects.Flows, s.objects.FlowsA, s.objects.FlowsB)
	if err != nil {
		return err
	}
	if err := p.own.hold(s.round+1, retiring); err != nil {
		return err
	}
	if err := s.swapTables(s.round + 1); err != nil {
		p.own.Phase = settled // the spare is empty
		return errors.Join(err, p.own.save())
	}
	p.hold(p.own, s.spare)
	return nil
}

func (p *pins) hold(g *generation, table *ebpf.Map) {
	p.of, p.table, p.reading, p.cursor = g, table, true, ebpf.MapBatchCursor{}
}

// renewSpare empties the table of the round that was settled. If another size is wanted
// by now, a new one takes its place: in two rounds both have it, and nothing is lost.
func (s *Sockops) renewSpare() error {
	p := s.pins
	if s.spare.MaxEntries() == p.entries {
		return s.drain(s.spare, func(*FlowKey, *Flow) {})
	}
	name := sockopsMapFlowsA
	if s.spare == s.objects.FlowsB {
		name = sockopsMapFlowsB
	}
	spec, err := loadSockops()
	if err != nil {
		return err
	}
	spec.Maps[name].MaxEntries = p.entries
	table, err := ebpf.NewMap(spec.Maps[name])
	if err != nil {
		return fmt.Errorf("make a flow table for %d flows: %w", p.entries, explain(err))
	}
	if err := errors.Join(reserveOverflow(table), p.own.replacePin(table, name)); err != nil {
		table.Close()
		return err
	}
	if name == sockopsMapFlowsA {
		s.objects.FlowsA = table
	} else {
		s.objects.FlowsB = table
	}
	err = s.spare.Close()
	s.spare = table
	return err
}
