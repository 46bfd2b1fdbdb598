// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package gateway

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
)

// busy has every client talk to every server, and hosts of one VPC among each other, so that the gateway between the
// VPCs can be told from the subnets.
func (f *tier) busy(t *testing.T) (stop func() netlab.Report) {
	t.Helper()
	var clients []*netlab.Client
	talk := func(n *netlab.Node, interval time.Duration, to ...*netlab.Node) {
		var targets []netip.AddrPort
		for _, other := range to {
			if other != n {
				targets = append(targets, f.listening[other])
			}
		}
		// 23 segments each way. A connection that waits for its retransmission timer holds up no other.
		c, err := n.StartClient(t.Context(), netlab.ClientConfig{
			Targets: targets, Interval: interval, Concurrency: 16, Upload: netlab.Exactly(32 << 10), Download: netlab.Exactly(32 << 10), Summary: true,
		})
		require.NoError(t, err)
		clients = append(clients, c)
	}
	for _, n := range f.clients {
		talk(n, 20*time.Millisecond, f.servers...)
		talk(n, 100*time.Millisecond, f.clients...)
	}
	for _, n := range f.servers {
		talk(n, 100*time.Millisecond, f.servers...)
	}
	return func() (sum netlab.Report) {
		for _, c := range clients {
			r, err := c.Stop(t.Context())
			require.NoError(t, err)
			sum.Opened, sum.Written, sum.Read = sum.Opened+r.Opened, sum.Written+r.Written, sum.Read+r.Read
		}
		return sum
	}
}

// verdict is all that was said of one window: the monitor's sums, its state and cause, and each component's evidence.
type verdict struct {
	state, cause string
	said         map[string]float64
}

// verdicts reads the windows that were decided, by their ends.
func verdicts(t *testing.T, p *collector.OnNode) map[pcommon.Timestamp]verdict {
	t.Helper()
	all := map[pcommon.Timestamp]verdict{}
	for _, point := range collector.Points(p.Read(t)) {
		v, ok := all[point.End]
		if !ok {
			v.said = map[string]float64{}
		}
		switch point.Metric {
		case flowattr.MetricMonitorHealthState:
			if point.Value == 1 {
				v.state = point.Attribute(flowattr.HealthState)
			}
		case flowattr.MetricMonitorHealthCause:
			if point.Value == 1 {
				v.cause = point.Attribute(flowattr.HealthCause)
			}
		default:
			v.said[fmt.Sprint(point.Metric, point.Attributes.AsRaw())] += point.Value
		}
		all[point.End] = v
	}
	return all
}

// The same rounds go to two gateways and the verdict behind them, and to one process that does it all.
func TestVerdictsAndTotalsOfTheTierAreThoseOfOneProcess(t *testing.T) {
	f := newTier(t)
	f.startVerdict(t)
	f.startAlone(t)
	f.startGateways(t, "")
	f.startAgents(t, ", otlp_grpc/alone", fmt.Sprintf("  otlp_grpc/alone: {endpoint: %q, tls: {insecure: true}, sending_queue: {num_consumers: 1}}", grpc(f.alone)))
	stop := f.busy(t)
	f.caughtUp(t)
	for _, n := range f.alive() {
		require.NotZero(t, f.running[n].Telemetry(t)["otelcol_receiver_accepted_metric_points"], "%s has no agent", n.Name())
	}

	const windows = 4
	time.Sleep((windows + 1) * window)
	began := time.Now()
	fault, err := f.trunk.Fault(netlab.Loss{Rate: 0.02, Port: port}, netlab.Both)
	require.NoError(t, err)
	time.Sleep((windows + 1) * window)
	cleared := time.Now()
	require.NoError(t, fault.Clear())
	apps := stop()
	time.Sleep(2*lateness + 2*window + 4*time.Second) // the verdict waits for the gateways, they for the agents

	tier, one := verdicts(t, f.running[f.verdict]), verdicts(t, f.running[f.alone])
	healthy, degraded, compared := 0, 0, 0
	for _, end := range slices.Sorted(maps.Keys(one)) {
		at := end.AsTime()
		alone, together := one[end], tier[end]
		if alone.state == "" || at.After(cleared) {
			continue // batches of a shutdown, windows of hosts that end
		}
		compared++
		if !assert.Equal(t, alone, together, "window of %s", at.Format("04:05")) {
			continue
		}
		t.Logf("%s %s, %s: %d series equal", at.Format("04:05"), alone.state, alone.cause, len(alone.said))
		switch {
		case at.Before(began) && alone.state == flowattr.StateHealthy && alone.cause == flowattr.CauseNone:
			healthy++
		case at.After(began) && alone.state == flowattr.StateDegraded && alone.cause == flowattr.CauseNetwork:
			degraded++
			assert.Equal(t, 1.0, together.said[fmt.Sprint(flowattr.MetricComponentHealthIndicator, map[string]any{flowattr.ComponentType: flowattr.ComponentTransitGateway, flowattr.ComponentID: "tgw-hub"})],
				"window of %s: the transit gateway is suspected", at.Format("04:05"))
		case at.Before(began):
			assert.NotEqual(t, flowattr.StateDegraded, alone.state, "window of %s: there was no fault", at.Format("04:05"))
		}
	}
	assert.GreaterOrEqual(t, healthy, 2, "healthy windows before the fault")
	assert.GreaterOrEqual(t, degraded, 2, "degraded windows in the fault")
	t.Logf("%d windows compared: %d healthy, %d degraded", compared, healthy, degraded)

	// Totals: applications, agents, gateways, one process.
	sum := func(total func(host string) int64) (all int64) {
		for _, n := range f.watched() {
			all += total("i-" + n.Name())
		}
		return all
	}
	read := f.running[f.alone].Output
	f.running[f.alone].Output = read + ".flows"
	flows := collector.Points(f.running[f.alone].Read(t))
	f.running[f.alone].Output = read
	for _, metric := range []string{
		flowattr.MetricSent, flowattr.MetricReceived, flowattr.MetricSegmentsSent, flowattr.MetricSegmentsReceived, flowattr.MetricRetransmissions,
		flowattr.MetricTimeouts, flowattr.MetricConnectionsOpened, flowattr.MetricConnectionsClosed, flowattr.MetricRTT,
	} {
		want := sum(func(host string) int64 { return f.witness.Total(host, metric) })
		assert.Equal(t, want, sum(func(host string) int64 { return f.backend.Total(host, metric) }), "%s: gateways and agents", metric)
		assert.EqualValues(t, want, collector.Sum(flows, metric), "%s: one process and agents", metric)
		assert.NotZero(t, want, metric)
	}
	assert.Equal(t, apps.Written+apps.Read, sum(func(host string) int64 { return f.witness.Total(host, flowattr.MetricSent) }), "bytes: agents and applications")
	assert.EqualValues(t, 2*apps.Opened, sum(func(host string) int64 { return f.witness.Total(host, flowattr.MetricConnectionsOpened) }), "connections at both ends")
	assert.Zero(t, f.backend.Noted().Nowhere, "flows without both subnets")
}
