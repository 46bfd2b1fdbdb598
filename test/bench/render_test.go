// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNumbersHaveThreeDigitsThatMeanSomething(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.0123456: "0.0123", 0.5: "0.500", 1.2345: "1.23", 12.345: "12.3", 123.45: "123", 1234.5: "1,234",
		-1234567: "-1,234,567", -123: "-123", 1.5: "1.50", math.NaN(): "–",
	} {
		assert.Equal(t, want, number(v))
	}
}

func TestATargetIsForTheValueOrForItsBound(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    figure
		want bool
	}{
		{"no target", figure{Value: 1}, true},
		{"at most, reached", figure{Value: 1, High: 2, Target: atMost(1)}, true},
		{"at most, not reached", figure{Value: 1.1, Target: atMost(1)}, false},
		{"lower bound reached", figure{Value: 1, Low: 0.98, Target: boundAtLeast(0.97)}, true},
		{"lower bound not reached though the value is", figure{Value: 1, Low: 0.96, Target: boundAtLeast(0.97)}, false},
		{"upper bound reached", figure{Value: 1, High: 1.04, Target: boundAtMost(1.05)}, true},
		{"upper bound not reached though the value is", figure{Value: 1, High: 1.06, Target: boundAtMost(1.05)}, false},
		{"no number", figure{Value: math.NaN(), Target: atMost(1)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) { assert.Equal(t, tt.want, tt.f.met()) })
	}
}

func sampleReport(short bool) *report {
	return &report{
		When: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Machine: "2 × CPU, 24 GiB", Kernel: "Linux 6.18.44", Short: short,
		Took: map[string]string{"bulk": "1m0s"},
		Figures: []figure{
			{Bench: "bulk", What: "BPF time per GB", Unit: "ms", Value: 1.234, Low: 1.1, High: 1.3, Samples: []float64{1.1, 1.234, 1.3}, Target: atMost(2)},
			{Bench: "bulk", What: "ratio", Value: 0.3, Low: 0.2, High: 0.4, Samples: []float64{0.3}, Target: atMost(0.2)},
			{Bench: "share", What: "share", Unit: "%", Value: 0.4, Target: atMost(0.3).noisy()},
		},
	}
}

func TestTheTablesAreWrittenBetweenTheMarks(t *testing.T) {
	dir := t.TempDir()
	json, doc := filepath.Join(dir, "out", "bench.json"), filepath.Join(dir, "benchmarks.md")
	require.NoError(t, sampleReport(false).write(json))
	require.NoError(t, os.WriteFile(doc, []byte("# no marks\n"), 0o600))
	require.ErrorContains(t, renderInto(json, doc), "marks")
	require.NoError(t, os.WriteFile(doc, []byte("# Benchmarks\n\n"+marked+"\nold\n"+unmarked+"\n\nThe end.\n"), 0o600))
	for range 2 { // the second time changes nothing
		require.NoError(t, renderInto(json, doc))
		got, err := os.ReadFile(doc)
		require.NoError(t, err)
		assert.Equal(t, `# Benchmarks

`+marked+`

Taken on 2026-01-02: 2 × CPU, 24 GiB, Linux 6.18.44.

### Share of the machine's CPU time during iperf3

| what | figure | spread | samples | to reach |
| --- | --- | --- | --- | --- |
| share | 0.400 % |  | 0 | **≤ 0.300: not reached** |

### BPF time per GB

| what | figure | spread | samples | to reach |
| --- | --- | --- | --- | --- |
| BPF time per GB | 1.23 ms | 1.10 … 1.30 | 3 | ≤ 2.00 |
| ratio | 0.300 |  | 1 | **≤ 0.200: not reached** |

`+unmarked+"\n\nThe end.\n", string(got))
	}
}

func TestAShortRunFailsOnlyCoarselyAndByWhatOtherWorkDoesNotMove(t *testing.T) {
	full := sampleReport(false).missed()
	require.ErrorContains(t, full, "ratio")
	require.ErrorContains(t, full, "share")
	r := sampleReport(true)
	require.NoError(t, r.missed(), "1.5 times the target, of two samples")
	r.Figures[1].Value = 0.4
	short := r.missed()
	require.ErrorContains(t, short, "ratio")
	assert.NotContains(t, short.Error(), "share")
}
