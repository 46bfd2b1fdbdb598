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
	pinSynacks = "synack"  // link of flow_synack
	pinWindows = "window"  // link of flow_window
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
	Delivered int64    // wall clock in ns: end of the last settled round; at first, when counting began
	End       int64    // of the round that is held
	Object    [16]byte // digest of the programs' object file, of the process that was here last
	Phase     phase
	Round     uint32 // the round that begins when the held one ends: its parity tells the table
	Retired   uint32 // 1: a later generation counts
	_         uint32
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

// tables opens both flow tables: the one of the last round that began, and the other.
func (g *generation) tables() (last, other *ebpf.Map, err error) {
	a, err := ebpf.LoadPinnedMap(g.pin(sockopsMapFlowsA), nil)
	if err != nil {
		return nil, nil, fmt.Errorf("open the pinned map %q: %w", g.pin(sockopsMapFlowsA), explain(err))
	}
	b, err := ebpf.LoadPinnedMap(g.pin(sockopsMapFlowsB), nil)
	if err != nil {
		a.Close()
		return nil, nil, fmt.Errorf("open the pinned map %q: %w", g.pin(sockopsMapFlowsB), explain(err))
	}
	if g.Round&1 == 0 {
		return a, b, nil
	}
	return b, a, nil
}

// hold announces that a round ends and the next one begins.
func (g *generation) hold(next uint32) error {
	g.Phase, g.Round, g.End = held, next, time.Now().UnixNano()
	return g.save()
}
