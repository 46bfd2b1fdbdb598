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

// window is how long a stream is watched: long enough for a swap or two at a tenth of a core.
const window = 8 * time.Second

// BenchmarkSwap lets 100,000 flows of 100 hosts stream by at the pace of their agents: first undisturbed;
// then while the topology is compiled anew and swapped, as often as that goes when a tenth of a core goes
// into it; and then while as much of a core only copies memory, which is what any other work
// on the machine costs the stream. One operation is a window of each.
func BenchmarkSwap(b *testing.B) {
	for _, vpcs := range []int{200, 2000} {
		b.Run(fmt.Sprintf("%d interfaces", vpcs*perVPC), func(b *testing.B) {
			f := fleet{vpcs: vpcs}
			p, err := newFlowMonitor(createDefaultConfig().(*Config), processortest.NewNopSettings(metadata.Type).TelemetrySettings)
			require.NoError(b, err)
			model := f.topology()
			set := monitors.New(definitions(20))
			var swaps int
			var took time.Duration
			swap := func() {
				begun := time.Now()
				p.engine.Store(newEngine(topology.Build(model, nil), ipranges.Shipped(), set, AttributesConfig{Path: true, Monitors: true}, defaultMaxCachedFlows))
				took, swaps = took+time.Since(begun), swaps+1
			}
			swap()
			const hosts = 100
			batches := make([][]byte, hosts)
			for i := range batches {
				batches[i] = f.batch(i, 1000, 1)
				_, err := p.process(b.Context(), decode(batches[i]))
				require.NoError(b, err)
			}
			swap() // the first one that has answers to find
			from, to := make([]byte, 64<<20), make([]byte, 64<<20)
			copies := func() {
				for until := time.Now().Add(took / time.Duration(swaps)); time.Now().Before(until); {
					copy(to, from)
				}
			}
			var still, swapped, copied latencies
			for b.Loop() {
				still.stream(b, p, batches)
				beside(swap, func() { swapped.stream(b, p, batches) })
				beside(copies, func() { copied.stream(b, p, batches) })
			}
			still.report(b, "undisturbed")
			swapped.report(b, "swapping")
			copied.report(b, "beside-copies")
			b.ReportMetric(float64(took.Milliseconds())/float64(swaps), "ms/swap")
		})
	}
}

// beside does work, with pauses nine times as long, while run runs.
func beside(work, run func()) {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			begun := time.Now()
			work()
			select {
			case <-stop:
				return
			case <-time.After(9 * time.Since(begun)):
			}
		}
	}()
	run()
	close(stop)
	<-done
}

// stream measures batches for a window.
func (l *latencies) stream(b *testing.B, p *flowMonitor, batches [][]byte) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for i, end := 0, time.Now().Add(window); time.Now().Before(end); i++ {
		md := decode(batches[i%len(batches)])
		wall, thread := time.Now(), cputime.Thread()
		if _, err := p.process(b.Context(), md); err != nil {
			b.Error(err)
		}
		l.thread = append(l.thread, cputime.Thread()-thread)
		l.wall = append(l.wall, time.Since(wall))
		time.Sleep(time.Millisecond)
	}
}

func (l *latencies) report(b *testing.B, name string) {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(p99(l.wall)), "p99-ms-"+name)
	b.ReportMetric(ms(p99(l.thread)), "p99-cpu-ms-"+name)
}
