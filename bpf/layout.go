// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// meaning is part of every layout. It is counted up when the same bytes come to mean
// something else: an enum in another order, a counter of something different.
const meaning = 1

// layout says what pinned maps hold, as digests: two processes whose layouts are equal may use the
// same maps.
type layout struct {
	// Tables covers keys and values of the flow tables, with and without detail: whoever
	// agrees can read them.
	Tables [16]byte
	// All covers every map and the options that the programs were loaded with.
	All [16]byte
}

// scratch maps hold nothing from one use to the next, or nothing that another process
// could make sense of: ids of translations are those of who told them.
func scratch(name string) bool {
	return name == sockopsMapNamespaces || name == sockopsMapListeners || name == sockopsMapTranslations
}

func readOnly(name string) bool { return strings.HasPrefix(name, ".rodata") }

func flowTable(name string) bool { return name == sockopsMapFlowsA || name == sockopsMapFlowsB }

// layoutOf describes what spec is about to be loaded as: its options are set already.
// Bounds are no part of it: other ones fit the same maps.
func layoutOf(spec *ebpf.CollectionSpec) (layout, error) {
	tables, all := sha256.New(), sha256.New()
	fmt.Fprintln(tables, meaning)
	fmt.Fprintln(all, meaning)
	for _, name := range []string{"flow_key", "detailed_flow"} {
		t, err := spec.Types.AnyTypeByName(name)
		if err != nil {
			return layout{}, fmt.Errorf("layout of flows: %w", err)
		}
		describe(tables, t)
		describe(all, t)
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Maps)) {
		if scratch(name) || readOnly(name) {
			continue
		}
		m := spec.Maps[name]
		fmt.Fprintln(all, m.Name, m.Type, m.KeySize, m.ValueSize, m.Flags)
		describe(all, m.Key)
		describe(all, m.Value)
		if !flowTable(name) {
			fmt.Fprintln(all, m.MaxEntries)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Variables)) {
		v := spec.Variables[name]
		fmt.Fprintln(all, name, v.SectionName, v.Offset, v.Size())
		if !v.Constant() {
			describe(all, v.Type.Type)
		} else if name != sockopsVarMaxSockets {
			fmt.Fprintln(all, v.Value)
		}
	}
	return layout{Tables: digest(tables), All: digest(all)}, nil
}

func digest(h hash.Hash) (d [16]byte) {
	copy(d[:], h.Sum(nil))
	return d
}

// describe writes names, places and sizes of all that a value is made of.
func describe(w hash.Hash, t btf.Type) {
	switch t := t.(type) {
	case *btf.Struct:
		describeMembers(w, "struct", t.Size, t.Members)
	case *btf.Union:
		describeMembers(w, "union", t.Size, t.Members)
	case *btf.Array:
		fmt.Fprintln(w, "array", t.Nelems)
		describe(w, t.Type)
	case *btf.Int:
		fmt.Fprintln(w, "int", t.Size, t.Encoding)
	case *btf.Enum:
		fmt.Fprintln(w, "enum", t.Size, t.Values)
	case *btf.Typedef:
		describe(w, t.Type)
	case *btf.Volatile:
		describe(w, t.Type)
	case *btf.Const:
		describe(w, t.Type)
	default: // a section of variables, which are described one by one, or nothing
		fmt.Fprintf(w, "%T\n", t)
	}
}

func describeMembers(w hash.Hash, kind string, size uint32, members []btf.Member) {
	fmt.Fprintln(w, kind, size, len(members))
	for _, m := range members {
		fmt.Fprintln(w, m.Name, m.Offset, m.BitfieldSize)
		describe(w, m.Type)
	}
}
