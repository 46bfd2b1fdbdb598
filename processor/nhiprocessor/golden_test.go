// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nhiprocessor

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/golden"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/pdatatest/pmetrictest"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/fleet"
)

var update = flag.Bool("update", false, "write the golden files and the README's generated parts")

// Each case plays a fleet and compares the batch of one window, counted from the end of
// what was played, with testdata/golden/<case>.yaml, time stamps included.
func TestGolden(t *testing.T) {
	loss := fleet.Loss{Rate: 0.05, Burst: 1}
	onGateway := fleet.On("transit_gateway/tgw-1", loss)
	for _, tt := range []struct {
		name string
		play func(b *bench)
		back int // 0: the last batch
	}{
		{name: "healthy", play: func(b *bench) {
			f, _, _ := fleet.TwoVPCs(1, 3, 1)
			b.play(f, 20)
		}},
		{name: "degraded_by_the_gateway", play: func(b *bench) {
			f, _, _ := fleet.TwoVPCs(1, 3, 1)
			f.Faults = []fleet.Fault{onGateway}
			b.play(f, 20)
		}},
		{name: "degraded_by_what_cannot_be_told_apart", play: func(b *bench) {
			f := fleet.New(1)
			a, c := f.AddHosts(4, "a", "vpc-a", "subnet-a", "az1"), f.AddHosts(4, "b", "vpc-b", "subnet-b", "az1")
			f.Connect(a, c, 100, 400, []string{"web"}, "transit_gateway/tgw-1")
			f.Faults = []fleet.Fault{onGateway}
			b.play(f, 20)
		}},
		{name: "healthy_with_a_faulty_client", play: func(b *bench) {
			f, clients, _ := fleet.TwoVPCs(1, 3, 1)
			f.Faults = []fleet.Fault{fleet.AtHost(clients[2], loss)}
			b.play(f, 20)
		}},
		{name: "insufficient_at_first", play: func(b *bench) {
			f, _, _ := fleet.TwoVPCs(1, 1, 1)
			b.play(f, 4)
		}},
		{name: "silent", play: func(b *bench) {
			f, _, _ := fleet.TwoVPCs(1, 3, 1)
			b.play(f, 20)
			b.settle()
		}},
		{name: "first_silent_window", back: 4, play: func(b *bench) {
			f, _, _ := fleet.TwoVPCs(1, 3, 1)
			b.play(f, 20)
			b.settle()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, nil)
				defer b.stop()
				tt.play(b)
				synctest.Wait()
				batches := b.own()
				require.Greater(t, len(batches), tt.back)
				compare(t, tt.name, batches[len(batches)-1-tt.back])
			})
		})
	}
}

// The sums of windows that are not over leave at the shutdown, without a verdict.
func TestGoldenOfTheShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		f, _, _ := fleet.TwoVPCs(1, 3, 1)
		b.play(f, 3) // 6 s
		b.own()
		b.stop()
		batches := b.own()
		require.Len(t, batches, 1)
		compare(t, "shutdown", batches[0])
	})
}

func compare(t *testing.T, name string, got pmetric.Metrics) {
	path := filepath.Join("testdata", "golden", name+".yaml")
	if *update {
		require.NoError(t, golden.WriteMetricsToFile(path, got, golden.SkipMetricTimestampNormalization()))
		require.NoError(t, os.Chmod(path, 0o644)) // the writer's default is for the owner only
	}
	want, err := golden.ReadMetrics(path)
	require.NoError(t, err)
	require.NoError(t, pmetrictest.CompareMetrics(want, got, pmetrictest.IgnoreMetricDataPointsOrder()))
}

// One small batch in, and all that the window says of it out.
func TestGoldenInputAndOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		defer b.stop()
		f, _, _ := fleet.TwoVPCs(1, 1, 0.2)
		f.Background = fleet.Loss{Rate: 0.1, Burst: 1}
		start := time.Now()
		time.Sleep(3 * time.Second)
		in := fleet.Points(f.Window(), start, time.Now())
		path := filepath.Join("testdata", "golden", "input.yaml")
		if *update {
			require.NoError(t, golden.WriteMetricsToFile(path, in, golden.SkipMetricTimestampNormalization()))
			require.NoError(t, os.Chmod(path, 0o644))
		}
		in, err := golden.ReadMetrics(path)
		require.NoError(t, err)
		b.consume(in)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		batches := b.own()
		require.Len(t, batches, 1)
		compare(t, "output", batches[0])
	})
}
