// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package health holds the verdicts of the built collector against what was done to real packets:
// kernel, receiver, topology, evidence and inference in one. docs/health-accuracy.md has the
// scenarios and what came of them.
package health

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

func TestMain(m *testing.M) {
	netlab.Main()
	goleak.VerifyTestMain(m)
}
