// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import "slices"

// turn is what the contenders cost, each with as many samples.
type turn struct {
	contenders []contender
	samples    map[string][]float64
}

// compared are those that are compared for their BPF time.
func compared(more ...contender) []contender {
	return slices.Concat(more, []contender{theMonitor, theReference}, theOptions)
}

// inTurns measures each contender a number of times, round by round: what else happens on the
// machine meets all of them. Each round begins with another one.
func (m *measurement) inTurns(cs []contender, rounds int, cost func(contender) (float64, error)) (turn, error) {
	t := turn{cs, map[string][]float64{}}
	for r := range rounds {
		for i := range cs {
			c := cs[(r+i)%len(cs)]
			v, err := cost(c)
			if err != nil {
				return t, err
			}
			t.samples[c.name] = append(t.samples[c.name], v)
			if m.ctx.Err() != nil {
				return t, m.ctx.Err()
			}
		}
	}
	return t, nil
}

// against adds the figures of a turn: each contender's own, those of flow monitor as ratios to
// the reference, and those of its options as ratios to flow monitor without them.
func (m *measurement) against(what, unit string, t turn, relative, absolute *target) {
	for _, c := range t.contenders {
		var goal *target
		if c.name == theMonitor.name {
			goal = absolute
		}
		m.samples(what+", "+c.name, unit, t.samples[c.name], goal)
	}
	plain := t.samples[theMonitor.name]
	m.ratio(what+", flow monitor ÷ reference", plain, t.samples[theReference.name], ratioOf, relative)
	for _, c := range t.contenders {
		if c.name != theMonitor.name && c.name != theReference.name && c.name != theEmpty.name {
			m.ratio(what+", "+c.name+" ÷ flow monitor", t.samples[c.name], plain, ratioOf, nil)
		}
	}
}
