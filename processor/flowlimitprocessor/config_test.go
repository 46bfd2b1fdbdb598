// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowlimitprocessor/internal/metadata"
)

func TestConfig(t *testing.T) {
	conf, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	for _, tt := range []struct {
		name      string
		want      *Config
		errors    []error  // all of them
		unmarshal []string // keys that the error must quote
	}{
		{name: "", want: &Config{TopFlows: 500, RoundTimeout: 5 * time.Second, MaxHeldMiB: 256, MaxStreams: 1_000_000}},
		{name: "all", want: &Config{TopFlows: 100, RoundTimeout: 2 * time.Second, MaxHeldMiB: 64, MaxStreams: 5000}},
		{name: "wrong", errors: []error{errTopFlows, errRoundTimeout, errMaxHeldMiB, errMaxStreams}},
		{name: "few_streams", errors: []error{errMaxStreams}},
		{name: "no_timeout", errors: []error{errRoundTimeout}},
		{name: "unknown_key", unmarshal: []string{"top_flow"}},
		{name: "not_a_number", unmarshal: []string{"top_flows"}},
	} {
		t.Run("config "+tt.name, func(t *testing.T) {
			sub, err := conf.Sub(component.NewIDWithName(metadata.Type, tt.name).String())
			require.NoError(t, err)
			cfg := NewFactory().CreateDefaultConfig()
			err = sub.Unmarshal(cfg)
			if len(tt.unmarshal) > 0 {
				for _, key := range tt.unmarshal {
					assert.ErrorContains(t, err, key)
				}
				return
			}
			require.NoError(t, err)
			err = confmap.Validate(cfg)
			for _, want := range tt.errors {
				assert.ErrorIs(t, err, want)
			}
			if len(tt.errors) > 0 {
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tt.want, cfg)
		})
	}
}

func TestConfigErrorsQuoteTheKey(t *testing.T) {
	for key, err := range map[string]error{
		"'top_flows'": errTopFlows, "'round_timeout'": errRoundTimeout, "'max_held_mib'": errMaxHeldMiB, "'max_streams'": errMaxStreams,
	} {
		assert.ErrorContains(t, err, key)
	}
}

func TestWholeNumbersAreNeitherCutNorWrappedAndOtherErrorsStandBeside(t *testing.T) {
	for _, key := range []string{"top_flows", "max_held_mib", "max_streams"} {
		for value, want := range map[any]string{1.5: "must be a whole number: is 1.5", 1e20: "must be a whole number that fits into 64 bits: is 1e+20"} {
			cfg := createDefaultConfig()
			err := confmap.NewFromStringMap(map[string]any{key: value, "round_timeout": "0s", "top_flow": 1}).Unmarshal(cfg)
			assert.ErrorContains(t, err, "'"+key+"' "+want)
			assert.ErrorContains(t, err, "'top_flow' is no key that is known here: one of max_held_mib, max_streams, round_timeout, top_flows")
			assert.ErrorIs(t, cfg.(*Config).Validate(), errRoundTimeout)
			assert.ErrorContains(t, err, "'round_timeout' must be above 0s")
		}
	}
}
