// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package prometheus holds examples/prometheus and dashboards/ against a real Prometheus server: the collector runs
// with the files as they are, and the server's own arithmetic has to give what was put in.
package prometheus

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	example    = "../../examples/prometheus"
	dashboards = "../../dashboards"
)
