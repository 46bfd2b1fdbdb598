// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nhiprocessor

import (
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"

	"github.com/otel-flowmonitor/flowmonitor/internal/strictconf"
)

// How a point's window and the end of a window are told.
const (
	evaluationEventTime = "event_time"
	evaluationWallClock = "wall_clock"
)

// What the processor does with what it sees.
const (
	roleBoth     = "both"
	roleEvidence = "evidence"
	roleVerdict  = "verdict"
)

const (
	minWindow, maxWindow = time.Second, time.Hour
	maxLateness          = time.Hour
	// latenessWindows bounds how many windows are open at once.
	latenessWindows = 60
	// maxFalseAlarmRate is one window in ten: with more, the verdict says nothing.
	maxFalseAlarmRate = 0.1
)

// Config is what users set. See README.md.
type Config struct {
	// Window is the length of a window. It has to be at least the receivers' interval plus
	// jitter, so that each flow that moves is in each window.
	Window time.Duration `mapstructure:"window"`
	// Lateness is how much later than others a point may arrive to count as evidence, and how
	// far the clocks of hosts may be apart.
	Lateness time.Duration `mapstructure:"lateness"`
	// Evaluation is event_time or wall_clock.
	Evaluation string `mapstructure:"evaluation"`
	// Role is both, or, for a processor split in two stages, evidence or verdict.
	Role string `mapstructure:"role"`
	// FalseAlarmRate is the wanted share of windows in which chance alone makes a monitor
	// degraded. The evidence that a verdict needs follows from it.
	FalseAlarmRate float64 `mapstructure:"false_alarm_rate"`
	// Instance is the service.instance.id of the processor's own metrics; "" is the host name.
	Instance string `mapstructure:"instance"`

	// MaxFlows bounds the identities of flows, and the rows of evidence of a window.
	MaxFlows int `mapstructure:"max_flows"`
	// MaxComponents bounds the components of paths.
	MaxComponents int `mapstructure:"max_components"`
	// MaxMonitors bounds the monitors.
	MaxMonitors int `mapstructure:"max_monitors"`

	_ struct{} // prevents unkeyed literals
}

var (
	_ component.Config    = (*Config)(nil)
	_ confmap.Unmarshaler = (*Config)(nil)
)

// Unmarshal refuses what confmap takes silently, and reports all that is wrong at once.
func (c *Config) Unmarshal(conf *confmap.Conf) error {
	return strictconf.Unmarshal(conf, c)
}

// patience is how long a window waits for its points. Evidence of a window comes only once the
// stage before has waited for its own, up to a tick and the shortest silence later.
func (c *Config) patience() time.Duration {
	if c.Role == roleVerdict {
		return 2*c.Lateness + 2*maxTick
	}
	return c.Lateness
}

func createDefaultConfig() component.Config {
	return &Config{
		Window:         time.Minute,
		Lateness:       15 * time.Second,
		Evaluation:     evaluationEventTime,
		Role:           roleBoth,
		FalseAlarmRate: 1e-4,
		MaxFlows:       131072, // about 100 MB when all of it is used
		MaxComponents:  16384,
		MaxMonitors:    1024,
	}
}

// Validate reports all that is wrong, each with its key.
func (c *Config) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Window < minWindow || c.Window > maxWindow {
		wrong("'window' must be between %s and %s, not %s", minWindow, maxWindow, c.Window)
	}
	switch {
	case c.Lateness < 0 || c.Lateness > maxLateness:
		wrong("'lateness' must be between 0s and %s, not %s", maxLateness, c.Lateness)
	case c.Window > 0 && c.Lateness > latenessWindows*c.Window:
		wrong("'lateness' must be at most %d times 'window' (%s), not %s", latenessWindows, c.Window, c.Lateness)
	}
	if c.Evaluation != evaluationEventTime && c.Evaluation != evaluationWallClock {
		wrong("'evaluation' must be %q or %q, not %q", evaluationEventTime, evaluationWallClock, c.Evaluation)
	}
	if c.Role != roleBoth && c.Role != roleEvidence && c.Role != roleVerdict {
		wrong("'role' must be %q, %q or %q, not %q", roleBoth, roleEvidence, roleVerdict, c.Role)
	}
	if !(c.FalseAlarmRate >= 1e-9 && c.FalseAlarmRate <= maxFalseAlarmRate) { // false for NaN, too
		wrong("'false_alarm_rate' must be between 1e-9 and %g, not %g", maxFalseAlarmRate, c.FalseAlarmRate)
	}
	for _, limit := range []struct {
		key      string
		value    int
		max, min int
	}{
		{"max_flows", c.MaxFlows, 1 << 24, 1},
		{"max_components", c.MaxComponents, 1 << 20, 1},
		{"max_monitors", c.MaxMonitors, 1 << 16, 1},
	} {
		if limit.value < limit.min || limit.value > limit.max {
			wrong("'%s' must be between %d and %d, not %d", limit.key, limit.min, limit.max, limit.value)
		}
	}
	return errors.Join(errs...)
}
