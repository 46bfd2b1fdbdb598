// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package sockopsreceiver

import (
	"context"

	"go.opentelemetry.io/otel/metric"

	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/metadata"
)

// beginCounters exports the counters that have no attributes from the start: one that is 0
// and one that does not exist look alike otherwise. Those of the audit, if there is one.
func beginCounters(ctx context.Context, t *metadata.TelemetryBuilder, audited bool) {
	for _, c := range []metric.Int64Counter{
		t.ReceiverSockopsAdoptedSockets,
		t.ReceiverSockopsAdoptionFailures,
		t.ReceiverSockopsHarvestFailures,
		t.ReceiverSockopsPinnedFlowsLost,
		t.ReceiverSockopsPinsReplaced,
		t.ReceiverSockopsPointsLost,
		t.ReceiverSockopsPointsRetried,
		t.ReceiverSockopsRoundsRecovered,
		t.ReceiverSockopsRoundsUncertain,
	} {
		c.Add(ctx, 0)
	}
	if audited {
		t.ReceiverSockopsAuditFailures.Add(ctx, 0)
	}
}
