// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"structs"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Names of pins. (A BPF file system allows no dots.)
const (
	pinState   = "state"   // generationState: pinned last, what has none was not finished
	pinLink    = "sockops" // link of flow_sockops
	pinTracing = "tracing" // link of flow_state
	pinWalk    = "walk"    // the iterator that folds the sockets of this generation
	pinNext    = "next"    // on its way to one of the other names
)

// phase of a generation's flow tables. It is written before what it announces.
type phase uint32

const (
	settled phase = iota // the retired table holds nothing that is still wanted
	held                 // a round was handed over by the kernel: it is in the retired table
	offered              // the pipeline has it: who finds this does not know what became of it
)

// generationState is what a process leaves for the next one. One system call writes all of
// it, so it is never half true.
type generationState struct {
	_         structs.HostLayout
	Layout    layout
	Delivered int64 // wall clock in ns: end of the last settled round; at first, when counting began
	End       int64 // of the round that is held
	Phase     phase
	Round     uint32 // number of the round that began when the held one ended
	Retiring  uint32 // which table holds it: 0 flows_a, 1 flows_b
	Retired   uint32 // 1: a later generation counts
}

// generation is one set of pins whose maps fit each other. A changed layout begins a new
// one beside it; the old one goes when all that it counted is delivered.
type generation struct {
	generationState
	path  string
	state *ebpf.Map
}

var stateSpec = &ebpf.MapSpec{
	Name: "flow_pins", Type: ebpf.Array, MaxEntries: 1, KeySize: 4,
	ValueSize: uint32(unsafe.Sizeof(generationState{})),
}

// errOtherVersion says that a generation's state cannot be read.
var errOtherVersion = errors.New("written by another version")

// generations reads what is pinned in dir, oldest first. What was not finished is removed:
// nothing is attached to it.
func generations(dir string) (all []*generation, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	numbers := map[string]int{}
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && e.IsDir() && n > 0 {
			numbers[e.Name()] = n
		}
	}
	defer func() {
		if err != nil {
			closeAll(all)
		}
	}()
	for name := range numbers {
		g := &generation{path: filepath.Join(dir, name)}
		switch err := g.open(); {
		case errors.Is(err, os.ErrNotExist):
			if err := os.RemoveAll(g.path); err != nil {
				return all, fmt.Errorf("remove unfinished pins: %w", err)
			}
			continue
		case err != nil && !errors.Is(err, errOtherVersion):
			return all, err
		}
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b *generation) int { return a.number() - b.number() })
	return all, nil
}

func closeAll(all []*generation) {
	for _, g := range all {
		g.close()
	}
}

func (g *generation) number() int {
	n, _ := strconv.Atoi(filepath.Base(g.path))
	return n
}

func (g *generation) pin(name string) string { return filepath.Join(g.path, name) }

// open reads the state.
func (g *generation) open() error {
	m, err := ebpf.LoadPinnedMap(g.pin(pinState), nil)
	if err != nil {
		return fmt.Errorf("read the pinned state: %w", explain(err))
	}
	if m.Type() != stateSpec.Type || m.ValueSize() != stateSpec.ValueSize {
		m.Close()
		return errOtherVersion
	}
	g.state = m
	if err := m.Lookup(uint32(0), &g.generationState); err != nil {
		return fmt.Errorf("read the pinned state: %w", err)
	}
	return nil
}

// create writes the state of a generation whose maps are pinned.
func (g *generation) create() error {
	m, err := ebpf.NewMap(stateSpec)
	if err != nil {
		return fmt.Errorf("create the pinned state: %w", explain(err))
	}
	g.state = m
	if err := g.save(); err != nil {
		return err
	}
	return m.Pin(g.pin(pinState))
}

func (g *generation) save() error {
	if err := g.state.Put(uint32(0), &g.generationState); err != nil {
		return fmt.Errorf("write the pinned state: %w", err)
	}
	return nil
}

func (g *generation) close() error {
	if g.state == nil {
		return nil
	}
	return g.state.Close()
}

// remove unpins everything.
func (g *generation) remove() error {
	if err := errors.Join(g.close(), os.RemoveAll(g.path)); err != nil {
		return fmt.Errorf("remove pins: %w", err)
	}
	return nil
}

// link gives a pinned link, nil if there is none.
func (g *generation) link(name string) (link.Link, error) {
	l, err := link.LoadPinnedLink(g.pin(name), nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open the pinned link %q: %w", g.pin(name), explain(err))
	}
	return l, nil
}

// flowTables are a generation's, opened from its pins.
type flowTables struct {
	slot, inUse, retired *ebpf.Map
	index                uint32 // of the one in use: 0 flows_a, 1 flows_b
}

func (g *generation) tables() (t *flowTables, err error) {
	var opened [3]*ebpf.Map
	defer func() {
		if err != nil {
			for _, m := range opened {
				m.Close()
			}
		}
	}()
	for i, name := range []string{sockopsMapFlows, sockopsMapFlowsA, sockopsMapFlowsB} {
		if opened[i], err = ebpf.LoadPinnedMap(g.pin(name), nil); err != nil {
			return nil, fmt.Errorf("open the pinned map %q: %w", g.pin(name), explain(err))
		}
	}
	slot, a, b := opened[0], opened[1], opened[2]
	index, err := whichInUse(slot, a, b)
	if err != nil {
		return nil, err
	}
	if index == 1 {
		a, b = b, a
	}
	return &flowTables{slot: slot, inUse: a, retired: b, index: index}, nil
}

func (t *flowTables) close() error {
	return errors.Join(t.slot.Close(), t.inUse.Close(), t.retired.Close())
}

// whichInUse says which of the two tables is in the slot.
func whichInUse(slot *ebpf.Map, tables ...*ebpf.Map) (uint32, error) {
	var id ebpf.MapID
	if err := slot.Lookup(uint32(0), &id); err != nil {
		return 0, fmt.Errorf("find the flow table in use: %w", err)
	}
	for i, table := range tables {
		info, err := table.Info()
		if err != nil {
			return 0, fmt.Errorf("find the flow table in use: %w", err)
		}
		if have, ok := info.ID(); ok && have == id {
			return uint32(i), nil
		}
	}
	return 0, errors.New("the flow table in use is not among the pinned ones")
}

// hold announces a round: the tables are about to be swapped.
func (g *generation) hold(round, retiring uint32) error {
	g.Phase, g.Round, g.Retiring, g.End = held, round, retiring, time.Now().UnixNano()
	return g.save()
}
