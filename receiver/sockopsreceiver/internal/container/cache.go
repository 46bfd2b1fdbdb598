// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package container

// Names gives the names of the cgroup with this id and of those above it, from its own
// outwards. The root's is the last, and empty; it is missing if there are more levels
// than are kept.
type Names func(id uint64) ([]string, error)

// Known is what is known of a cgroup.
type Known struct {
	ID
	// Root: the cgroup is the root of the hierarchy. A process of a container is there
	// only on a hybrid host, whose runtime makes cgroups in the v1 hierarchies alone.
	Root bool
}

// Cache remembers what the names of cgroups told. It is not safe for concurrent use.
//
// It holds two generations: who is asked for moves to the young one, and when that is
// full the old one is forgotten. So the cgroups of the flows of now are there, and those
// of containers that ended go, without a look at either.
type Cache struct {
	names      Names
	half       int
	young, old map[uint64]Known
	unknown    uint64
}

// NewCache makes a cache of at most capacity cgroups, at about 300 bytes each.
func NewCache(capacity int, names Names) *Cache {
	return &Cache{names: names, half: max(1, capacity/2), young: map[uint64]Known{}}
}

// Of gives what is known of a cgroup. Names that cannot be had are counted, and asked
// for again the next time.
func (c *Cache) Of(id uint64) Known {
	if k, ok := c.young[id]; ok {
		return k
	}
	k, ok := c.old[id]
	if !ok {
		names, err := c.names(id)
		if err != nil || len(names) == 0 {
			c.unknown++
			return Known{}
		}
		k = Known{ID: Of(names), Root: names[0] == ""}
	}
	if len(c.young) >= c.half {
		c.old, c.young = c.young, make(map[uint64]Known, len(c.young))
	}
	c.young[id] = k
	return k
}

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

// Unknown is how often the names could not be had.
func (c *Cache) Unknown() uint64 { return c.unknown }
