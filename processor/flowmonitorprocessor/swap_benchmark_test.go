// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/otel-flowmonitor/flowmonitor/internal/cputime"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ipranges"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/metadata"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/monitors"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// latencies are what batches took: by the clock on the wall, and of the thread that
// worked on them, the garbage collector's demands on it included.
type latencies struct{ wall, thread []time.Duration }

func p99(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)*99/100]
}

// BenchmarkSwap lets 100,000 flows of 100 hosts stream by at the pace of their agents, first undisturbed
// and then while the topology is compiled anew and swapped, as often as that goes when a tenth of a core goes
// into it. One operation is ten seconds of each.
func BenchmarkSwap(b *testing.B) {
	for _, vpcs := range []int{200, 2000} {
		b.Run(fmt.Sprintf("%d interfaces", vpcs*perVPC), func(b *testing.B) {
			f := fleet{vpcs: vpcs}
			p, err := newFlowMonitor(createDefaultConfig().(*Config), processortest.NewNopSettings(metadata.Type).TelemetrySettings)
			require.NoError(b, err)
			model := f.topology()
			set := monitors.New(definitions(20))
			swap := func() {
				p.engine.Store(newEngine(topology.Build(model, nil), ipranges.Shipped(), set, AttributesConfig{Path: true, Monitors: true}, defaultMaxCachedFlows))
			}
			swap()
			const hosts = 100
			batches := make([][]byte, hosts)
			for i := range batches {
				batches[i] = f.batch(i, 1000, 1)
				_, err := p.process(b.Context(), decode(batches[i]))
				require.NoError(b, err)
			}
			stream := func(d time.Duration) (l latencies) {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				for i, end := 0, time.Now().Add(d); time.Now().Before(end); i++ {
					md := decode(batches[i%hosts])
					wall, thread := time.Now(), cputime.Thread()
					if _, err := p.process(b.Context(), md); err != nil {
						b.Error(err)
					}
					l.thread = append(l.thread, cputime.Thread()-thread)
					l.wall = append(l.wall, time.Since(wall))
					time.Sleep(time.Millisecond)
				}
				return l
			}
			swaps := 0
			var took time.Duration
			var still, swapped latencies
			for b.Loop() {
				l := stream(10 * time.Second)
				still.wall, still.thread = append(still.wall, l.wall...), append(still.thread, l.thread...)
				stop, done := make(chan struct{}), make(chan struct{})
				go func() {
					defer close(done)
					for {
						begun := time.Now()
						swap()
						one := time.Since(begun)
						took += one
						swaps++
						select {
						case <-stop:
							return
						case <-time.After(9 * one):
						}
					}
				}()
				l = stream(10 * time.Second)
				swapped.wall, swapped.thread = append(swapped.wall, l.wall...), append(swapped.thread, l.thread...)
				close(stop)
				<-done
			}
			ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
			b.ReportMetric(ms(p99(still.wall)), "p99-ms-undisturbed")
			b.ReportMetric(ms(p99(swapped.wall)), "p99-ms-swapping")
			b.ReportMetric(ms(p99(still.thread)), "p99-cpu-ms-undisturbed")
			b.ReportMetric(ms(p99(swapped.thread)), "p99-cpu-ms-swapping")
			b.ReportMetric(float64(took.Milliseconds())/float64(swaps), "ms/swap")
		})
	}
}
