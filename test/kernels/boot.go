// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
)

// machine is how QEMU plays a computer of an architecture. All of it is emulated: KVM is
// not to be had in a virtual machine such as CI's.
type machine struct {
	emulator string
	console  string
	options  []string
}

var machines = map[string]machine{
	"amd64": {"qemu-system-x86_64", "ttyS0", nil},
	"arm64": {"qemu-system-aarch64", "ttyAMA0", []string{"-machine", "virt"}},
}

// boot runs a kernel until it switches itself off. What it writes to its console goes to out.
func (m machine) boot(ctx context.Context, kernel, initial string, out io.Writer) error {
	args := append([]string{
		"-n", "10", m.emulator,
		"-accel", "tcg",
		"-cpu", "max",
		"-smp", "2", // what only happens between two CPUs has to happen here too
		"-m", "3G", // the initial file system twice while it is unpacked, and what the tests take
		"-display", "none", "-serial", "stdio", "-monitor", "none", "-nodefaults",
		"-no-reboot", // a panic ends it
		"-kernel", kernel,
		"-initrd", initial,
		// Emulation makes the guards against speculation dear, and guards nothing.
		"-append", "console=" + m.console + " quiet panic=-1 mitigations=off",
	}, m.options...)
	cmd := exec.CommandContext(ctx, "nice", args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run %s: %w", m.emulator, err)
	}
	return nil
}
