// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
	"unsafe"

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
	// MaxSockets is how many sockets are watched at once; those past it are counted as
	// refused. The kernel keeps 384 B a socket.
	MaxSockets int
	// Containers tells flows apart by the cgroup of their sockets ([FlowKey].Cgroup).
	Containers bool
	// NAT gives each connection a flow of its own until its translation is known (see
	// [Sockops.Translate]).
	NAT bool
	// Trace attaches the state tracepoint from the start. Without it that is done once
	// another program is found that may take the callbacks of sockets.
	Trace bool

	// storageEndsAtClose is for tests: as on kernels that need it.
	storageEndsAtClose bool
	// Detail are the groups of counters to keep besides the usual ones.
	Detail DetailGroup
	// PinPath is a folder of a BPF file system, made if missing, where all that counts is
	// pinned: it goes on after Close, and the next Load with the same path goes on with
	// it. Empty: everything ends with the process.
	PinPath string
}

// firstRound is what this_round begins with (conn.h).
const firstRound = 1

// overflowFlows are held besides MaxFlows: one per network type and role.
const overflowFlows = 2 * roles

// Sockops is the loaded and attached kernel side. Its methods may be called from
// several goroutines where they say so.
type Sockops struct {
	objects     sockopsObjects
	cgroup      link.Link
	path        string // of the cgroup
	walk        *link.Iter
	synacks     link.Link // nil where the kernel has no such tracepoint
	windows     link.Link // nil unless DetailZeroWindows
	round       uint32    // this_round in conn.h: its parity is the flow table in use
	detail      DetailGroup
	traceAlways bool
	jiffy       time.Duration
	pins        *pins // nil without PinPath

	batch batch

	attaching sync.Mutex
	tracing   link.Link // nil unless sockets need it that have no callbacks; see trace

	closing sync.Once
	closed  error
}

// Load loads the programs and attaches flow_sockops: once it has returned, every new
// connection is counted. The error names what could not be done, and which capability
// is missing if that is why.
func Load(o Options) (*Sockops, error) {
	if o.MaxFlows <= 0 || o.MaxSockets <= 0 {
		return nil, fmt.Errorf("room for %d flows and %d sockets: must be at least one of each", o.MaxFlows, o.MaxSockets)
	}
	if err := tooOld(); err != nil { // what its verifier says of the programs would only hide it
		return nil, err
	}
	path, id, err := findCgroup(o.CgroupPath)
	if err != nil {
		return nil, err
	}
	spec, err := loadSockops()
	if err != nil {
		return nil, err
	}
	ends, err := storageEndsAtClose()
	if err != nil {
		return nil, err
	}
	ends = ends || o.storageEndsAtClose
	if err := errors.Join(configure(spec, &o, id), spec.Variables[sockopsVarStorageEndsAtClose].Set(ends)); err != nil {
		return nil, err
	}

	s := &Sockops{
		round:       firstRound,
		detail:      o.Detail,
		traceAlways: o.Trace || ends,
		batch:       newBatch(o.Detail != 0),
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
	if err := s.trace(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// configure fits the maps and the constants of the programs to the options.
func configure(spec *ebpf.CollectionSpec, o *Options, cgroup uint64) error {
	inner := spec.Maps[sockopsMapFlows].InnerMap
	for _, table := range []*ebpf.MapSpec{spec.Maps[sockopsMapFlowsA], spec.Maps[sockopsMapFlowsB], inner} {
		table.MaxEntries = uint32(o.MaxFlows) + overflowFlows
		if o.Detail == 0 {
			table.ValueSize = uint32(unsafe.Sizeof(Flow{}))
			table.Key, table.Value = nil, nil // its BTF has the larger value
		}
	}
	// The buckets of a hash table are made when it is.
	spec.Maps[sockopsMapNamespaces].MaxEntries = maxNamespaces
	spec.Maps[sockopsMapNamespaces].Flags = unix.BPF_F_NO_PREALLOC
	if !o.Containers {
		spec.Maps[sockopsMapCgroups].MaxEntries = 1
	}
	if !o.NAT {
		spec.Maps[sockopsMapTranslations].MaxEntries = 1
	}
	if err := trimConn(spec.Maps[sockopsMapConns], o.Detail); err != nil {
		return err
	}
	return errors.Join(
		spec.Variables[sockopsVarCgroupId].Set(cgroup),
		spec.Variables[sockopsVarMaxSockets].Set(uint32(o.MaxSockets)),
		spec.Variables[sockopsVarContainers].Set(o.Containers),
		spec.Variables[sockopsVarNat].Set(o.NAT),
		spec.Variables[sockopsVarDetailGroups].Set(uint32(o.Detail)),
	)
}

func (s *Sockops) load(spec *ebpf.CollectionSpec) error {
	if s.pins != nil {
		return s.pins.load(spec, &s.objects)
	}
	return spec.LoadAndAssign(&s.objects, nil)
}

func (s *Sockops) attach(path string) error {
	s.path = path
	if s.pins != nil {
		if err := s.resume(); err != nil {
			return err
		}
	}
	for slot := range uint32(2) {
		if err := reserveOverflow(s.table(slot)); err != nil {
			return err
		}
	}
	var err error
	s.walk, err = link.AttachIter(link.IterOptions{Program: s.objects.FlowWalk, Map: s.objects.Conns})
	if err != nil {
		return fmt.Errorf("attach the socket iterator: %w", explain(err))
	}
	if s.traceAlways { // from the first storage on
		if err := s.trace(); err != nil {
			return err
		}
	}
	if s.pins == nil {
		s.cgroup, err = s.attachCgroup(path)
	} else {
		err = s.takeOver(path)
	}
	if err != nil {
		return err
	}
	if s.detail&DetailZeroWindows != 0 {
		if s.windows, err = s.attachTracing(s.objects.FlowWindow, pinWindows); err != nil {
			return fmt.Errorf("attach to the tracepoint tcp_probe (for the zero windows): %w", explain(err))
		}
	}
	s.synacks, _ = s.attachTracing(s.objects.FlowSynack, pinSynacks)
	return s.readJiffy()
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

// attachTracing attaches to a tracepoint; pin is what the link is called where there are pins.
func (s *Sockops) attachTracing(p *ebpf.Program, pin string) (link.Link, error) {
	if s.pins != nil {
		return s.pins.attachTracing(p, pin)
	}
	return link.AttachTracing(link.TracingOptions{Program: p})
}

// table gives the flow table of a round, or of a slot.
func (s *Sockops) table(round uint32) *ebpf.Map {
	if round&1 == 0 {
		return s.objects.FlowsA
	}
	return s.objects.FlowsB
}

// reserveOverflow makes the overflow flows of a table that has none.
func reserveOverflow(table *ebpf.Map) error {
	none := make([]byte, table.ValueSize())
	for _, kind := range []uint8{KindOverflowIPv4, KindOverflowIPv6} {
		for role := range uint8(roles) {
			err := table.Update(&FlowKey{Kind: kind, Role: role}, none, ebpf.UpdateNoExist)
			if err != nil && !errors.Is(err, ebpf.ErrKeyExist) {
				return fmt.Errorf("reserve the overflow flows: %w", err)
			}
		}
	}
	return nil
}

// Harvest folds all sockets into their flows and hands every flow of the round to
// yield. Key, flow and detail are valid during the call only; detail is nil unless a
// group of it was asked for. After an error part of the round may have been handed over;
// the rest comes with the next harvest.
//
// With pins a round has to be settled before the next harvest, see [Sockops.Settle].
//
// Not safe for concurrent use with itself or Close.
func (s *Sockops) Harvest(yield Yield) error {
	if s.pins != nil {
		return s.harvestPinned(yield)
	}
	leftover := func(k *FlowKey, f *Flow, d *Detail) { // of a harvest that failed midway: its levels are old
		f.Open = [phases]uint32{}
		yield(k, f, d)
	}
	if err := s.drain(s.round+1, leftover); err != nil {
		return err
	}
	if err := s.fold(); err != nil {
		return err
	}
	if err := s.beginRound(); err != nil {
		return err
	}
	return s.drain(s.round-1, yield)
}

// fold brings the flow table in use up to date with every socket.
func (s *Sockops) fold() error {
	if err := readAll(s.walk); err != nil {
		return fmt.Errorf("walk the sockets: %w", err)
	}
	return s.trace()
}

// Yield takes one flow of a harvest.
type Yield func(*FlowKey, *Flow, *Detail)

// beginRound has programs that begin from here on use the other table, and returns when
// none is left that uses the old one.
func (s *Sockops) beginRound() error {
	if err := s.objects.ThisRound.Set(s.round + 1); err != nil {
		return fmt.Errorf("begin round %d: %w", s.round+1, err)
	}
	s.round++
	// It changes nothing, but an update of a map of maps waits for the programs that run
	// (synchronize_rcu: maybe_wait_bpf_programs() in kernel/bpf/syscall.c, since 4.20).
	if err := s.objects.Flows.Put(s.round&1, s.table(s.round)); err != nil {
		return fmt.Errorf("wait for the flow table of round %d: %w", s.round-1, err)
	}
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
// walk.h), not of the walk.
func drainReader(r io.Reader, w io.Writer) error {
	for {
		_, err := io.Copy(w, r)
		if !errors.Is(err, unix.EAGAIN) {
			return err
		}
	}
}

// drain empties the table of a round in which the kernel is not.
func (s *Sockops) drain(round uint32, yield Yield) error {
	table := s.table(round)
	if err := s.batch.each(table.BatchLookupAndDelete, new(ebpf.MapBatchCursor), yield); err != nil {
		return fmt.Errorf("drain the flow table: %w", err)
	}
	return reserveOverflow(table)
}

// trace attaches the tracepoint that folds sockets without callbacks, once there are
// any, or another program that might take them.
func (s *Sockops) trace() error {
	s.attaching.Lock()
	defer s.attaching.Unlock()
	var traced, lost uint64
	if err := errors.Join(s.objects.TracedSockets.Get(&traced), s.objects.Lost.Get(&lost)); err != nil {
		return err
	}
	if s.tracing != nil || traced+lost == 0 && !s.traceAlways && !s.others() {
		return nil
	}
	t, err := s.attachTracing(s.objects.FlowState, pinTracing)
	if err != nil {
		return fmt.Errorf("attach the state tracepoint: %w", explain(err))
	}
	s.tracing = t
	return nil
}

// Stats are totals since [Load], with pins since the first one, but for Sockets.
type Stats struct {
	// Traced are sockets without callbacks, whose round-trip times are not seen: adopted
	// before Linux 6.12, or another sockops program assigned its flags instead of adding them.
	Traced  uint64
	Unseen  uint64 // connections for which the kernel could make no storage
	Refused uint64 // connections past MaxSockets
	// Lost are sockets whose end nobody told: another program took their callbacks, and
	// they ended before the tracepoint was attached. What they did since the last round
	// is missing.
	Lost        uint64
	Sockets     uint64 // watched now, listeners included
	Overflowed  uint64 // additions to an overflow flow because the table was full
	SmoothedRTT uint64 // RTT samples that were the smoothed one (kernels before 6.10)
}

// Stats reads what the programs could not do. Safe for concurrent use until Close.
func (s *Sockops) Stats() (Stats, error) {
	var st Stats
	err := errors.Join(
		s.objects.Unseen.Get(&st.Unseen),
		s.objects.Refused.Get(&st.Refused),
		s.objects.Lost.Get(&st.Lost),
		s.objects.Sockets.Get(&st.Sockets),
		s.objects.TracedSockets.Get(&st.Traced),
		s.objects.Overflowed.Get(&st.Overflowed),
		s.objects.SmoothedRtt.Get(&st.SmoothedRTT),
	)
	st.Sockets = uint64(max(int64(st.Sockets), 0)) // a walk that missed one has it corrected by the next
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
		for _, l := range []link.Link{s.tracing, s.synacks, s.windows} {
			if l != nil {
				errs = append(errs, l.Close())
			}
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
