// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/golden"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/pdatatest/pmetrictest"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/metadata"
)

var update = flag.Bool("update", false, "write the golden outputs anew")

// Each folder is a case: a topology, monitors where there are any, what comes in and
// what goes out.
func TestGolden(t *testing.T) {
	cases, err := filepath.Glob("testdata/*/input.yaml")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(cases), 15)
	for _, input := range cases {
		dir := filepath.Dir(input)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			cfg := createDefaultConfig().(*Config)
			if path := filepath.Join(dir, "topology.yaml"); exists(path) {
				cfg.Topology.File = configoptional.Some(FileConfig{Path: path})
			}
			if path := filepath.Join(dir, "monitors.yaml"); exists(path) {
				cfg.MonitorsFile = path
			}
			require.NoError(t, cfg.Validate())
			sink := new(consumertest.MetricsSink)
			p, err := NewFactory().CreateMetrics(t.Context(), processortest.NewNopSettings(metadata.Type), cfg, sink)
			require.NoError(t, err)
			require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
			in, err := golden.ReadMetrics(input)
			require.NoError(t, err)
			require.NoError(t, p.ConsumeMetrics(t.Context(), in))
			require.NoError(t, p.Shutdown(t.Context()))
			require.Len(t, sink.AllMetrics(), 1)
			got := sink.AllMetrics()[0]
			output := filepath.Join(dir, "output.yaml")
			if *update {
				require.NoError(t, golden.WriteMetricsToFile(output, got))
			}
			want, err := golden.ReadMetrics(output)
			require.NoError(t, err)
			require.NoError(t, pmetrictest.CompareMetrics(want, got,
				pmetrictest.IgnoreTimestamp(), pmetrictest.IgnoreStartTimestamp(),
				pmetrictest.IgnoreMetricDataPointsOrder(), pmetrictest.IgnoreMetricsOrder(), pmetrictest.IgnoreResourceMetricsOrder()))
		})
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
