// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"time"

	"github.com/otel-flowmonitor/flowmonitor/test/bench/load"
)

// connection is BPF time per short connection, both ends, of each contender in turns.
func connection(m *measurement) error {
	l, err := m.oneHost()
	if err != nil {
		return err
	}
	defer l.Close()
	t, err := m.traffic(l)
	if err != nil {
		return err
	}
	defer t.Close()
	n := pick(m, 20_000, 2_000)
	costs, err := m.inTurns(compared(theEmpty), pick(m, 10, 2), func(c contender) (float64, error) {
		used, err := c.spent(l.Cgroup(), func(share float64) error {
			_, err := t.client.Do(load.Order{Connections: &load.Connections{
				To: targets(replyPort), Workers: 4, Count: int(share * float64(n)),
			}})
			return err
		})
		return float64(used.time) / float64(time.Microsecond) / float64(n), err
	})
	if err != nil {
		return err
	}
	m.against("BPF time per short connection", "µs", costs, atMost(0.5), atMost(9))
	return nil
}
