// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"net/netip"

	"github.com/otel-flowmonitor/flowmonitor/test/bench/load"
)

const gb = 1e9

// bulk is BPF time per GB of one stream, both ends, of each contender in turns.
func bulk(m *measurement) error {
	for _, how := range []struct {
		what  string
		lab   func() (*lab, error)
		to    netip.Addr
		bytes int64
	}{
		{"64 KB segments", m.oneHost, netip.MustParseAddr("127.0.0.1"), pick[int64](m, 1<<30, 1<<28)},
		{"1,448-byte segments", m.twoHosts, netip.MustParseAddr("10.0.0.2"), pick[int64](m, 1<<28, 1<<26)},
	} {
		l, err := how.lab()
		if err != nil {
			return err
		}
		defer l.Close()
		t, err := m.traffic(l)
		if err != nil {
			return err
		}
		defer t.Close()
		costs, err := m.inTurns(compared(), pick(m, 8, 2), func(c contender) (float64, error) {
			used, err := c.spent(l.Cgroup(), func(share float64) error {
				_, err := t.client.Do(load.Order{Streams: &load.Streams{
					To: netip.AddrPortFrom(how.to, sinkPort), Number: 1, Write: 64 << 10, Bytes: int64(share * float64(how.bytes)),
				}})
				return err
			})
			return used.time.Seconds() * 1000 / (float64(how.bytes) / gb), err
		})
		if err != nil {
			return err
		}
		m.against("BPF time per GB, "+how.what, "ms", costs, atMost(0.2), nil)
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}
