// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package awsagent holds examples/aws-agent against reports as the AWS Network Flow Monitor agent sends them: gzipped OTLP,
// signed, to /publish of the collector that runs with the file as it is.
package awsagent

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const example = "../../examples/aws-agent"
