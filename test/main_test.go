// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package test holds the built collector against what others say of the same
// connections: the kernel, the applications, a Prometheus server.
package test

import (
	"runtime"
	"testing"

	"go.uber.org/goleak"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

// The main thread never ends (it is parked), and /proc/<pid> shows its namespaces and descriptors: no goroutine of a test
// that changes those of its thread may get it. Locked in init, it is the main goroutine's for good.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	netlab.Main()
	goleak.VerifyTestMain(m)
}
