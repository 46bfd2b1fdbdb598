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
	// PinPath is a folder of a BPF file system, made if missing, where all that counts is
	// pinned: it goes on after Close, and the next Load with the same path goes on with
	// it. Empty: everything ends with the process.
	PinPath string
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
	spare   *ebpf.Map // the flow table that the kernel does not use now
	inUse   *ebpf.Map
	round   uint32
	pins    *pins // nil without PinPath

	keys   []FlowKey
	values []Flow

	attaching sync.Mutex
	tracing   link.Link // nil unless adopted sockets need it; see Adopt

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
	spec.Maps[sockopsMapNamespaces].MaxEntries = maxNamespaces
	spec.Maps[sockopsMapNamespaces].Flags = unix.BPF_F_NO_PREALLOC
	if err := spec.Variables[sockopsVarCgroupId].Set(id); err != nil {
		return nil, err
	}

	s := &Sockops{
		round:  1, // this_round in conn.h
		keys:   make([]FlowKey, drainBatch),
		values: make([]Flow, drainBatch),
	}
	if o.PinPath != "" {
		if s.pins, err = openPins(o.PinPath, spec); err != nil {
			return nil, err
		}
	}
	if err := s.load(spec); err != nil {
		if s.pins != nil {
			s.pins.close()
		}
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

func (s *Sockops) load(spec *ebpf.CollectionSpec) error {
	if s.pins != nil {
		return s.pins.load(spec, &s.objects)
	}
	return spec.LoadAndAssign(&s.objects, nil)
}

func (s *Sockops) attach(path string) error {
	s.path = path
	s.inUse, s.spare = s.objects.FlowsA, s.objects.FlowsB
	if s.pins != nil {
		if err := s.resume(); err != nil {
			return err
		}
	}
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
	if s.pins != nil {
		return s.takeOver(path)
	}
	s.cgroup, err = s.attachCgroup(path)
	return err
}

func (s *Sockops) attachCgroup(path string) (link.Link, error) {
	l, err := link.AttachCgroup(link.CgroupOptions{
		Path:    path,
		Attach:  ebpf.AttachCGroupSockOps,
		Program: s.objects.FlowSockops,
	})
	if err != nil {
		return nil, fmt.Errorf("attach sockops to cgroup %q: %w", path, explain(err))
	}
	return l, nil
}

// reserveOverflow makes the overflow flows of a table that has none.
func reserveOverflow(table *ebpf.Map) error {
	var none Flow
	for _, kind := range []uint8{KindOverflowIPv4, KindOverflowIPv6} {
		for role := range uint8(roles) {
			err := table.Update(&FlowKey{Kind: kind, Role: role}, &none, ebpf.UpdateNoExist)
			if err != nil && !errors.Is(err, ebpf.ErrKeyExist) {
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
// With pins a round has to be settled before the next harvest, see [Sockops.Settle].
//
// Not safe for concurrent use with itself or Close.
func (s *Sockops) Harvest(yield func(*FlowKey, *Flow)) error {
	if s.pins != nil {
		return s.harvestPinned(yield)
	}
	leftover := func(k *FlowKey, f *Flow) { // of a harvest that failed midway: its levels are old
		f.Open = [phases]uint32{}
		yield(k, f)
	}
	if err := s.drain(s.spare, leftover); err != nil {
		return err
	}
	if err := s.fold(); err != nil {
		return err
	}
	if err := s.swapTables(s.round + 1); err != nil {
		return err
	}
	return s.drain(s.spare, yield)
}

// fold brings the flow table in use up to date with every socket.
func (s *Sockops) fold() error {
	if err := readAll(s.walk); err != nil {
		return fmt.Errorf("walk the sockets: %w", err)
	}
	return s.trace()
}

// swapTables begins a round: the table in use becomes the spare one.
func (s *Sockops) swapTables(round uint32) error {
	if err := s.objects.ThisRound.Set(round); err != nil {
		return fmt.Errorf("begin round %d: %w", round, err)
	}
	// Returns when no program uses the old table any more (synchronize_rcu).
	if err := s.objects.Flows.Put(uint32(0), s.spare); err != nil {
		return fmt.Errorf("swap the flow tables: %w", err)
	}
	s.round = round
	s.inUse, s.spare = s.spare, s.inUse
	return nil
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
	if err := s.batches(table.BatchLookupAndDelete, new(ebpf.MapBatchCursor), yield); err != nil {
		return fmt.Errorf("drain the flow table: %w", err)
	}
	return reserveOverflow(table)
}

// read reads a table that the kernel does not use, and leaves it as it is. After an error
// it goes on at the cursor.
func (s *Sockops) read(table *ebpf.Map, cursor *ebpf.MapBatchCursor, yield func(*FlowKey, *Flow)) error {
	if err := s.batches(table.BatchLookup, cursor, yield); err != nil {
		return fmt.Errorf("read the flow table: %w", err)
	}
	return nil
}

func (s *Sockops) batches(next func(*ebpf.MapBatchCursor, any, any, *ebpf.BatchOptions) (int, error), cursor *ebpf.MapBatchCursor, yield func(*FlowKey, *Flow)) error {
	for {
		n, err := next(cursor, s.keys, s.values, nil)
		for i := range n {
			if s.keys[i].Kind == KindFlow || s.values[i] != (Flow{}) {
				yield(&s.keys[i], &s.values[i])
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, ebpf.ErrKeyNotExist):
			return nil
		case errors.Is(err, unix.ENOSPC): // a bucket holds more than the batch does
			s.keys = make([]FlowKey, 2*len(s.keys))
			s.values = make([]Flow, 2*len(s.values))
		default:
			return err
		}
	}
}

// trace attaches the tracepoint that folds sockets without callbacks, once there are any.
func (s *Sockops) trace() error {
	s.attaching.Lock()
	defer s.attaching.Unlock()
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
	if s.pins != nil {
		return s.pins.own.replacePin(t, pinTracing)
	}
	return nil
}

// Stats are totals since [Load], with pins since the first one.
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
// and frees everything. With pins it does none of this: the kernel goes on counting for
// the next process. A last harvest has to come before. Safe to call twice; not during a
// harvest or an adoption.
func (s *Sockops) Close() error {
	s.closing.Do(func() {
		var errs []error
		if s.cgroup != nil {
			errs = append(errs, s.cgroup.Close())
			if s.pins == nil {
				s.release()
			}
		}
		if s.tracing != nil {
			errs = append(errs, s.tracing.Close())
		}
		if s.walk != nil {
			errs = append(errs, s.walk.Close())
		}
		errs = append(errs, s.objects.Close())
		if s.pins != nil {
			errs = append(errs, s.pins.close()) // last: the next process may begin
		}
		s.closed = errors.Join(errs...)
	})
	return s.closed
}
