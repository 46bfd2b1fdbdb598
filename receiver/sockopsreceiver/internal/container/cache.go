// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package container

import "unique"

// Names gives the names of the cgroup with this id and of those around it, from its own
// outwards, and takes them out of the kernel's map: the next flow in that cgroup brings
// them again. The root's is the last, and empty; it is missing if there are more levels
// than are kept.
type Names func(id uint64) ([]string, error)

// Known is what is known of a cgroup.
type Known struct {
	// ID is where its sockets belong; the zero Handle: to no container or pod.
	ID unique.Handle[ID]
	// Root: the cgroup is the root of the hierarchy. A process of a container is there
	// only on a hybrid host, whose runtime makes cgroups in the v1 hierarchies alone.
	Root bool
}

// Capacity of a [Cache] in cgroups: twice what the kernel names in a round, so that none
// is forgotten whose flows go on. 300 bytes each.
const Capacity = 8192

// Cache remembers what the names of cgroups told. It is not safe for concurrent use.
//
// It holds two generations: a cgroup that is asked for moves to the young one, and when
// that is full the old one is forgotten. So the cgroups of the flows of now are there, and
// those of containers that ended go, without a look at either.
type Cache struct {
	names      Names
	half       int
	round      uint32
	young, old map[uint64]entry
}

type entry struct {
	Known
	round uint32 // the last one in which it was asked for
}

// NewCache makes a cache of at most capacity cgroups.
func NewCache(capacity int, names Names) *Cache {
	return &Cache{names: names, half: max(1, capacity/2), young: map[uint64]entry{}}
}

// Of gives what is known of a cgroup; ok is false if its names cannot be had.
func (c *Cache) Of(id uint64) (k Known, ok bool) {
	e, young := c.young[id]
	if young && e.round == c.round {
		return e.Known, true
	}
	known := young
	if !young {
		e, known = c.old[id]
	}
	// Asked even if known: once a round, so that the kernel's map keeps the names of no
	// cgroup that has ended.
	names, err := c.names(id)
	if !known {
		if err != nil || len(names) == 0 {
			return Known{}, false
		}
		e.Known = know(names)
	}
	if !young && len(c.young) >= c.half {
		c.old, c.young = c.young, make(map[uint64]entry, len(c.young))
	}
	e.round = c.round
	c.young[id] = e
	return e.Known, true
}

func know(names []string) (k Known) {
	k.Root = names[0] == ""
	if id := Of(names); id != (ID{}) {
		k.ID = unique.Make(id)
	}
	return k
}

// NextRound says that a new harvest begins.
func (c *Cache) NextRound() { c.round++ }

// Len is how many cgroups are remembered.
func (c *Cache) Len() int {
	n := len(c.young)
	for id := range c.old {
		if _, both := c.young[id]; !both {
			n++
		}
	}
	return n
}
