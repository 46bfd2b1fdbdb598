// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"time"
)

// memory is the collector's resident memory with few idle sockets and with many, in the same
// 1,000 flows.
func memory(m *measurement) error {
	l, on, err := m.hostWithCollector()
	if err != nil {
		return err
	}
	defer l.Close()
	crowd, err := m.crowd(l, 1000)
	if err != nil {
		return err
	}
	defer crowd.Close()
	collector, err := m.collect(l, on, time.Second)
	if err != nil {
		return err
	}
	few, many := 1000, pick(m, 200_000, 20_000)
	rounds := pick(m, 15, 5)
	var sizes [2][]float64
	for i, n := range []int{few, many} {
		if err := crowd.grow(n); err != nil {
			return errors.Join(err, collector.Close())
		}
		for range rounds { // a sample a round; the first ones while the heap settles
			select {
			case <-time.After(time.Second):
			case <-m.ctx.Done():
				return errors.Join(m.ctx.Err(), collector.Close())
			}
			bytes, err := collector.resident()
			if err != nil {
				return errors.Join(err, collector.Close())
			}
			sizes[i] = append(sizes[i], bytes/1e6)
		}
		sizes[i] = sizes[i][rounds/3:]
		m.samples(fmt.Sprintf("resident memory of the collector with %s idle sockets in 1,000 flows", thousands(fmt.Sprint(n))), "MB", sizes[i], nil)
	}
	m.add(figure{
		What: fmt.Sprintf("growth from %s to %s sockets, of the medians", thousands(fmt.Sprint(few)), thousands(fmt.Sprint(many))),
		Unit: "MB", Value: median(sizes[1]) - median(sizes[0]), Target: atMost(10),
	})
	return collector.Close()
}
