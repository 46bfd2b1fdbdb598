// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"

	"github.com/otel-flowmonitor/flowmonitor/internal/strictconf"
)

const (
	// defaultTopFlows is what the managed service's agent reports of one round, so that
	// a dashboard made for it finds as many rows here.
	defaultTopFlows = 500

	// defaultRoundTimeout is long against the milliseconds between the batches of one
	// round and short against the receiver's interval (30 s).
	defaultRoundTimeout = 5 * time.Second

	// maxRoundTimeout is the receiver's longest interval: a later round has come by then.
	maxRoundTimeout = 10 * time.Minute

	// defaultMaxHeldMiB holds four rounds of 20,000 flows at once, more than the receiver's
	// table has: 16 points and 27 attributes each, they take 60 MiB (measured).
	defaultMaxHeldMiB = 256

	// maxMaxHeldMiB keeps the number of bytes far from the end of int64.
	maxMaxHeldMiB = 1 << 30

	// defaultMaxStreams remembers what a hundred agents send with 500 flows of a dozen
	// points each, and half as much again for flows that come and go. A stream takes 46
	// bytes when its row has a dozen, 190 when it is alone (measured).
	defaultMaxStreams = 1_000_000
)

// Config configures the processor.
type Config struct {
	// TopFlows is the number of flows of one round that are kept whole. At least 1.
	TopFlows int `mapstructure:"top_flows"`

	// RoundTimeout is how long a round waits for its other points, from the first one on.
	// A later round of the same resource ends the wait. Above 0, at most 10m.
	RoundTimeout time.Duration `mapstructure:"round_timeout"`

	// MaxHeldMiB bounds the estimated memory of all rounds that wait, in MiB. Past it the
	// oldest round is released early; nothing is dropped. At least 1.
	MaxHeldMiB int `mapstructure:"max_held_mib"`

	// MaxStreams bounds the streams whose last end is remembered. Past it the row that was
	// silent for longest is forgotten. At least TopFlows.
	MaxStreams int `mapstructure:"max_streams"`

	// prevent unkeyed literal initialization
	_ struct{}
}

var (
	_ component.Config    = (*Config)(nil)
	_ confmap.Unmarshaler = (*Config)(nil)
)

// Unmarshal refuses what confmap takes silently, and reports all that is wrong at once.
func (c *Config) Unmarshal(conf *confmap.Conf) error {
	return strictconf.Unmarshal(conf, c)
}

func createDefaultConfig() component.Config {
	return &Config{
		TopFlows:     defaultTopFlows,
		RoundTimeout: defaultRoundTimeout,
		MaxHeldMiB:   defaultMaxHeldMiB,
		MaxStreams:   defaultMaxStreams,
	}
}

var (
	errTopFlows     = errors.New("'top_flows' must be at least 1")
	errRoundTimeout = fmt.Errorf("'round_timeout' must be above 0s and at most %s", maxRoundTimeout)
	errMaxHeldMiB   = fmt.Errorf("'max_held_mib' must be at least 1 and at most %d", maxMaxHeldMiB)
	errMaxStreams   = errors.New("'max_streams' must be at least 'top_flows', as every flow that is kept has a stream")
)

// Validate reports all that is wrong at once.
func (c *Config) Validate() error {
	var errs []error
	if c.TopFlows < 1 {
		errs = append(errs, fmt.Errorf("%w, is %d", errTopFlows, c.TopFlows))
	}
	if c.RoundTimeout <= 0 || c.RoundTimeout > maxRoundTimeout {
		errs = append(errs, fmt.Errorf("%w, is %s", errRoundTimeout, c.RoundTimeout))
	}
	if c.MaxHeldMiB < 1 || c.MaxHeldMiB > maxMaxHeldMiB {
		errs = append(errs, fmt.Errorf("%w, is %d", errMaxHeldMiB, c.MaxHeldMiB))
	}
	if c.MaxStreams < max(c.TopFlows, 1) {
		errs = append(errs, fmt.Errorf("%w, is %d", errMaxStreams, c.MaxStreams))
	}
	return errors.Join(errs...)
}
