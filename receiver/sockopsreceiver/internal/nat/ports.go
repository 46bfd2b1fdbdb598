// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package nat

import (
	"fmt"
	"os"
)

// defaultEphemeral is the kernel's own lower bound, if the configured one cannot be read.
const defaultEphemeral = 32768

// firstEphemeralPort is the lower bound of net.ipv4.ip_local_port_range in the
// collector's namespace. Another namespace may have another one; that matters for roles
// that nobody knows only.
func firstEphemeralPort() uint16 {
	content, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return defaultEphemeral
	}
	var low, high uint16
	if _, err := fmt.Sscan(string(content), &low, &high); err != nil {
		return defaultEphemeral
	}
	return low
}
