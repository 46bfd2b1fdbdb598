// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package examples holds no code: this test reads the files of the examples that the
// collector's validate command does not, because the processor opens them when it starts.
package examples

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor"
)

// start starts and stops a flowmonitor processor that reads path at key.
func start(t *testing.T, key, path string) error {
	t.Helper()
	factory := flowmonitorprocessor.NewFactory()
	cfg := factory.CreateDefaultConfig()
	require.NoError(t, confmap.NewFromStringMap(map[string]any{key: path}).Unmarshal(cfg))
	p, err := factory.CreateMetrics(t.Context(), processortest.NewNopSettings(factory.Type()), cfg, consumertest.NewNop())
	require.NoError(t, err)
	defer func() { assert.NoError(t, p.Shutdown(t.Context())) }()
	return p.Start(t.Context(), componenttest.NewNopHost())
}

// The patterns are those that scripts/check-examples.sh leaves to this test.
var inputs = map[string]string{
	"topology*.yaml": "topology::file::path",
	"monitors*.yaml": "monitors_file",
}

func TestTheProcessorTakesEveryInput(t *testing.T) {
	found := 0
	for pattern, key := range inputs {
		files, err := filepath.Glob(filepath.Join("*", pattern))
		require.NoError(t, err)
		for _, file := range files {
			found++
			t.Run(file, func(t *testing.T) { assert.NoError(t, start(t, key, file)) })
		}
	}
	assert.NotZero(t, found, "the demo has a topology")
}

// TestTheProcessorTakesTheTopologyOfItsDocument reads the block that scripts/check-examples.sh leaves to this test.
func TestTheProcessorTakesTheTopologyOfItsDocument(t *testing.T) {
	text, err := os.ReadFile("../processor/flowmonitorprocessor/README.md")
	require.NoError(t, err)
	found := 0
	for _, block := range strings.Split(string(text), "```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		if !strings.HasPrefix(block, "vpcs:") {
			continue
		}
		found++
		file := filepath.Join(t.TempDir(), "topology.yaml")
		require.NoError(t, os.WriteFile(file, []byte(block), 0o600))
		assert.NoError(t, start(t, "topology::file::path", file))
	}
	assert.NotZero(t, found, "the topology file is shown")
}

func TestAnInputThatIsBadIsNotTaken(t *testing.T) {
	for pattern, key := range inputs {
		t.Run(pattern, func(t *testing.T) {
			bad := filepath.Join(t.TempDir(), "bad.yaml")
			require.NoError(t, os.WriteFile(bad, []byte("no_such_field: 1\n"), 0o600))
			assert.ErrorContains(t, start(t, key, bad), "no_such_field")
		})
	}
}
