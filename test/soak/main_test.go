// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package soak runs agents, gateways and a verdict stage (examples/gateway) on real connections for as long as
// FLOWMONITOR_SOAK says, with one fault after the other, and holds what has reached the backend against what
// applications and kernel counted.
package soak

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

func TestMain(m *testing.M) {
	netlab.Main()
	goleak.VerifyTestMain(m)
}
