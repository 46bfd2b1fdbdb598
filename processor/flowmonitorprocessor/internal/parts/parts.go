// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package parts holds what each source of the topology last said of its part of the
// network, so that a source that fails, or one account of many, keeps its last good part
// while the others go on.
package parts // import "github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/parts"

import (
	"cmp"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// The sources, as in the attribute "source" of the processor's own metrics.
const (
	File = "file"
	IMDS = "imds"
	EC2  = "ec2"
)

// precedence is the order in which sources are believed. A file is what the user says;
// the metadata service tells a host of itself what is true now; the EC2 API is a refresh old.
var precedence = []string{File, IMDS, EC2}

// Key names a part: a source and, where it has several, which of them.
type Key struct {
	Source string
	Name   string // of the EC2 source: the role and the Region
}

// Part is what a source knows. It is not changed after it was put into a [Set].
type Part struct {
	Key
	Account, Region string    // of the EC2 and metadata sources
	Current         time.Time // when the source last said so
	// Own is what the part describes itself, Shared what it sees of others': of a thing
	// that both describe, its owner says more.
	Own, Shared *topology.Topology
}

// Set is the parts in use. It is safe for concurrent use.
type Set struct {
	mu    sync.Mutex
	parts map[Key]Part
}

// Put replaces the part with this key. It tells whether the part says anything else than
// the one before, and gives the part that is kept: of two that say the same, the memory of
// the one before.
func (s *Set) Put(p Part) (kept Part, changed bool) {
	s.mu.Lock()
	before, known := s.parts[p.Key]
	s.mu.Unlock()
	// Outside the lock: this takes a second for a million interfaces. Each part has one
	// writer only.
	if same := known && reflect.DeepEqual(before.Own, p.Own) && reflect.DeepEqual(before.Shared, p.Shared); same {
		p.Own, p.Shared = before.Own, before.Shared
	} else {
		changed = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.parts == nil {
		s.parts = map[Key]Part{}
	}
	s.parts[p.Key] = p
	return p, changed
}

// Confirm notes that a part is as it was.
func (s *Set) Confirm(k Key, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.parts[k]; ok {
		p.Current = now
		s.parts[k] = p
	}
}

// Get gives a part.
func (s *Set) Get(k Key) (Part, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.parts[k]
	return p, ok
}

// Forget drops what a part said and keeps when: for whoever has compiled the topology and
// needs it no more.
func (s *Set) Forget(k Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.parts[k]; ok {
		p.Own, p.Shared = nil, nil
		s.parts[k] = p
	}
}

// List gives all parts, those with precedence first.
func (s *Set) List() []Part {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Part, 0, len(s.parts))
	for _, p := range s.parts {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b Part) int {
		return cmp.Or(cmp.Compare(slices.Index(precedence, a.Source), slices.Index(precedence, b.Source)), cmp.Compare(a.Name, b.Name))
	})
	return list
}

// Merge makes one topology of all parts.
func (s *Set) Merge() *topology.Topology { return Merge(s.List()) }

// Merge makes one topology of a list of parts, those with precedence first.
func Merge(list []Part) *topology.Topology {
	all := make([]*topology.Topology, 0, 2*len(list))
	for _, p := range list {
		all = append(all, p.Own)
	}
	for _, p := range list {
		all = append(all, p.Shared)
	}
	return topology.Merge(all...)
}
