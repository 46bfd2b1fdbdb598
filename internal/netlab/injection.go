// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"errors"
	"fmt"
	"sync"
)

// Injection is a fault at work. Safe for concurrent use.
type Injection struct {
	lab   *Lab
	mu    sync.Mutex // one Clear or Counts at a time
	parts []part
	last  Counts // once cleared
}

// part is a fault in one namespace. Its methods are called with the lab's mu held.
type part interface {
	counts() (Counts, error)
	clear() (Counts, error) // the last counts
}

// Fault puts a fault on the link. Several at once are independent of each other: a
// packet meets delays first, then the others in the order in which they were put.
func (k *Link) Fault(f Fault, d Direction) (*Injection, error) {
	var at []*port
	if d&FromA != 0 {
		at = append(at, k.b)
	}
	if d&ToA != 0 {
		at = append(at, k.a)
	}
	in, err := k.lab.inject(f, d, at)
	if err != nil {
		return nil, fmt.Errorf("netlab: fault on link %s: %w", k, err)
	}
	return in, nil
}

// Fault puts a fault on all links of the node: at a host it is what a bad network
// card does to this host alone. At a router take [In], which strikes each packet
// that it forwards once; Both would strike it twice and is refused.
func (n *Node) Fault(f Fault, d Direction) (*Injection, error) {
	var at []*port
	for _, p := range n.ports {
		if d&Out != 0 {
			at = append(at, p.peer)
		}
		if d&In != 0 {
			at = append(at, p)
		}
	}
	var in *Injection
	var err error
	switch {
	case len(n.ports) == 0:
		err = errors.New("it has no links")
	case n.router && d == Both:
		err = errors.New("a packet that a router forwards would meet the fault twice: take In")
	default:
		in, err = n.lab.inject(f, d, at)
	}
	if err != nil {
		return nil, fmt.Errorf("netlab: fault at %q: %w", n.name, err)
	}
	return in, nil
}

// inject puts a fault at each of the ports, or at none. Ports of one node share a
// table.
func (l *Lab) inject(f Fault, d Direction, at []*port) (*Injection, error) {
	if f == nil {
		return nil, errors.New("no fault")
	}
	if d == 0 || d&^Both != 0 {
		return nil, fmt.Errorf("no such direction: %d", d)
	}
	rules, err := f.rules()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.alive(); err != nil {
		return nil, err
	}
	in := &Injection{lab: l}
	add := func(p part, err error) error {
		if err == nil {
			in.parts = append(in.parts, p)
		}
		return err
	}
	if delay, ok := f.(Delay); ok {
		for _, p := range at {
			if err := add(l.delay(p, delay)); err != nil {
				return nil, errors.Join(err, in.clear())
			}
		}
		return in, nil
	}
	var nodes []*Node
	devices := map[*Node][]string{}
	for _, p := range at {
		if devices[p.node] == nil {
			nodes = append(nodes, p.node)
		}
		devices[p.node] = append(devices[p.node], p.device)
	}
	for _, n := range nodes {
		l.faults++
		t := &table{ns: n.ns, name: fmt.Sprintf("fault%d", l.faults)}
		if err := add(t, t.add(devices[n], l.faults, f.port(), rules)); err != nil {
			return nil, errors.Join(err, in.clear())
		}
	}
	return in, nil
}

// Counts is what the fault did until now, or until it was cleared.
func (in *Injection) Counts() (Counts, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.lab.mu.Lock()
	defer in.lab.mu.Unlock()
	if len(in.parts) == 0 {
		return in.last, nil
	}
	if err := in.lab.alive(); err != nil {
		return Counts{}, err
	}
	var total Counts
	for _, p := range in.parts {
		c, err := p.counts()
		if err != nil {
			return Counts{}, err
		}
		total.add(c)
	}
	return total, nil
}

func (c *Counts) add(d Counts) {
	c.Seen += d.Seen
	c.Hit += d.Hit
}

// Clear ends the fault. Calling it again, or after the lab is closed, does
// nothing. When it returns no packet meets the fault any more.
func (in *Injection) Clear() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.lab.mu.Lock()
	defer in.lab.mu.Unlock()
	if in.lab.alive() != nil {
		return nil // it went with the lab
	}
	return in.clear()
}

func (in *Injection) clear() error {
	var errs []error
	for _, p := range in.parts {
		c, err := p.clear()
		in.last.add(c)
		errs = append(errs, err)
	}
	in.parts = nil
	return errors.Join(errs...)
}
