// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sockopsreceiver

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/metadata"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/metadatatest"
)

// Each counter of metadata.yaml that has no attributes is exported as 0 from the start.
func TestCountersWithoutAttributesAreExportedFromTheStart(t *testing.T) {
	definition, err := confmaptest.LoadConf("metadata.yaml")
	require.NoError(t, err)
	definition, err = definition.Sub("telemetry::metrics")
	require.NoError(t, err)
	for _, audited := range []bool{true, false} {
		tel := componenttest.NewTelemetry()
		builder, err := metadata.NewTelemetryBuilder(metadatatest.NewSettings(tel).TelemetrySettings)
		require.NoError(t, err)
		beginCounters(t.Context(), builder, audited)
		var counters int
		for name, raw := range definition.ToStringMap() {
			m := raw.(map[string]any)
			sum, isSum := m["sum"].(map[string]any)
			if !isSum || sum["async"] == true || m["attributes"] != nil {
				continue
			}
			counters++
			got, err := tel.GetMetric("otelcol_" + name)
			if name == "receiver_sockops_audit_failures" && !audited {
				assert.Error(t, err, "no audit, no metric of it")
				continue
			}
			if !assert.NoError(t, err) {
				continue
			}
			points := got.Data.(metricdata.Sum[int64]).DataPoints
			assert.Len(t, points, 1, name)
			assert.Zero(t, points[0].Value, name)
		}
		assert.Equal(t, 10, counters)
		builder.Shutdown()
		require.NoError(t, tel.Shutdown(t.Context()))
	}
}

func TestTheReceiverExportsItsFailuresAs0FromTheStart(t *testing.T) {
	observed(t, &fakeKernel{}, consumertest.NewNop(), 0, func(*Config) {}, func(t *testing.T, tel *componenttest.Telemetry) {
		metadatatest.AssertEqualReceiverSockopsHarvestFailures(t, tel, number(0), anyTime, noTraces)
		metadatatest.AssertEqualReceiverSockopsPointsLost(t, tel, number(0), anyTime, noTraces)
	})
}
