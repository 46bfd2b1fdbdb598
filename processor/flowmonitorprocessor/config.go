// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"errors"
	"fmt"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/confmap"

	"github.com/otel-flowmonitor/flowmonitor/internal/strictconf"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ipranges"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/monitors"
)

const (
	// 128 MiB or so at about 500 bytes an entry: the flows of some thousand hosts.
	defaultMaxCachedFlows = 262_144
	minMaxCachedFlows     = 1024 // below, the two generations of the cache hold next to nothing
)

// Config is the user's YAML.
type Config struct {
	// Topology is where the network's description comes from. Without any source the
	// AWS ranges alone are used.
	Topology TopologyConfig `mapstructure:"topology"`
	// Monitors are the named sets of flows.
	Monitors []MonitorConfig `mapstructure:"monitors"`
	// MonitorsFile holds more monitors, in YAML; it is watched.
	MonitorsFile string `mapstructure:"monitors_file"`
	// Attributes chooses what is written to the data points.
	Attributes AttributesConfig `mapstructure:"attributes"`
	// MaxCachedFlows bounds the flows whose answers are remembered.
	MaxCachedFlows int `mapstructure:"max_cached_flows"`

	_ struct{}
}

// MonitorConfig is a monitor.
type MonitorConfig struct {
	Name string `mapstructure:"name"`
	// Local resources: at least one.
	Local []ResourceConfig `mapstructure:"local"`
	// Remote resources. None: all that ends in the local Region, its services included.
	Remote []ResourceConfig `mapstructure:"remote"`

	_ struct{}
}

// ResourceConfig is a member of a monitor's local or remote set.
type ResourceConfig struct {
	Type string `mapstructure:"type"`
	ID   string `mapstructure:"id"`

	_ struct{}
}

// AttributesConfig chooses attributes that are slices.
type AttributesConfig struct {
	Path     bool `mapstructure:"path"`
	Monitors bool `mapstructure:"monitors"`

	_ struct{}
}

var _ component.Config = (*Config)(nil)

func createDefaultConfig() component.Config {
	return &Config{
		Topology:       TopologyConfig{RefreshInterval: defaultRefreshInterval, EC2: configoptional.Default(defaultEC2())},
		Attributes:     AttributesConfig{Path: true, Monitors: true},
		MaxCachedFlows: defaultMaxCachedFlows,
	}
}

var _ confmap.Unmarshaler = (*Config)(nil)

// Unmarshal takes a source that is named without anything below it, as in 'file:', as one
// that lacks its options. Left as it is it would be no source at all, and the user would
// not be told. For the rest it is as strict as [strictconf].
func (c *Config) Unmarshal(conf *confmap.Conf) error {
	wrong := strictconf.Read(conf, c)
	t, _ := conf.ToStringMap()["topology"].(map[string]any)
	named := func(source string) bool {
		value, ok := t[source]
		return ok && value == nil
	}
	if named("file") {
		c.Topology.File = configoptional.Some(FileConfig{})
	}
	if named("ec2") {
		c.Topology.EC2 = configoptional.Some(defaultEC2())
	}
	if named("imds") {
		c.Topology.IMDS = configoptional.Some(IMDSConfig{})
	}
	return strictconf.WithValues(wrong, c)
}

var errMaxCachedFlows = fmt.Errorf("'max_cached_flows' must be at least %d", minMaxCachedFlows)

// Validate gives everything that is wrong, quoting the YAML keys.
func (c *Config) Validate() error {
	errs := c.Topology.validate()
	if sameFile(c.Topology.SnapshotPath, c.MonitorsFile) {
		errs = append(errs, errSnapshotPath("monitors_file"))
	}
	if c.MaxCachedFlows < minMaxCachedFlows {
		errs = append(errs, errMaxCachedFlows)
	}
	var ranges *ipranges.Table
	if c.Topology.IPRanges.Path == "" { // a file of ranges may know more services: then Start checks them
		ranges = ipranges.Shipped()
	}
	errs = append(errs, checkMonitors(c.definitions(), ranges)...)
	return errors.Join(errs...)
}

// checkMonitors validates the list in the configuration.
func checkMonitors(definitions []monitors.Definition, ranges *ipranges.Table) []error {
	var errs []error
	problems, more := monitors.Validate(definitions, ranges, nil)
	for _, p := range problems {
		errs = append(errs, fmt.Errorf("'monitors%s': %s", p.Path, p.Msg))
	}
	if more > 0 {
		errs = append(errs, fmt.Errorf("'monitors': and %d more errors", more))
	}
	return errs
}

func (c *Config) definitions() []monitors.Definition {
	list := make([]monitors.Definition, 0, len(c.Monitors))
	for _, m := range c.Monitors {
		list = append(list, monitors.Definition{Name: m.Name, Local: resources(m.Local), Remote: resources(m.Remote)})
	}
	return list
}

func resources(list []ResourceConfig) []monitors.Resource {
	var out []monitors.Resource
	for _, r := range list {
		out = append(out, monitors.Resource{Type: r.Type, ID: r.ID})
	}
	return out
}
