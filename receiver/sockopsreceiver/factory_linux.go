// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package sockopsreceiver

import (
	"context"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/identity"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/privileges"
)

func createMetrics(_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Metrics) (receiver.Metrics, error) {
	return newReceiver(set, cfg.(*Config), next, surroundings{
		load: loadKernel, instance: identity.EC2, wall: time.Now, audit: newAudit, track: trackHost, drop: privileges.Drop,
		features: bpf.Features,
	})
}
