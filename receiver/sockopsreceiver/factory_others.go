// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package sockopsreceiver

import (
	"context"
	"fmt"
	"runtime"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
)

func createMetrics(context.Context, receiver.Settings, component.Config, consumer.Metrics) (receiver.Metrics, error) {
	return nil, fmt.Errorf("the sockops receiver cannot run on %s: %w", runtime.GOOS, bpf.Supported())
}
