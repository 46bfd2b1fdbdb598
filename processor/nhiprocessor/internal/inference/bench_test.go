// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package inference_test

import (
	"testing"

	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/fleet"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/inference"
)

// BenchmarkExplain explains windows of about 100,000 rows between 450 hosts.
func BenchmarkExplain(b *testing.B) {
	for name, fault := range map[string][]fleet.Fault{
		"clean": nil,
		"fault": {fleet.On("az_pair/az1:az2", fleet.Loss{Rate: 0.01, Burst: 3})},
	} {
		b.Run(name, func(b *testing.B) {
			f, _ := fleet.ThreeAZs(1, 105, 0.1)
			f.Faults = fault
			p := fleet.Problem(f.Window())
			b.ReportAllocs()
			for b.Loop() {
				var baseline inference.Baseline
				inference.Explain(p, 1e-4, &baseline)
			}
			b.ReportMetric(float64(len(p.Rows)), "rows")
		})
	}
}
