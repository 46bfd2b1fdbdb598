// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package sockopsreceiver

import (
	"go.opentelemetry.io/collector/receiver"

	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/metadata"
)

// NewFactory creates the factory of the sockops receiver. Elsewhere than on Linux the
// factory exists, but makes no receiver.
func NewFactory() receiver.Factory {
	return receiver.NewFactory(
		metadata.Type,
		createDefaultConfig,
		receiver.WithMetrics(createMetrics, metadata.MetricsStability),
	)
}
