// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"time"
)

// round is the collector's own CPU time for a round in which 10,000 flows were active.
func round(m *measurement) error {
	interval, rounds := pick(m, 30*time.Second, 2*time.Second), pick(m, 3, 2)
	l, on, err := m.hostWithCollector()
	if err != nil {
		return err
	}
	defer l.Close()
	const flows = 10_000
	crowd, err := m.crowd(l, flows)
	if err != nil {
		return err
	}
	defer crowd.Close()
	collector, err := m.collect(l, on, interval)
	if err != nil {
		return err
	}
	if err := crowd.grow(flows); err != nil {
		return errors.Join(err, collector.Close())
	}
	var samples []float64
	// From the middle of one round to the middle of the next; the first one learns the flows.
	middle := time.Now().Add(interval * 3 / 2)
	var before time.Duration
	for i := range rounds + 1 {
		if err := crowd.touch(); err != nil {
			return errors.Join(err, collector.Close())
		}
		select {
		case <-time.After(time.Until(middle)):
		case <-m.ctx.Done():
			return errors.Join(m.ctx.Err(), collector.Close())
		}
		middle = middle.Add(interval)
		now, err := collector.cpu()
		if err != nil {
			return errors.Join(err, collector.Close())
		}
		if i > 0 {
			samples = append(samples, (now-before).Seconds()*1000)
		}
		before = now
	}
	m.samples(fmt.Sprintf("CPU time of the collector for a round with %s active flows", thousands(fmt.Sprint(flows))), "ms", samples, nil)
	share := make([]float64, len(samples))
	for i, ms := range samples {
		share[i] = 100 * ms / 1000 / 30
	}
	m.samples("the same, of one core at a round of 30 s", "%", share, atMost(1).noisy())
	return collector.Close()
}
