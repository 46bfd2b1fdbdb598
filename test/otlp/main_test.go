// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package otlp holds examples/otlp against a backend that comes and goes: the collector runs with the file as it is.
package otlp

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const example = "../../examples/otlp"
