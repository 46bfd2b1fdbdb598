// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sockopsreceiver

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/metadatatest"
)

// observed runs a receiver over k for some minutes, hands what it then says of itself
// to check, and stops it.
func observed(t *testing.T, k *fakeKernel, next consumer.Metrics, minutes int, change func(*Config), check func(*testing.T, *componenttest.Telemetry)) {
	synctest.Test(t, func(t *testing.T) {
		tel := componenttest.NewTelemetry()
		r := newTestReceiver(t, k, next, change)
		set := metadatatest.NewSettings(tel)
		observed, err := newReceiver(set, r.config, next, r.surroundings)
		require.NoError(t, err)
		require.NoError(t, observed.Start(t.Context(), componenttest.NewNopHost()))
		time.Sleep(time.Duration(minutes)*time.Minute + time.Second)
		synctest.Wait()
		check(t, tel)
		_ = observed.Shutdown(t.Context()) // some cases end with a refusal
		require.NoError(t, tel.Shutdown(t.Context()))
	})
}

func number(n int64, attrs ...attribute.KeyValue) []metricdata.DataPoint[int64] {
	return []metricdata.DataPoint[int64]{{Value: n, Attributes: attribute.NewSet(attrs...)}}
}

var (
	anyTime  = metricdatatest.IgnoreTimestamp()
	noTraces = metricdatatest.IgnoreExemplars()
)

func TestTelemetryOfWhatIsHeldAndWhatCouldNotBeCounted(t *testing.T) {
	k := &fakeKernel{
		rounds: [][]counted{
			{{web, bpf.Flow{Sent: 1}, nil}, {api, bpf.Flow{Sent: 1}, nil}},
			{{web, bpf.Flow{Sent: 1}, nil}},
		},
		stats: bpf.Stats{Traced: 2, Unseen: 3, Lost: 4, Overflowed: 5, SmoothedRTT: 7},
	}
	observed(t, k, consumertest.NewNop(), 2, func(c *Config) { c.MaxFlows = 40 }, func(t *testing.T, tel *componenttest.Telemetry) {
		metadatatest.AssertEqualReceiverSockopsFlows(t, tel, number(1), anyTime)
		metadatatest.AssertEqualReceiverSockopsFlowsRemembered(t, tel, number(2), anyTime)
		metadatatest.AssertEqualReceiverSockopsFlowsCapacity(t, tel, number(40), anyTime)
		metadatatest.AssertEqualReceiverSockopsFlowsOverflowed(t, tel, number(5), anyTime)
		metadatatest.AssertEqualReceiverSockopsConnectionsTraced(t, tel, number(2), anyTime)
		metadatatest.AssertEqualReceiverSockopsConnectionsUnseen(t, tel, number(3), anyTime)
		metadatatest.AssertEqualReceiverSockopsConnectionsLost(t, tel, number(4), anyTime)
		metadatatest.AssertEqualReceiverSockopsRttSmoothed(t, tel, number(7), anyTime)

		got, err := tel.GetMetric("otelcol_receiver_sockops_round_duration")
		require.NoError(t, err)
		assert.EqualValues(t, 2, got.Data.(metricdata.Histogram[float64]).DataPoints[0].Count)
		got, err = tel.GetMetric("otelcol_receiver_accepted_metric_points")
		require.NoError(t, err)
		assert.EqualValues(t, 3, got.Data.(metricdata.Sum[int64]).DataPoints[0].Value)
	})
}

func TestTelemetryOfTheAdoption(t *testing.T) {
	k := &fakeKernel{adopt: func(context.Context) (bpf.AdoptStats, error) {
		return bpf.AdoptStats{Adopted: 12, Namespaces: 5, NamespacesFailed: 2}, errKernel
	}}
	observed(t, k, consumertest.NewNop(), 0, func(*Config) {}, func(t *testing.T, tel *componenttest.Telemetry) {
		metadatatest.AssertEqualReceiverSockopsAdoptedSockets(t, tel, number(12), anyTime)
		metadatatest.AssertEqualReceiverSockopsAdoptionFailures(t, tel, number(1), anyTime)
		metadatatest.AssertEqualReceiverSockopsAdoptionNamespaces(t, tel, append(
			number(3, attribute.String("outcome", "ok")),
			number(2, attribute.String("outcome", "failed"))...), anyTime)
	})
}

func TestAnAdoptionThatTheShutdownInterruptsIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tel := componenttest.NewTelemetry()
		k := &fakeKernel{adopt: func(ctx context.Context) (bpf.AdoptStats, error) {
			<-ctx.Done()
			return bpf.AdoptStats{Adopted: 1}, ctx.Err()
		}}
		plain := newTestReceiver(t, k, consumertest.NewNop())
		r, err := newReceiver(metadatatest.NewSettings(tel), plain.config, plain.next, plain.surroundings)
		require.NoError(t, err)
		require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
		require.NoError(t, r.Shutdown(t.Context()))
		metadatatest.AssertEqualReceiverSockopsAdoptionFailures(t, tel, number(0), anyTime)
		metadatatest.AssertEqualReceiverSockopsAdoptedSockets(t, tel, number(1), anyTime)
		require.NoError(t, tel.Shutdown(t.Context()))
	})
}

func TestTelemetryOfRefusals(t *testing.T) {
	p := &picky{answer: func(n int) error {
		switch n {
		case 0:
			return errFull // 2 points
		case 1:
			return consumererror.NewPermanent(errFull) // the same and 1 more
		}
		return nil
	}}
	k := &fakeKernel{
		rounds: [][]counted{
			{{web, bpf.Flow{Sent: 1, Received: 1}, nil}},
			{{web, bpf.Flow{Sent: 1}, nil}, {api, bpf.Flow{Sent: 1}, nil}},
		},
		harvest: func(n int) error {
			if n == 2 {
				return errKernel
			}
			return nil
		},
	}
	observed(t, k, p, 3, func(*Config) {}, func(t *testing.T, tel *componenttest.Telemetry) {
		metadatatest.AssertEqualReceiverSockopsPointsRetried(t, tel, number(2), anyTime, noTraces)
		metadatatest.AssertEqualReceiverSockopsPointsLost(t, tel, number(3), anyTime, noTraces)
		metadatatest.AssertEqualReceiverSockopsHarvestFailures(t, tel, number(1), anyTime)
	})
}

func TestTelemetryOfStreamsForgotten(t *testing.T) {
	var rounds [][]counted
	for n := range 10 {
		c := counted{key: web, flow: bpf.Flow{Sent: 1}}
		c.key.PeerPort = uint16(n + 1)
		rounds = append(rounds, []counted{c})
	}
	// After 8 minutes the flows of minutes 1 to 4 were silent for more than 3.
	few := func(c *Config) { c.MaxFlows = 1; c.IdleTimeout = 3 * time.Minute }
	observed(t, &fakeKernel{rounds: rounds[:7]}, consumertest.NewNop(), 8, few, func(t *testing.T, tel *componenttest.Telemetry) {
		metadatatest.AssertEqualReceiverSockopsStreamsForgotten(t, tel, append(
			number(4, attribute.String("reason", "idle")),
			number(0, attribute.String("reason", "capacity"))...), anyTime)
	})
	// One flow, and the room of the 6 overflow flows: 3 of 10 are too many.
	patient := func(c *Config) { c.MaxFlows = 1 }
	observed(t, &fakeKernel{rounds: rounds}, consumertest.NewNop(), 11, patient, func(t *testing.T, tel *componenttest.Telemetry) {
		metadatatest.AssertEqualReceiverSockopsStreamsForgotten(t, tel, append(
			number(0, attribute.String("reason", "idle")),
			number(3, attribute.String("reason", "capacity"))...), anyTime)
	})
}

func TestOverflowsOfTheReceiverAndOfTheKernelAreOneFigure(t *testing.T) {
	p := &picky{answer: func(int) error { return errFull }}
	k := &fakeKernel{
		rounds: [][]counted{{{web, bpf.Flow{Sent: 1}, nil}}, {{api, bpf.Flow{Sent: 1}, nil}}},
		stats:  bpf.Stats{Overflowed: 5},
	}
	observed(t, k, p, 2, func(c *Config) { c.MaxFlows = 1 }, func(t *testing.T, tel *componenttest.Telemetry) {
		metadatatest.AssertEqualReceiverSockopsFlowsOverflowed(t, tel, number(6), anyTime)
	})
}
