// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package gateway runs the gateway tier of examples/gateway, every collector a process on a host of its own, and holds
// it against one process that gets the same rounds, and against what the agents have sent when a gateway is killed.
package gateway

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

func TestMain(m *testing.M) {
	netlab.Main()
	goleak.VerifyTestMain(m)
}
