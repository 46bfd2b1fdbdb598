// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package sockopsreceiver

import (
	"unique"

	"golang.org/x/sys/unix"

	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/container"
)

// containers says in which container the sockets of a flow are, and counts the flows of
// a round of which it cannot.
type containers struct {
	cache *container.Cache
	netns uint32 // the host's own

	noCgroup, noNames int64
}

func newContainers(names container.Names) *containers {
	return &containers{cache: container.NewCache(container.Capacity, names), netns: hostNetns()}
}

func (c *containers) nextRound() {
	c.cache.NextRound()
	c.noCgroup, c.noNames = 0, 0
}

// of gives the container of a flow. It is asked for flows, not for listeners.
func (c *containers) of(cgroup uint64, netns uint32) unique.Handle[container.ID] {
	known, ok := c.cache.Of(cgroup)
	switch {
	case !ok:
		c.noNames++
	case known.Root && netns != c.netns:
		c.noCgroup++
	}
	return known.ID
}

// hostNetns gives the network namespace of the host: that of the first process, where it
// may be looked at, or else our own.
func hostNetns() uint32 {
	var st unix.Stat_t
	if unix.Stat("/proc/1/ns/net", &st) != nil && unix.Stat("/proc/self/ns/net", &st) != nil {
		return 0
	}
	return uint32(st.Ino)
}
