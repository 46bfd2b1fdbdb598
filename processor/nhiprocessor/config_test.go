// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nhiprocessor

import (
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/metadata"
)

func load(t *testing.T, name string) *Config {
	cm, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	sub, err := cm.Sub(component.NewIDWithName(metadata.Type, name).String())
	require.NoError(t, err)
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, sub.Unmarshal(cfg))
	return cfg
}

func TestDefaultConfigIsValid(t *testing.T) {
	cfg := load(t, "")
	assert.Equal(t, createDefaultConfig(), cfg)
	assert.NoError(t, confmap.Validate(cfg))
}

func TestEveryOptionIsRead(t *testing.T) {
	cfg := load(t, "all")
	assert.Equal(t, &Config{
		Window: 5 * time.Second, Lateness: 2 * time.Second, Evaluation: "wall_clock", Role: "both", FalseAlarmRate: 0.001,
		Instance: "gateway-1", MaxFlows: 1000, MaxComponents: 100, MaxMonitors: 10,
	}, cfg)
	assert.NoError(t, confmap.Validate(cfg))
}

func TestAllThatIsWrongIsReportedWithItsKey(t *testing.T) {
	err := confmap.Validate(load(t, "wrong"))
	require.Error(t, err)
	for _, want := range []string{
		"'window' must be between 1s and 1h0m0s, not 10ms",
		"'lateness' must be between 0s and 1h0m0s, not 2h0m0s",
		`'evaluation' must be "event_time" or "wall_clock", not "sometimes"`,
		`'role' must be "both", "evidence" or "verdict", not "judge"`,
		"'false_alarm_rate' must be between 1e-9 and 0.1, not 0",
		"'max_flows' must be between 1 and 16777216, not 0",
		"'max_components' must be between 1 and 1048576, not -1",
		"'max_monitors' must be between 1 and 65536, not 100000",
	} {
		assert.ErrorContains(t, err, want)
	}
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Config)
		want   string // "" is valid
	}{
		{"lateness may be none", func(c *Config) { c.Lateness = 0 }, ""},
		{"lateness may not be negative", func(c *Config) { c.Lateness = -1 }, "'lateness'"},
		{"lateness may be 60 windows", func(c *Config) { c.Window, c.Lateness = time.Second, time.Minute }, ""},
		{"but not more", func(c *Config) { c.Window, c.Lateness = time.Second, time.Minute+1 }, "'lateness' must be at most 60 times 'window'"},
		{"a role that nobody knows", func(c *Config) { c.Role = "judge" }, `'role' must be "both"`},
		{"a rate that is no number", func(c *Config) { c.FalseAlarmRate = math.NaN() }, "'false_alarm_rate'"},
		{"a rate of every window", func(c *Config) { c.FalseAlarmRate = 1 }, "'false_alarm_rate'"},
		{"a rate so small that no evidence is enough", func(c *Config) { c.FalseAlarmRate = 1e-300 }, "'false_alarm_rate'"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := createDefaultConfig().(*Config)
			tt.change(cfg)
			if err := cfg.Validate(); tt.want == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, tt.want)
			}
		})
	}
}

func TestWholeNumbersAreNeitherCutNorWrappedAndOtherErrorsStandBeside(t *testing.T) {
	for _, key := range []string{"max_flows", "max_components", "max_monitors"} {
		for value, want := range map[any]string{1.5: "must be a whole number: is 1.5", 1e20: "must be a whole number that fits into 64 bits: is 1e+20"} {
			err := confmap.NewFromStringMap(map[string]any{key: value, "window": 60, "role": "judge", "windows": 1}).Unmarshal(createDefaultConfig())
			assert.ErrorContains(t, err, "'"+key+"' "+want)
			assert.ErrorContains(t, err, "'windows' is no key that is known here")
			assert.ErrorContains(t, err, "'window' must be a duration with its unit, such as 30s: is 60")
			assert.ErrorContains(t, err, "'role' must be")
		}
	}
}
