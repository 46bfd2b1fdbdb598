// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package reference runs what flow monitor's cost is compared with: a sockops program with
// the callbacks and the maps that the AWS network flow monitor agent is described to have
// (src/reference.bpf.c), attached and drained as that agent does it.
package reference

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// cycle is how often the agent drains its maps.
const cycle = 500 * time.Millisecond

// drainBatch is how many entries one system call reads: the agent takes about ten calls
// for its 60,000 entries.
const drainBatch = 8192

// Agent is the attached program and its drain.
type Agent struct {
	objects referenceObjects
	link    link.Link
	stop    chan struct{}
	done    sync.WaitGroup
	err     error // of the drain, once it has ended
}

// Start attaches the program to a cgroup.
func Start(cgroup string) (*Agent, error) {
	a := &Agent{stop: make(chan struct{})}
	if err := loadReferenceObjects(&a.objects, nil); err != nil {
		return nil, fmt.Errorf("load the reference: %w", err)
	}
	var err error
	a.link, err = link.AttachCgroup(link.CgroupOptions{
		Path:    cgroup,
		Attach:  ebpf.AttachCGroupSockOps,
		Program: a.objects.Reference,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("attach the reference to cgroup %q: %w", cgroup, err), a.objects.Close())
	}
	a.done.Go(a.drain)
	return a, nil
}

// Close stops the drain and detaches the program.
func (a *Agent) Close() error {
	close(a.stop)
	a.done.Wait()
	return errors.Join(a.err, a.link.Close(), a.objects.Close())
}

func (a *Agent) drain() {
	ticker := time.NewTicker(cycle)
	defer ticker.Stop()
	d := drain{
		keys:   make([]referenceRefKey, drainBatch),
		values: make([]referenceRefValue, drainBatch),
	}
	for {
		select {
		case <-ticker.C:
			if err := d.run(&a.objects); err != nil {
				a.err = fmt.Errorf("drain the reference: %w", err)
				return
			}
		case <-a.stop:
			return
		}
	}
}

// drain reads all counters and evicts what is over. The program does not mark closed
// sockets, as the agent's does: here one that nothing was heard of for a whole cycle is
// taken for closed, which is true of the benchmarks' connections.
type drain struct {
	keys   []referenceRefKey
	values []referenceRefValue
	over   []referenceRefKey
}

func (d *drain) run(o *referenceObjects) error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return err
	}
	old := uint64(now.Nano()) - uint64(cycle)
	d.over = d.over[:0]
	var cursor ebpf.MapBatchCursor
	for {
		n, err := o.Stats.BatchLookup(&cursor, d.keys, d.values, nil)
		for i := range n {
			if d.values[i].Touched < old {
				d.over = append(d.over, d.keys[i])
			}
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			break
		}
		if err != nil {
			return err
		}
	}
	if len(d.over) == 0 {
		return nil
	}
	// Properties are under the CPU that saw the socket's first callback only, and another CPU's
	// counters have none: a batch would end at the first key that is not there.
	for i := range d.over {
		for _, m := range []*ebpf.Map{o.Stats, o.Props} {
			if err := m.Delete(&d.over[i]); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				return err
			}
		}
	}
	return nil
}
