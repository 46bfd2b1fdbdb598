// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// pinTold is the pin of what was told of map synacks, which only ever grows.
const pinTold = "synacks_told"

// toldSynAcks remembers across processes how many of the SYN-ACKs counted were reported.
type toldSynAcks struct {
	pinned *ebpf.Map
	before map[uint32]int64 // by the processes before this one
}

// open reads what the processes before have reported, or begins.
func (t *toldSynAcks) open(g *generation) (err error) {
	t.before = map[uint32]int64{}
	t.pinned, err = ebpf.LoadPinnedMap(g.pin(pinTold), nil)
	if errors.Is(err, os.ErrNotExist) {
		t.pinned, err = ebpf.NewMap(&ebpf.MapSpec{
			Name: pinTold, Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: maxNamespaces,
			Flags: unix.BPF_F_NO_PREALLOC,
		})
		if err == nil {
			err = t.pinned.Pin(g.pin(pinTold))
		}
	}
	if err != nil {
		return fmt.Errorf("remember the reported SYN-ACKs in %q: %w", g.pin(pinTold), explain(err))
	}
	var netns uint32
	var n int64
	for it := t.pinned.Iterate(); it.Next(&netns, &n); {
		t.before[netns] = n
	}
	return nil
}

func (t *toldSynAcks) close() error { return t.pinned.Close() }

// TellSynAcks notes how many of the counts of [Sockops.SynAcks] were reported in all, so
// that no later process reports them again. To be called before the round is settled.
// Without pins it does nothing.
func (s *Sockops) TellSynAcks(told map[uint32]int64) error {
	if s.pins == nil {
		return nil
	}
	t := &s.pins.told
	for netns, n := range told {
		if err := t.pinned.Put(netns, t.before[netns]+n); err != nil {
			return fmt.Errorf("remember the reported SYN-ACKs: %w", err)
		}
	}
	return nil
}
