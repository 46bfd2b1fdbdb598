// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package sizing feeds a gateway and a verdict stage of examples/gateway with the rounds of many agents, at a known
// rate, and measures what they take. docs/sizing.md has the figures, and what follows from them.
package sizing

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

func TestMain(m *testing.M) {
	netlab.Main()
	goleak.VerifyTestMain(m)
}
