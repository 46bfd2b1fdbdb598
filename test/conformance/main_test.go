// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package conformance holds a program that counts TCP connections against what others say of
// the same connections: the kernel at the end of each socket, its counters of the network
// namespace, and the applications. The program is any that writes the metrics of the sockops
// receiver to a file; README.md says how it is run.
package conformance

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

func TestMain(m *testing.M) {
	netlab.Main()
	goleak.VerifyTestMain(m)
}
