// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
)

// Lab is a set of nodes and the links between them. Declare it with [Lab.Host],
// [Lab.Router] and [Lab.Link], then make it with [Lab.Start]. The methods that
// declare are for one goroutine; all others are safe for concurrent use.
type Lab struct {
	id       string
	nodes    []*Node
	links    []*Link
	declared []error // what Start will refuse

	mu      sync.Mutex // guards the rest
	state   state
	tree    *cgroupTree
	relays  map[*port]*relay
	procs   map[*proc]struct{}
	watches map[*DestroyWatch]struct{}
	faults  int // the number of faults so far: it names them
}

type state int

const (
	declaring state = iota
	running
	closed
)

// maxNodes keeps the addresses that routers get by themselves, and the hardware
// addresses of links, in two bytes.
const maxNodes = 1 << 12

// New begins the declaration of a lab. Nothing exists before [Lab.Start].
func New() *Lab {
	return &Lab{
		relays:  map[*port]*relay{},
		procs:   map[*proc]struct{}{},
		watches: map[*DestroyWatch]struct{}{},
	}
}

// ID is the name of the lab on this machine, "netlab-<pid>.<start time>.<number>",
// with which the names of its namespaces begin. It is "" before [Lab.Start].
func (l *Lab) ID() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.id
}

// Cgroup is the cgroup above those of the nodes: a collector for the whole lab
// watches this one. It is "" before [Lab.Start].
//
// It lies below the machine's cgroup2 mount. On a machine that has none the lab
// mounts one for itself, below /run/netlab, and this is where to find out.
func (l *Lab) Cgroup() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tree == nil {
		return ""
	}
	return l.tree.path
}

// Start makes what was declared, after a [Sweep] (whose errors are not those of
// this lab: call it yourself to see them). All errors of the declaration are
// reported at once. When Start fails nothing is left, and the lab is closed.
func (l *Lab) Start(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != declaring {
		return errors.New("netlab: a lab starts once")
	}
	if err := l.check(); err != nil {
		l.state = closed
		return err
	}
	if err := nodesSupported(); err != nil {
		l.state = closed
		return err
	}
	_ = Sweep()
	l.state = running
	if err := l.make(ctx); err != nil {
		return errors.Join(fmt.Errorf("netlab: %w", err), l.close())
	}
	return nil
}

// check is the verdict on the declaration.
func (l *Lab) check() error {
	errs := append([]error(nil), l.declared...)
	if len(l.nodes) > maxNodes || len(l.links) > maxNodes {
		errs = append(errs, fmt.Errorf("%d nodes and %d links: a lab has at most %d of each", len(l.nodes), len(l.links), maxNodes))
	}
	names := map[string]bool{}
	addrs := map[string]*Node{}
	for _, n := range l.nodes {
		if !nodeName.MatchString(n.name) {
			errs = append(errs, fmt.Errorf("node %q: a name is 1 to 40 of a-z, 0-9 and -, and begins with a letter", n.name))
		}
		if names[n.name] {
			errs = append(errs, fmt.Errorf("node %q is declared twice", n.name))
		}
		names[n.name] = true
		for _, a := range n.addrs {
			if other := addrs[a.String()]; other != nil {
				errs = append(errs, fmt.Errorf("node %q: address %s is that of %q", n.name, a, other.name))
			}
			addrs[a.String()] = n
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("netlab: %w", err)
	}
	return nil
}

// nodeName keeps names fit for files, and apart from the dots in the lab's own.
var nodeName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)

// make builds everything; the caller cleans up after an error.
func (l *Lab) make(ctx context.Context) error {
	id, err := newID()
	if err != nil {
		return err
	}
	l.id = id
	if l.tree, err = newCgroupTree(l.id); err != nil {
		return err
	}
	v6 := hasIPv6()
	for _, n := range l.nodes {
		if err := ctx.Err(); err != nil {
			return err
		}
		if n.cgroup, err = l.tree.child(n.name); err != nil {
			return fmt.Errorf("node %q: make cgroup: %w", n.name, err)
		}
		if n.ns, err = newNamespace(l.id + "-" + n.name); err != nil {
			return fmt.Errorf("node %q: %w", n.name, err)
		}
		if err := n.configure(v6); err != nil {
			return fmt.Errorf("node %q: %w", n.name, err)
		}
	}
	for i, k := range l.links {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := k.make(i); err != nil {
			return fmt.Errorf("link %s: %w", k, err)
		}
	}
	for _, n := range l.nodes {
		if err := n.address(v6); err != nil {
			return fmt.Errorf("node %q: %w", n.name, err)
		}
	}
	return l.route(v6)
}

// hasIPv6 reports whether this kernel has IPv6 at all.
func hasIPv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6")
	return err == nil
}

// Close kills all processes of the lab, aborts the connections that are left in
// its namespaces (the caller's own, from [Node.Do], included), and removes
// everything. It waits until it is done. Calling it again does nothing.
func (l *Lab) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != running {
		l.state = closed
		return nil
	}
	return l.close()
}

// close removes all there is, in the order in which things hold each other.
func (l *Lab) close() error {
	l.state = closed
	var errs []error
	if l.tree != nil {
		errs = append(errs, killCgroup(l.tree.path))
	}
	for p := range l.procs {
		<-p.done
	}
	for w := range l.watches {
		w.stop()
	}
	for _, r := range l.relays {
		r.stop()
	}
	for _, n := range l.nodes {
		if n.ns != nil {
			errs = append(errs, n.ns.remove())
		}
	}
	if l.tree != nil {
		errs = append(errs, l.tree.remove())
	}
	l.relays, l.procs, l.watches = nil, nil, nil
	return errors.Join(errs...)
}

// alive returns an error unless the lab is running. It is called with mu held.
func (l *Lab) alive() error {
	switch l.state {
	case declaring:
		return errors.New("netlab: the lab is not started")
	case closed:
		return errors.New("netlab: the lab is closed")
	}
	return nil
}

// namespacePath is where namespace name is mounted.
func namespacePath(name string) string { return filepath.Join(netnsDir, name) }
