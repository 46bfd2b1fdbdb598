// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nfmagentprocessor

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/otel-flowmonitor/flowmonitor/processor/nfmagentprocessor/internal/metadatatest"
)

// Each counter of metadata.yaml that has no attributes is exported as 0 from the start.
func TestCountersWithoutAttributesAreExportedFromTheStart(t *testing.T) {
	definition, err := confmaptest.LoadConf("metadata.yaml")
	require.NoError(t, err)
	definition, err = definition.Sub("telemetry::metrics")
	require.NoError(t, err)
	tel := componenttest.NewTelemetry()
	p, err := NewFactory().CreateMetrics(t.Context(), metadatatest.NewSettings(tel), createDefaultConfig(), consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))

	var counters int
	for name, raw := range definition.ToStringMap() {
		m := raw.(map[string]any)
		sum, isSum := m["sum"].(map[string]any)
		if !isSum || sum["async"] == true || m["attributes"] != nil {
			continue
		}
		counters++
		got, err := tel.GetMetric("otelcol_" + name)
		if !assert.NoError(t, err) {
			continue
		}
		points := got.Data.(metricdata.Sum[int64]).DataPoints
		assert.Len(t, points, 1, name)
		assert.Zero(t, points[0].Value, name)
	}
	assert.Equal(t, 1, counters)
	require.NoError(t, p.Shutdown(t.Context()))
	require.NoError(t, tel.Shutdown(t.Context()))
}
