// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package cloudwatch holds examples/cloudwatch against what CloudWatch publishes of itself: the collector runs with the
// file as it is and speaks to a stand-in of the CloudWatch Logs API, which refuses what the real one refuses, and every
// event has to be a document of the embedded metric format from which the metrics come out as they went in.
package cloudwatch

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const example = "../../examples/cloudwatch"
