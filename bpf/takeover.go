// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// resume finds out how far the process before this one came. Nothing is attached yet by
// this one.
func (s *Sockops) resume() error {
	p, g := s.pins, s.pins.own
	if err := errors.Join(p.told.open(g), p.named.begin(s.objects.Cgroups)); err != nil {
		return err
	}
	p.report.Since = time.Unix(0, g.Delivered)
	if !p.resumed {
		return nil
	}
	p.report.Resumed = true
	// The process before may have said otherwise; the map of translations is empty now.
	if err := s.objects.TranslationsComplete.Set(false); err != nil {
		return err
	}
	for slot := range uint32(2) {
		if err := s.checkSlot(slot); err != nil {
			return err
		}
	}
	if err := s.objects.ThisRound.Get(&s.round); err != nil {
		return err
	}
	if s.round != g.Round { // it was killed between the announcement of the round and its begin
		s.round = g.Round - 1
		if err := s.beginRound(); err != nil {
			return err
		}
	}
	if g.Phase == settled {
		return nil
	}
	table, err := s.table(s.round - 1).Clone()
	if err != nil {
		return err
	}
	p.leave(leftRound{of: g, table: table, end: time.Unix(0, g.End)})
	return nil
}

// checkSlot puts the pinned table into its slot, should the process before have been killed
// while it replaced an empty one (see renewSpare).
func (s *Sockops) checkSlot(slot uint32) error {
	var id ebpf.MapID
	if err := s.objects.Flows.Lookup(slot, &id); err != nil {
		return fmt.Errorf("find the flow table in slot %d: %w", slot, err)
	}
	info, err := s.table(slot).Info()
	if err != nil {
		return err
	}
	if have, ok := info.ID(); ok && have == id {
		return nil
	}
	if err := s.objects.Flows.Put(slot, s.table(slot)); err != nil {
		return fmt.Errorf("put the flow table into slot %d: %w", slot, err)
	}
	return nil
}

// leave queues a round that another process did not deliver.
func (p *pins) leave(r leftRound) {
	if r.of.Phase == offered && !r.final {
		p.report.Uncertain++
	}
	p.left = append(p.left, r)
}

// takeOver puts this process's programs in the place of those that are attached, in one
// step, so that no event is missed or seen twice, or attaches them if there are none; and
// it retires the generations that are not gone on with.
func (s *Sockops) takeOver(path string) error {
	p := s.pins
	if err := p.own.replacePin(s.walk, pinWalk); err != nil {
		return err
	}
	if err := s.takeLink(path); err != nil {
		return err
	}
	if p.own.Object != object() {
		p.own.Object = object()
		if err := p.own.save(); err != nil {
			return err
		}
	}
	old := p.old
	p.old = nil
	for i, g := range old {
		if err := s.retire(g); err != nil {
			p.old = old[i:]
			return err
		}
	}
	return nil
}

// takeLink makes the link of flow_sockops this process's, and pins it.
func (s *Sockops) takeLink(path string) error {
	var cgroup unix.Stat_t
	if err := unix.Stat(path, &cgroup); err != nil {
		return fmt.Errorf("'cgroup_path' %q: %w", path, err)
	}
	own, err := s.pins.own.link(pinLink)
	if err != nil {
		return err
	}
	if own != nil {
		if err := s.update(own); err != nil {
			return err
		}
	}
	for _, g := range s.pins.old {
		if err := s.takeFrom(g, cgroup.Ino); err != nil {
			return err
		}
	}
	if s.cgroup != nil {
		return nil
	}
	l, err := s.attachCgroup(path)
	if err != nil {
		return err
	}
	s.cgroup = l
	if err := l.Pin(s.pins.own.pin(pinLink)); err != nil {
		return fmt.Errorf("pin the link of sockops: %w", explain(err))
	}
	return nil
}

// update makes l the link of this process, unless its cgroup is gone.
func (s *Sockops) update(l link.Link) error {
	err := l.Update(s.objects.FlowSockops)
	if err == nil {
		s.cgroup = l
		return nil
	}
	if errors.Is(err, unix.ENOLINK) {
		return errors.Join(l.Unpin(), l.Close())
	}
	l.Close()
	return fmt.Errorf("replace the attached program: %w", explain(err))
}

// takeFrom ends what an old generation counts. If it does so at the cgroup that is wanted
// now, its link is taken over.
func (s *Sockops) takeFrom(g *generation, cgroup uint64) error {
	if g.state != nil && g.Retired == 0 {
		g.Retired = 1
		if err := g.save(); err != nil {
			return err
		}
	}
	l, err := g.link(pinLink)
	if l == nil || err != nil {
		return err
	}
	if s.cgroup == nil && cgroupOf(l) == cgroup {
		if err := s.update(l); err != nil || s.cgroup == nil {
			return err
		}
		if err := l.Pin(s.pins.own.pin(pinLink)); err != nil { // a pin that there is already is moved
			return fmt.Errorf("pin the link of sockops: %w", explain(err))
		}
		return nil
	}
	if err := errors.Join(l.Detach(), l.Unpin(), l.Close()); err != nil {
		return fmt.Errorf("detach what %q has pinned: %w", g.path, explain(err))
	}
	return nil
}

// cgroupOf gives the id of the cgroup that a link is attached to; 0: none any more.
func cgroupOf(l link.Link) uint64 {
	if info, err := l.Info(); err == nil && info.Cgroup() != nil {
		return info.Cgroup().CgroupId
	}
	return 0
}

// retire keeps of an old generation the rounds that can be read, folds its sockets with its
// own program, and removes what is left.
func (s *Sockops) retire(g *generation) error {
	p := s.pins
	r := Replacement{Path: g.path}
	switch {
	case g.state == nil:
		r.Reason = errOtherVersion.Error()
	case g.Layout.Tables != p.own.Layout.Tables:
		r.Reason = "flows have another layout"
	case g.Layout == p.own.Layout:
		r.Reason = "pins are missing"
	default:
		r.Reason = "another version's state of connections, or other options"
	}
	if g.state != nil && g.Layout.Tables == p.own.Layout.Tables {
		err := s.salvage(g)
		if err == nil {
			p.report.Replaced = append(p.report.Replaced, r)
			return nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	r.FlowsLost = g.countFlows()
	if g.state != nil && g.Phase == offered {
		p.report.Uncertain++
	}
	p.report.Replaced = append(p.report.Replaced, r)
	return g.remove()
}

// salvage queues what an old generation has counted.
func (s *Sockops) salvage(g *generation) error {
	last, other, err := g.tables()
	if err != nil {
		return err
	}
	defer other.Close()
	if err := g.fold(last); err != nil {
		return errors.Join(err, last.Close())
	}
	p := s.pins
	if since := time.Unix(0, g.Delivered); since.Before(p.report.Since) {
		p.report.Since = since
	}
	if g.Phase != settled {
		table, err := other.Clone()
		if err != nil {
			return err
		}
		p.leave(leftRound{of: g, table: table, end: time.Unix(0, g.End)})
	}
	emptied, err := other.Clone()
	if err != nil {
		return err
	}
	p.leave(leftRound{of: g, table: last, other: emptied, end: time.Now(), final: true})
	return nil
}

// fold brings the tables up to date with the generation's sockets, and returns when nothing
// will be added to them any more.
func (g *generation) fold(last *ebpf.Map) error {
	for _, name := range []string{pinTracing, pinSynacks, pinWindows} {
		if err := os.Remove(g.pin(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("unpin %q: %w", g.pin(name), err)
		}
	}
	slots, err := ebpf.LoadPinnedMap(g.pin(sockopsMapFlows), nil)
	if err != nil {
		return fmt.Errorf("open the pinned map %q: %w", g.pin(sockopsMapFlows), explain(err))
	}
	defer slots.Close()
	// It changes nothing, but waits for the programs that run (see beginRound).
	if err := slots.Put(g.Round&1, last); err != nil {
		return fmt.Errorf("wait for the programs of %q: %w", g.path, err)
	}
	return g.foldSockets()
}

// foldSockets runs the pinned iterator: the program of the version that made the state beside
// the sockets.
func (g *generation) foldSockets() error {
	l, err := g.link(pinWalk)
	if l == nil || err != nil {
		return err
	}
	defer l.Close()
	it, ok := l.(*link.Iter)
	if !ok {
		return fmt.Errorf("%q is no iterator (remove %q to start anew)", g.pin(pinWalk), g.path)
	}
	if err := readAll(it); err != nil {
		return fmt.Errorf("walk the sockets of %q: %w", g.path, err)
	}
	return nil
}

// countFlows counts the entries of tables that cannot be read, the overflow flows apart.
func (g *generation) countFlows() int {
	last, other, err := g.tables()
	if err != nil {
		return 0 // they are gone
	}
	defer last.Close()
	defer other.Close()
	n := entries(last)
	if g.state == nil || g.Phase != settled {
		n += entries(other)
	}
	return n
}

func entries(table *ebpf.Map) (n int) {
	key, err := table.NextKeyBytes(nil)
	for err == nil && key != nil && n < int(table.MaxEntries()) {
		n++
		key, err = table.NextKeyBytes(key)
	}
	return max(0, n-overflowFlows)
}
