// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/test/bench/reference"
)

// contender is something that watches the connections below a cgroup.
type contender struct {
	name  string
	start func(cgroup string) (io.Closer, error)
}

var (
	// theEmpty is the floor: what the kernel itself spends on calling a sockops program.
	theEmpty     = contender{"empty program", startEmpty}
	theReference = contender{"reference", func(cgroup string) (io.Closer, error) { return reference.Start(cgroup) }}
	theMonitor   = monitorWith("flow monitor", func(*bpf.Options) {})

	// What the receiver does only when asked to.
	theOptions = []contender{
		monitorWith("detail: limits", func(o *bpf.Options) { o.Detail = bpf.DetailLimits }),
		monitorWith("detail: retransmit_type", func(o *bpf.Options) { o.Detail = bpf.DetailRetransmitType }),
		monitorWith("detail: zero_windows", func(o *bpf.Options) { o.Detail = bpf.DetailZeroWindows }),
		monitorWith("detail: ecn", func(o *bpf.Options) { o.Detail = bpf.DetailECN }),
		// Each young connection is a flow of its own for a round: of two ends, some 15,000 a second.
		monitorWith("nat", func(o *bpf.Options) { o.NAT, o.MaxFlows = true, 131072 }),
	}
)

// monitorWith is flow monitor with the receiver's defaults but for some options.
func monitorWith(name string, change func(*bpf.Options)) contender {
	return contender{name, func(cgroup string) (io.Closer, error) {
		o := bpf.Options{CgroupPath: cgroup, MaxFlows: 16384, MaxSockets: 1 << 19, Containers: true}
		change(&o)
		return startMonitor(o)
	}}
}

// monitor is flow monitor's kernel side, harvested as the receiver does it, but every second:
// the shortest interval that the receiver takes, a thirtieth of its default.
type monitor struct {
	kernel *bpf.Sockops
	stop   chan struct{}
	done   sync.WaitGroup
	err    error // of the harvests, once they have ended
}

func startMonitor(o bpf.Options) (*monitor, error) {
	kernel, err := bpf.Load(o)
	if err != nil {
		return nil, err
	}
	m := &monitor{kernel: kernel, stop: make(chan struct{})}
	m.done.Go(func() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for m.err == nil {
			select {
			case <-ticker.C:
				m.err = kernel.Harvest(func(*bpf.FlowKey, *bpf.Flow, *bpf.Detail) {})
			case <-m.stop:
				return
			}
		}
	})
	return m, nil
}

// Close takes care that nothing went unseen: a figure for connections that were not counted
// would be too low.
func (m *monitor) Close() error {
	close(m.stop)
	m.done.Wait()
	st, err := m.kernel.Stats()
	if st.Unseen > 0 || st.Refused > 0 || st.Overflowed > 0 || st.Traced > 0 {
		err = errors.Join(err, fmt.Errorf("the kernel side could not do all its work: %+v", st))
	}
	return errors.Join(m.err, err, m.kernel.Close())
}

// closers closes in order.
type closers []io.Closer

func (cs closers) Close() error {
	var errs []error
	for _, c := range cs {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

func startEmpty(cgroup string) (io.Closer, error) {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "empty", Type: ebpf.SockOps, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()},
	})
	if err != nil {
		return nil, fmt.Errorf("load the empty program: %w", err)
	}
	l, err := link.AttachCgroup(link.CgroupOptions{Path: cgroup, Attach: ebpf.AttachCGroupSockOps, Program: p})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("attach the empty program: %w", err), p.Close())
	}
	return closers{l, p}, nil
}

// spent runs a workload under a contender and gives what the contender's programs took. A
// tenth of the work goes before, unmeasured: storage and caches are then as in a long run.
func (c contender) spent(cgroup string, work func(share float64) error) (cost programs, err error) {
	running, err := c.start(cgroup)
	if err != nil {
		return cost, fmt.Errorf("%s: %w", c.name, err)
	}
	defer func() {
		if e := running.Close(); e != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", c.name, e))
		}
	}()
	statistics, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		return cost, fmt.Errorf("enable BPF statistics: %w", err)
	}
	defer statistics.Close()
	if err := work(0.1); err != nil {
		return cost, err
	}
	before, err := programsOf(os.Getpid())
	if err != nil {
		return cost, err
	}
	if err := work(1); err != nil {
		return cost, err
	}
	after, err := programsOf(os.Getpid())
	return after.since(before), err
}
