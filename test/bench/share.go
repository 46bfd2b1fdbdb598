// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

const iperfPort = 702

// share is how much of the machine's CPU time the programs take while iperf3 sends as fast as
// it can over eight streams.
func share(m *measurement) error {
	l, err := m.oneHost()
	if err != nil {
		return err
	}
	defer l.Close()
	server := l.server.Command(m.ctx, "iperf3", "--server", "--port", strconv.Itoa(iperfPort))
	if err := server.Start(); err != nil {
		return fmt.Errorf("%w (package iperf3)", err)
	}
	defer func() {
		server.Process.Kill()
		server.Wait()
	}()
	for _, c := range []contender{theMonitor, theReference} {
		samples, err := m.shareOf(l, c)
		if err != nil {
			return err
		}
		var goal *target
		if c.name == theMonitor.name {
			goal = atMost(0.3).noisy()
		}
		m.samples("CPU time of the machine in the BPF programs, "+c.name, "%", samples, goal)
	}
	return nil
}

// shareOf measures some windows of one iperf3 run.
func (m *measurement) shareOf(l *lab, c contender) (samples []float64, err error) {
	window, n := pick(m, 10*time.Second, time.Second), pick(m, 3, 1)
	running, err := c.start(l.Cgroup())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, running.Close()) }()
	statistics, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		return nil, err
	}
	defer statistics.Close()

	const slack = 2 // seconds before and after the windows
	seconds := int(window.Seconds())*n + 2*slack
	ctx, cancel := context.WithCancel(m.ctx)
	defer cancel()
	client := l.client.Command(ctx, "iperf3", "--client", "127.0.0.1", "--port", strconv.Itoa(iperfPort),
		"--parallel", strconv.Itoa(streams), "--time", strconv.Itoa(seconds))
	if err := client.Start(); err != nil {
		return nil, err
	}
	defer client.Wait()
	defer cancel() // before the wait, when something failed
	time.Sleep(slack * time.Second)
	for range n {
		before, err := programsOf(os.Getpid())
		if err != nil {
			return nil, err
		}
		began := time.Now()
		select {
		case <-time.After(window):
		case <-m.ctx.Done():
			return nil, m.ctx.Err()
		}
		after, err := programsOf(os.Getpid())
		if err != nil {
			return nil, err
		}
		capacity := time.Since(began) * time.Duration(runtime.NumCPU())
		used := after.since(before)
		if used.runs == 0 {
			return nil, errors.New("no program ran: iperf3 sent nothing")
		}
		samples = append(samples, 100*used.time.Seconds()/capacity.Seconds())
	}
	return samples, client.Wait()
}
