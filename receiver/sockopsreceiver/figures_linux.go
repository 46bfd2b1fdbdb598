// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package sockopsreceiver

import (
	"context"
	"errors"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/audit"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/container"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/metadata"
)

// Attribute sets of the counters, made once.
var (
	outcomeOK      = attribute.NewSet(attribute.String("outcome", "ok"))
	outcomeFailed  = attribute.NewSet(attribute.String("outcome", "failed"))
	reasonIdle     = attribute.NewSet(attribute.String("reason", "idle"))
	reasonCapacity = attribute.NewSet(attribute.String("reason", "capacity"))
	reasonNoCgroup = attribute.NewSet(attribute.String("reason", "no_cgroup"))
	reasonNoNames  = attribute.NewSet(attribute.String("reason", "no_names"))
)

// figures are what the receiver's own observable metrics show: as of the last round,
// so that who reads them never meets the source, which may just be closing.
type figures struct {
	audit atomic.Pointer[audit.Report] // nil: none yet

	flows, remembered, overflowed, traced, unseen, refused, lost, sockets, smoothed, cgroups atomic.Int64
}

// register shows the figures until the telemetry is shut down. An error says which are
// not shown.
func (f *figures) register(t *metadata.TelemetryBuilder, capacity, socketsCapacity int) error {
	show := func(n *atomic.Int64) metric.Int64Callback { return observe(n.Load) }
	constant := func(n int) metric.Int64Callback { return observe(func() int64 { return int64(n) }) }
	return errors.Join(
		f.registerAudit(t),
		t.RegisterReceiverSockopsFlowsCallback(show(&f.flows)),
		t.RegisterReceiverSockopsFlowsRememberedCallback(show(&f.remembered)),
		t.RegisterReceiverSockopsFlowsOverflowedCallback(show(&f.overflowed)),
		t.RegisterReceiverSockopsConnectionsTracedCallback(show(&f.traced)),
		t.RegisterReceiverSockopsConnectionsUnseenCallback(show(&f.unseen)),
		t.RegisterReceiverSockopsConnectionsRefusedCallback(show(&f.refused)),
		t.RegisterReceiverSockopsConnectionsLostCallback(show(&f.lost)),
		t.RegisterReceiverSockopsCgroupsCallback(show(&f.cgroups)),
		t.RegisterReceiverSockopsCgroupsCapacityCallback(constant(container.Capacity)),
		t.RegisterReceiverSockopsSocketsCallback(show(&f.sockets)),
		t.RegisterReceiverSockopsRttSmoothedCallback(show(&f.smoothed)),
		t.RegisterReceiverSockopsFlowsCapacityCallback(constant(capacity)),
		t.RegisterReceiverSockopsSocketsCapacityCallback(constant(socketsCapacity)),
	)
}

// observe shows one value.
func observe(value func() int64) metric.Int64Callback {
	return func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(value())
		return nil
	}
}
