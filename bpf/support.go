// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

// needed are the capabilities without which nothing can be loaded or attached.
// CAP_SYS_ADMIN stands for each of them (bpf_capable() and its kin in the kernel).
var needed = []struct {
	name string
	bit  uint
}{
	{"CAP_BPF", unix.CAP_BPF},             // programs and maps
	{"CAP_PERFMON", unix.CAP_PERFMON},     // iterators, reading tcp_sock
	{"CAP_NET_ADMIN", unix.CAP_NET_ADMIN}, // sockops programs
}

// missing names the needed capabilities that this process does not have.
func missing() ([]string, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return nil, fmt.Errorf("read the capabilities of this process: %w", err)
	}
	return lacking(uint64(data[0].Effective) | uint64(data[1].Effective)<<32), nil
}

func lacking(effective uint64) []string {
	if effective&(1<<unix.CAP_SYS_ADMIN) != 0 {
		return nil
	}
	var names []string
	for _, c := range needed {
		if effective&(1<<c.bit) == 0 {
			names = append(names, c.name)
		}
	}
	return names
}

// explain adds the remedy to an error of the kernel.
func explain(err error) error {
	denied := errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)
	if names, capErr := missing(); denied && capErr == nil && len(names) > 0 {
		// Without the library's own guess, which is about kernels before 5.11.
		return fmt.Errorf("%w (missing: %s; run as root, or grant CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN)", permission(err), strings.Join(names, ", "))
	}
	if verifier := (*ebpf.VerifierError)(nil); errors.As(err, &verifier) {
		return fmt.Errorf("%w (the last lines of the verifier: %s)", err, tail(verifier.Log, 3))
	}
	if denied {
		return fmt.Errorf("%w (all capabilities are there: another sockops program may hold the cgroup or one above it for itself, attached without BPF_F_ALLOW_MULTI; or a seccomp filter, kernel lockdown or user namespace refuses it)", err)
	}
	return err
}

// permission is the kernel's part of an error.
func permission(err error) error {
	if errors.Is(err, unix.EACCES) {
		return unix.EACCES
	}
	return unix.EPERM
}

func tail(lines []string, n int) string {
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}

// tooOld says that the programs need a newer kernel: sk_storage from iterators came with
// 5.11, and 5.15 is the oldest long-term kernel that has all we use.
func tooOld() error {
	const oldest = 5<<16 | 15<<8
	if v, err := features.LinuxVersionCode(); err == nil && v < oldest {
		return fmt.Errorf("kernel %d.%d is too old (needs 5.15 or newer)", v>>16, v>>8&0xff)
	}
	return nil
}

// Supported says in one sentence why this process cannot count connections here: an old
// kernel, no BTF, no cgroup2 mount, a missing capability; nil if nothing stands against it.
func Supported() error {
	if err := tooOld(); err != nil {
		return err
	}
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		return fmt.Errorf("no BTF of the kernel: %w (needs a kernel built with CONFIG_DEBUG_INFO_BTF)", err)
	}
	if _, _, err := findCgroup(""); err != nil {
		return err
	}
	names, err := missing()
	if err == nil && len(names) > 0 {
		err = fmt.Errorf("missing capabilities: %s (run as root, or grant them)", strings.Join(names, ", "))
	}
	return err
}
