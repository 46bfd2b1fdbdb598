// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
)

// slab is the kernel's memory for a watched socket, by slab class: how much more each cache of
// /proc/slabinfo grows with a number of sockets when they are watched.
func slab(m *measurement) error {
	sockets, rounds := pick(m, 40_000, 8_000), pick(m, 5, 3)
	l, err := m.oneHost()
	if err != nil {
		return err
	}
	defer l.Close()
	type options struct {
		name   string
		detail bpf.DetailGroup
		goal   *target
	}
	all := []options{
		{"default options", 0, atMost(384 * 1.02).noisy()}, // other processes use the same caches
		{"every group of detail", ^bpf.DetailGroup(0), nil},
	}
	for _, with := range pick(m, all, all[:1]) {
		grown := map[string][]float64{} // objects a socket, by cache
		size := map[string]int{}
		for range rounds {
			plain, err := m.grown(l, sockets, func() (func() error, error) { return func() error { return nil }, nil })
			if err != nil {
				return err
			}
			watched, err := m.grown(l, sockets, func() (func() error, error) {
				k, err := bpf.Load(bpf.Options{CgroupPath: l.Cgroup(), MaxFlows: 16384, MaxSockets: 1 << 19, Containers: true, Detail: with.detail})
				if err != nil {
					return nil, err
				}
				return k.Close, nil
			})
			if err != nil {
				return err
			}
			for name, c := range watched {
				grown[name] = append(grown[name], float64(c.objects-plain[name].objects)/float64(sockets))
				size[name] = c.size
			}
		}
		bytes := make([]float64, rounds)
		for _, name := range slices.Sorted(maps.Keys(grown)) {
			objects := grown[name]
			if len(objects) < rounds || math.Abs(median(objects)) < ofOthers {
				continue
			}
			m.samples("objects of "+name+" a socket, "+with.name, "", objects, nil)
			for i := range bytes {
				bytes[i] += objects[i] * float64(size[name])
			}
		}
		m.samples("kernel memory a socket, "+with.name, "B", bytes, with.goal)
	}
	return nil
}

// ofOthers is what other processes move a cache by, in objects a socket of ours. What a
// socket takes is a whole object.
const ofOthers = 0.5

// cache is a line of /proc/slabinfo.
type cache struct{ objects, size int }

// grown is how much the caches grow while a number of sockets is opened, with something
// prepared before it.
func (m *measurement) grown(l *lab, sockets int, prepare func() (func() error, error)) (map[string]cache, error) {
	undo, err := prepare()
	if err != nil {
		return nil, err
	}
	defer undo()
	c, err := m.crowd(l, 1000)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.grow(1000); err != nil { // the flows, and what is there once
		return nil, err
	}
	before, err := caches()
	if err != nil {
		return nil, err
	}
	if err := c.grow(1000 + sockets); err != nil {
		return nil, err
	}
	after, err := caches()
	if err != nil {
		return nil, err
	}
	for name, a := range after {
		after[name] = cache{a.objects - before[name].objects, a.size}
	}
	return after, nil
}

func caches() (map[string]cache, error) {
	f, err := os.Open("/proc/slabinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseSlabinfo(f)
}

// parseSlabinfo reads slabinfo(5): name, active objects, objects, size of one, …
func parseSlabinfo(r io.Reader) (map[string]cache, error) {
	all := map[string]cache{}
	for s := bufio.NewScanner(r); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) < 4 || fields[0] == "#" || fields[0] == "slabinfo" {
			continue
		}
		objects, err := strconv.Atoi(fields[1])
		if err != nil {
			return nil, fmt.Errorf("slabinfo: %q: %w", s.Text(), err)
		}
		size, err := strconv.Atoi(fields[3])
		if err != nil {
			return nil, fmt.Errorf("slabinfo: %q: %w", s.Text(), err)
		}
		all[fields[0]] = cache{objects, size}
	}
	return all, nil
}
