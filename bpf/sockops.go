// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Options of [Load].
type Options struct {
	// CgroupPath is the directory of a cgroup2 mount below which sockets are watched.
	// Empty: the root of the first cgroup2 mount.
	CgroupPath string
	// MaxFlows is how many flows the kernel holds between two harvests. Past it traffic
	// is counted in the overflow flows.
	MaxFlows int
}

// overflowFlows are held besides MaxFlows: one per network type and role.
const overflowFlows = 2 * roles

// drainBatch is how many flows one system call reads: 256 kB of values.
const drainBatch = 256

// Sockops is the loaded and attached kernel side. Its methods may be called from
// several goroutines where they say so.
type Sockops struct {
	objects sockopsObjects
	cgroup  link.Link
	path    string // of the cgroup
	walk    *link.Iter
	tracing link.Link // nil unless adopted sockets need it; see Adopt
	spare   *ebpf.Map // the flow table that the kernel does not use now
	inUse   *ebpf.Map
	round   uint32

	keys   []FlowKey
	values []Flow

	closing sync.Once
	closed  error
}

// Load loads the programs and attaches flow_sockops: once it has returned, every new
// connection is counted. The error names what could not be done, and which capability
// is missing if that is why.
func Load(o Options) (*Sockops, error) {
	if o.MaxFlows <= 0 {
		return nil, fmt.Errorf("flow table of %d flows: must hold at least one", o.MaxFlows)
	}
	path, id, err := findCgroup(o.CgroupPath)
	if err != nil {
		return nil, err
	}
	spec, err := loadSockops()
	if err != nil {
		return nil, err
	}
	entries := uint32(o.MaxFlows) + overflowFlows
	spec.Maps[sockopsMapFlowsA].MaxEntries = entries
	spec.Maps[sockopsMapFlowsB].MaxEntries = entries
	spec.Maps[sockopsMapFlows].InnerMap.MaxEntries = entries
	if err := spec.Variables[sockopsVarCgroupId].Set(id); err != nil {
		return nil, err
	}

	s := &Sockops{
		round:  1, // this_round in conn.h
		keys:   make([]FlowKey, drainBatch),
		values: make([]Flow, drainBatch),
	}
	if err := spec.LoadAndAssign(&s.objects, nil); err != nil {
		if unsupported := Supported(); unsupported != nil {
			err = fmt.Errorf("%w: %w", unsupported, err)
		}
		return nil, fmt.Errorf("load eBPF programs: %w", explain(err))
	}
	if err := s.attach(path); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Sockops) attach(path string) error {
	s.path = path
	s.inUse, s.spare = s.objects.FlowsA, s.objects.FlowsB
	for _, table := range []*ebpf.Map{s.inUse, s.spare} {
		if err := reserveOverflow(table); err != nil {
			return err
		}
	}
	var err error
	s.walk, err = link.AttachIter(link.IterOptions{Program: s.objects.FlowWalk, Map: s.objects.Conns})
	if err != nil {
		return fmt.Errorf("attach the socket iterator: %w", explain(err))
	}
	s.cgroup, err = link.AttachCgroup(link.CgroupOptions{
		Path:    path,
		Attach:  ebpf.AttachCGroupSockOps,
		Program: s.objects.FlowSockops,
	})
	if err != nil {
		return fmt.Errorf("attach sockops to cgroup %q: %w", path, explain(err))
	}
	return nil
}

// reserveOverflow makes the overflow flows of an empty table.
func reserveOverflow(table *ebpf.Map) error {
	var none Flow
	for _, kind := range []uint8{KindOverflowIPv4, KindOverflowIPv6} {
		for role := range uint8(roles) {
			if err := table.Put(&FlowKey{Kind: kind, Role: role}, &none); err != nil {
				return fmt.Errorf("reserve the overflow flows: %w", err)
			}
		}
	}
	return nil
}

// Harvest folds all sockets into their flows and hands every flow of the round to
// yield. Key and flow are valid during the call only. After an error part of the round
// may have been handed over; the rest comes with the next harvest.
//
// Not safe for concurrent use.
func (s *Sockops) Harvest(yield func(*FlowKey, *Flow)) error {
	if err := s.drain(s.spare, yield); err != nil { // what an interrupted harvest left
		return err
	}
	if err := readAll(s.walk); err != nil {
		return fmt.Errorf("walk the sockets: %w", err)
	}
	if err := s.trace(); err != nil {
		return err
	}
	s.round++
	if err := s.objects.ThisRound.Set(s.round); err != nil {
		return fmt.Errorf("begin round %d: %w", s.round, err)
	}
	// Returns when no program uses the old table any more (synchronize_rcu).
	if err := s.objects.Flows.Put(uint32(0), s.spare); err != nil {
		return fmt.Errorf("swap the flow tables: %w", err)
	}
	s.inUse, s.spare = s.spare, s.inUse
	return s.drain(s.spare, yield)
}

// readAll runs an iterator to its end; its programs write nothing.
func readAll(it *link.Iter) error {
	r, err := it.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	return drainReader(r, io.Discard)
}

// drainReader copies what an iterator writes. EAGAIN is the end of a pass (PASS in
// sockops.bpf.c), not of the walk.
func drainReader(r io.Reader, w io.Writer) error {
	for {
		_, err := io.Copy(w, r)
		if !errors.Is(err, unix.EAGAIN) {
			return err
		}
	}
}

// drain empties a table that the kernel does not use.
func (s *Sockops) drain(table *ebpf.Map, yield func(*FlowKey, *Flow)) error {
	var cursor ebpf.MapBatchCursor
	for {
		n, err := table.BatchLookupAndDelete(&cursor, s.keys, s.values, nil)
		for i := range n {
			if s.keys[i].Kind == KindFlow || s.values[i] != (Flow{}) {
				yield(&s.keys[i], &s.values[i])
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, ebpf.ErrKeyNotExist):
			return reserveOverflow(table)
		case errors.Is(err, unix.ENOSPC): // a bucket holds more than the batch does
			s.keys = make([]FlowKey, 2*len(s.keys))
			s.values = make([]Flow, 2*len(s.values))
		default:
			return fmt.Errorf("drain the flow table: %w", err)
		}
	}
}

// trace attaches the tracepoint that folds sockets without callbacks, once there are any.
func (s *Sockops) trace() error {
	var traced uint64
	if err := s.objects.TracedSockets.Get(&traced); err != nil {
		return err
	}
	if traced == 0 || s.tracing != nil {
		return nil
	}
	t, err := link.AttachTracing(link.TracingOptions{Program: s.objects.FlowState})
	if err != nil {
		return fmt.Errorf("attach the state tracepoint: %w", explain(err))
	}
	s.tracing = t
	return nil
}

// Stats are totals since [Load].
type Stats struct {
	// Traced are sockets without callbacks, whose round-trip times are not seen: adopted
	// before Linux 6.12, or another sockops program assigned its flags instead of adding them.
	Traced      uint64
	Unseen      uint64 // connections for which the kernel could make no storage
	Overflowed  uint64 // additions to an overflow flow because the table was full
	SmoothedRTT uint64 // RTT samples that were the smoothed one (kernels before 6.10)
}

// Stats reads what the programs could not do. Safe for concurrent use until Close.
func (s *Sockops) Stats() (Stats, error) {
	var st Stats
	err := errors.Join(
		s.objects.Unseen.Get(&st.Unseen),
		s.objects.TracedSockets.Get(&st.Traced),
		s.objects.Overflowed.Get(&st.Overflowed),
		s.objects.SmoothedRtt.Get(&st.SmoothedRTT),
	)
	return st, err
}

// Close stops counting, takes back the callback flags of the sockets that still live,
// and frees everything. A last harvest has to come before. Safe to call twice; not
// during a harvest or an adoption.
func (s *Sockops) Close() error {
	s.closing.Do(func() {
		var errs []error
		if s.cgroup != nil {
			errs = append(errs, s.cgroup.Close())
			s.release()
		}
		if s.tracing != nil {
			errs = append(errs, s.tracing.Close())
		}
		if s.walk != nil {
			errs = append(errs, s.walk.Close())
		}
		s.closed = errors.Join(append(errs, s.objects.Close())...)
	})
	return s.closed
}
