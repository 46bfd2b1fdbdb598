// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/test/kernels/plan"
)

const good = `[    0.5] something of the kernel

@@ booted 6.1.0-50-cloud-amd64 3

@@ running features
=== RUN   TestOne
@@ feature round-trip times: every sample: all
--- PASS: TestOne (0.10s)
    --- FAIL: TestOne/a_part (0.00s)

@@ ended features 0 1.5

@@ done ` + "\r\n"

func TestAConsoleOfAKernelThatPasses(t *testing.T) {
	r, err := parseConsole(strings.NewReader(good))
	require.NoError(t, err)
	assert.Equal(t, result{
		release:  "6.1.0-50-cloud-amd64",
		boot:     3,
		jobs:     []jobResult{{name: "features", seconds: 1.5, passed: []string{"TestOne"}}},
		features: []feature{{"round-trip times", "every sample: all"}},
		done:     true,
	}, r)
	assert.Empty(t, r.faults([]plan.Job{{Name: "features", Tests: true}}))
}

func TestNoFaultOfAKernelIsOverlooked(t *testing.T) {
	for _, tt := range []struct{ name, from, to, fault string }{
		{"a kernel that does not boot", good, "", "it has not booted"},
		{"a panic", "[    0.5] something", "[    0.5] Kernel panic - not syncing", "Kernel panic - not syncing of the kernel"},
		{"a test that fails", "--- PASS: TestOne", "--- FAIL: TestOne", "features: TestOne failed"},
		{"a test that is skipped", "--- PASS: TestOne", "--- SKIP: TestOne", "features: TestOne was skipped"},
		{"a job that fails", "ended features 0", "ended features 2", "features: exit status 2"},
		{"a job that does not end", "@@ ended features 0 1.5", "", "features: has not ended"},
		{"a job without tests", "--- PASS: TestOne", "", "features: no test was run"},
		{"a job that is not run", "running features", "running others", "features: was not run"},
		{"a problem of the guest", "@@ done", "@@ problem no module\n@@ done", "no module"},
		{"a guest that stops", "@@ done", "", "the guest has not come to its end"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := parseConsole(strings.NewReader(strings.Replace(good, tt.from, tt.to, 1)))
			require.NoError(t, err)
			assert.Contains(t, r.faults([]plan.Job{{Name: "features", Tests: true}}), tt.fault)
		})
	}
}

func FuzzConsole(f *testing.F) {
	f.Add(good)
	f.Add("@@ ended features 0 1")
	f.Add("@@ booted")
	f.Fuzz(func(t *testing.T, console string) {
		if r, err := parseConsole(strings.NewReader(console)); err == nil && r.release == "" {
			assert.NotEmpty(t, r.faults(nil))
		}
	})
}
