// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/otel-flowmonitor/flowmonitor/test/kernels/plan"
)

// mount makes the file systems that the tests look for, where distributions have them.
func mount() {
	for _, m := range []struct{ kind, at string }{
		{"proc", "/proc"},
		{"sysfs", "/sys"},
		{"devtmpfs", "/dev"},
		{"tmpfs", "/tmp"},
		{"tmpfs", "/run"},
		{"cgroup2", "/sys/fs/cgroup"},
		{"bpf", "/sys/fs/bpf"},
	} {
		err := os.MkdirAll(m.at, 0o755)
		if err == nil {
			err = unix.Mount(m.kind, m.at, m.kind, 0, "")
		}
		if err != nil && !errors.Is(err, unix.EBUSY) { // /dev is mounted by the kernel, if it is made so
			problem(fmt.Errorf("mount %s: %w", m.at, err))
		}
	}
}

// prepare makes the rest: loopback, the environment, room for many sockets and
// descriptors.
func prepare() {
	os.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
	os.Setenv("HOME", "/root")
	os.Setenv("FLOWMONITOR_COLLECTOR", plan.Collector)
	os.Setenv("CI", "true") // what is skipped elsewhere must run here
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		problem(fmt.Errorf("bring up the loopback: %w", err))
	}
	// Sized by memory, the kernel would reset connections in place of keeping them in
	// TIME_WAIT, and the tests would count resets.
	const timeWait = "/proc/sys/net/ipv4/tcp_max_tw_buckets"
	if err := os.WriteFile(timeWait, []byte("262144"), 0); err != nil {
		problem(fmt.Errorf("raise the number of connections in TIME_WAIT: %w", err))
	}
	const descriptors = 1 << 16
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: descriptors, Max: descriptors}); err != nil {
		problem(fmt.Errorf("raise the limit of descriptors: %w", err))
	}
}
