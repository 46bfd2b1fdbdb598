// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nhiprocessor

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/fleet"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/metadatatest"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/report"
)

// A verdict stage says of how many stages it has evidence, and notices when it is fewer.
func TestStagesOfEvidenceAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.Role = roleVerdict })
		table := evidence.NewTable(evidence.Limits{Flows: 1000, Components: 1000, Monitors: 10})
		f, _, _ := fleet.TwoVPCs(1, 4, 1)
		tell := func(stages int) {
			start := time.Now()
			time.Sleep(5 * time.Second)
			for i := range stages {
				w := evidence.NewWindow()
				fleet.Evidence(table, w, f.Window())
				for md := range report.NewWriter(fmt.Sprint("stage-", i), "s", "v").Evidence(w, start, time.Now()) {
					b.consume(md)
				}
			}
		}
		heard := func(want int64) {
			time.Sleep(6500 * time.Millisecond) // twice the lateness and 2 s, and a tick
			synctest.Wait()
			metadatatest.AssertEqualProcessorNhiAgents(t, b.telemetry, []metricdata.DataPoint[int64]{{Value: want}}, anyTime)
			time.Sleep(3500 * time.Millisecond) // to the next full window
		}
		tell(3)
		heard(3)
		tell(2)
		heard(2)
		// Flow points are nobody's evidence here.
		start := time.Now()
		time.Sleep(5 * time.Second)
		md := pmetric.NewMetrics()
		fleet.Points(f.Window(), start, time.Now()).CopyTo(md)
		b.consume(md)
		heard(0)
		b.stop()
	})
}
