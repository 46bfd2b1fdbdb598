// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// pins is what outlives this process: maps, links and how far the last round came. Below
// the pin path there is a folder for each generation, nearly always one.
type pins struct {
	lock    *os.File // the pin path
	own     *generation
	old     []*generation // whose layout is another, until takeOver
	resumed bool          // own was there already,
	same    bool          // with programs that are the same as ours
	highest int           // number of a generation
	entries uint32        // of a flow table, as configured now
	report  Continuity
	told    toldSynAcks
	named   namedCgroups

	left []leftRound // what other processes did not deliver, oldest first
	of   *generation // whose round was harvested and is not settled; nil: there is none
	read roundReader // of that round
}

// leftRound is a round of another process.
type leftRound struct {
	of    *generation
	table *ebpf.Map
	other *ebpf.Map // holds nothing that is wanted by the time that this round is read
	end   time.Time
	final bool // nothing of this generation comes after it
}

func (r *leftRound) close() error { return errors.Join(r.table.Close(), r.other.Close()) }

// Continuity says what [Load] found at the PinPath.
type Continuity struct {
	// Resumed: the kernel has been counting since an earlier process ended.
	Resumed bool
	// Since is when the last round ended that an earlier process delivered, by its wall
	// clock; or when counting began. Zero without pins.
	Since time.Time
	// Uncertain is how many of the rounds that come first may have been delivered
	// before: the earlier process was killed while the pipeline had them.
	Uncertain int
	// Replaced are pins that do not fit this version or these options.
	Replaced []Replacement
}

// Replacement says what became of pins that were replaced.
type Replacement struct {
	Path   string
	Reason string
	// FlowsLost could not be read: the flow table has another layout.
	FlowsLost int
}

// Continuity is what Load found. Without a PinPath it says nothing.
func (s *Sockops) Continuity() Continuity {
	if s.pins == nil {
		return Continuity{}
	}
	return s.pins.report
}

// openPins takes the pin path for this process and finds the generation to go on with, if
// there is one whose layout is that of spec. It changes nothing that counts.
func openPins(path string, spec *ebpf.CollectionSpec) (p *pins, err error) {
	dir, err := lockPinPath(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	p = &pins{lock: dir, entries: spec.Maps[sockopsMapFlowsA].MaxEntries}
	all, err := generations(path)
	if err != nil {
		return p, fmt.Errorf("'pin_path' %q: %w", path, err)
	}
	layout, err := layoutOf(spec)
	if err != nil {
		return p, err
	}
	for _, g := range all {
		p.highest = g.number()
		if p.own == nil && g.state != nil && g.Layout == layout && g.Retired == 0 {
			p.own, p.resumed, p.same = g, true, g.Object == object()
		} else {
			p.old = append(p.old, g)
		}
	}
	if p.own == nil {
		p.begin(layout)
	}
	return p, nil
}

// begin makes a new generation the own one.
func (p *pins) begin(l layout) {
	p.highest++
	p.own = &generation{path: filepath.Join(p.lock.Name(), strconv.Itoa(p.highest))}
	p.own.Layout, p.own.Object, p.own.Round = l, object(), firstRound
	p.resumed, p.same = false, false
}

// object identifies the programs.
func object() (d [16]byte) {
	sum := sha256.Sum256(_SockopsBytes)
	copy(d[:], sum[:])
	return d
}

func (p *pins) close() error {
	closeAll(p.old)
	p.told.close()
	for _, r := range p.left {
		r.close()
	}
	if p.own != nil {
		p.own.close()
	}
	return p.lock.Close() // last: the lock ends with it
}

// pinName is the pin of a map.
func pinName(name string) string { return strings.TrimPrefix(name, ".") }

// load loads spec on the pinned maps, or pins the maps that it makes.
func (p *pins) load(spec *ebpf.CollectionSpec, objects *sockopsObjects) error {
	replacements, err := p.reuse(spec)
	if err != nil {
		return err
	}
	defer closeMaps(replacements) // the collection has copies
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: replacements})
	if err != nil {
		return err
	}
	defer c.Close() // of what objects has no field for
	if !p.resumed {
		if err := p.create(c); err != nil {
			return err
		}
	}
	return c.Assign(objects)
}

// reuse opens the pinned maps, and makes spec fit them. Should one be gone, a new
// generation begins.
func (p *pins) reuse(spec *ebpf.CollectionSpec) (opened map[string]*ebpf.Map, err error) {
	if !p.resumed {
		return nil, nil
	}
	opened = map[string]*ebpf.Map{}
	defer func() {
		if err != nil || !p.resumed {
			closeMaps(opened)
			opened = nil
		}
	}()
	for name := range spec.Maps {
		if scratch(name) || readOnly(name) {
			continue
		}
		path := p.own.pin(pinName(name))
		m, err := ebpf.LoadPinnedMap(path, nil)
		if errors.Is(err, os.ErrNotExist) {
			p.old = append(p.old, p.own)
			p.begin(p.own.Layout)
			return opened, nil
		}
		if err != nil {
			return opened, fmt.Errorf("open the pinned map %q: %w", path, explain(err))
		}
		opened[name] = m
	}
	for name, m := range opened {
		if flowTable(name) {
			spec.Maps[name].MaxEntries = m.MaxEntries()
		}
	}
	spec.Maps[sockopsMapFlows].Contents = nil // or the library would put flows_a into the slot
	return opened, nil
}

func closeMaps(maps map[string]*ebpf.Map) {
	for _, m := range maps {
		m.Close()
	}
}

// create pins what is to outlive this process.
func (p *pins) create(c *ebpf.Collection) error {
	if err := os.Mkdir(p.own.path, 0o700); err != nil {
		return fmt.Errorf("make a folder for the pins: %w", err)
	}
	for name, m := range c.Maps {
		if scratch(name) || readOnly(name) {
			continue
		}
		if err := m.Pin(p.own.pin(pinName(name))); err != nil {
			return fmt.Errorf("pin map %q: %w", name, explain(err))
		}
	}
	p.own.Delivered = time.Now().UnixNano()
	return p.own.create()
}

// pinner is a map or a link.
type pinner interface{ Pin(string) error }

// replacePin puts an object in the place of the pinned one, which there may or may not be.
func (g *generation) replacePin(what pinner, name string) error {
	next := g.pin(pinNext)
	err := os.Remove(next) // of a process that was killed right here
	if err == nil || errors.Is(err, os.ErrNotExist) {
		err = what.Pin(next)
	}
	if err == nil {
		err = os.Rename(next, g.pin(name))
	}
	if err != nil {
		return fmt.Errorf("pin %q: %w", g.pin(name), err)
	}
	return nil
}

// attachTracing gives the pinned link, or attaches and pins it. Such links cannot be given
// another program: after an upgrade both see the events of a moment.
func (p *pins) attachTracing(program *ebpf.Program, name string) (link.Link, error) {
	if p.same {
		if l, err := p.own.link(name); l != nil || err != nil {
			return l, err
		}
	}
	l, err := link.AttachTracing(link.TracingOptions{Program: program})
	if err != nil {
		return nil, err
	}
	if err := p.own.replacePin(l, name); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}
