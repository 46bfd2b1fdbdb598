// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/otel-flowmonitor/flowmonitor/test/bench/load"
)

// crowd is many open connections of a host to itself. They are spread over processes, for one
// may have 20,000 descriptors here (RLIMIT_NOFILE).
type crowd struct {
	processes []*load.Process
	listen    [][]netip.AddrPort
}

const crowdProcesses = 20

// crowd starts the processes, with as many listeners in all as half of the flows: each makes
// a flow at either end.
func (m *measurement) crowd(l *lab, flows int) (*crowd, error) {
	c := &crowd{}
	endpoints := flows / 2 / crowdProcesses
	for i := range crowdProcesses {
		p, err := load.Start(m.ctx, l.client)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.processes = append(c.processes, p)
		var listen []netip.AddrPort
		for j := range endpoints {
			listen = append(listen, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 2, byte(1 + i)}), uint16(100+j)))
		}
		c.listen = append(c.listen, listen)
	}
	return c, nil
}

// grow opens connections until so many sockets are there. Each connection has two.
func (c *crowd) grow(sockets int) error {
	return c.all(func(i int, p *load.Process) error {
		a, err := p.Do(load.Order{Sockets: &load.Sockets{Listen: c.listen[i], Count: sockets / 2 / len(c.processes)}})
		if err == nil && a.Count != sockets/len(c.processes) {
			err = fmt.Errorf("%d sockets, not %d", a.Count, sockets/len(c.processes))
		}
		return err
	})
}

// touch has every connection send a byte each way.
func (c *crowd) touch() error {
	return c.all(func(_ int, p *load.Process) error {
		_, err := p.Do(load.Order{Touch: true})
		return err
	})
}

func (c *crowd) all(do func(int, *load.Process) error) error {
	errs := make([]error, len(c.processes))
	var all sync.WaitGroup
	for i, p := range c.processes {
		all.Go(func() { errs[i] = do(i, p) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func (c *crowd) Close() error {
	var errs []error
	for _, p := range c.processes {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}
