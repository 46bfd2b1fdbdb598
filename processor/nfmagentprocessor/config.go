// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nfmagentprocessor

import (
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"

	"github.com/otel-flowmonitor/flowmonitor/internal/strictconf"
)

// Config has no options: the agent's format has none.
type Config struct {
	// prevent unkeyed literal initialization
	_ struct{}
}

var (
	_ component.Config    = (*Config)(nil)
	_ confmap.Unmarshaler = (*Config)(nil)
)

// Unmarshal refuses what confmap takes silently, and reports all that is wrong at once.
func (c *Config) Unmarshal(conf *confmap.Conf) error { return strictconf.Unmarshal(conf, c) }

func createDefaultConfig() component.Config { return &Config{} }
