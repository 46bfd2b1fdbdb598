// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package sockopsreceiver

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"

	"github.com/otel-flowmonitor/flowmonitor/internal/strictconf"
)

// Temporality of the sums and histograms.
type Temporality string

const (
	// TemporalityDelta: each point counts since the stream's point before it.
	TemporalityDelta Temporality = "delta"
	// TemporalityCumulative: each point counts since the stream began. For pipelines
	// without the flow monitor's processors, which take deltas only.
	TemporalityCumulative Temporality = "cumulative"
)

// Groups of [Config].Detail.
const (
	DetailLimits         = "limits"          // flow.tcp.time
	DetailRetransmitType = "retransmit_type" // network.tcp.retransmit.type on flow.tcp.retransmissions
	DetailNetns          = "netns"           // flow.netns
	DetailZeroWindows    = "zero_windows"    // flow.tcp.zero_windows
	DetailECN            = "ecn"             // flow.tcp.ecn.marks
)

var detailGroupNames = []string{DetailLimits, DetailRetransmitType, DetailNetns, DetailZeroWindows, DetailECN}

const (
	// A harvest walks every socket of the host: more than one a second is load without use.
	minCollectionInterval = time.Second
	// With longer rounds the numbers come too late to act on, and a fast host may count
	// 2³² segments in one: the kernel's counters of segments are 32 bits wide.
	maxCollectionInterval = 10 * time.Minute

	// A round is interval ± jitter. A sixth spreads a fleet over a third of the interval
	// and still keeps interval + jitter within the windows of the nhi processor.
	jitterShare = 6

	// The kernel takes 1 kB a flow in each of two tables: this is 2 GiB.
	maxMaxFlows = 1 << 20

	// 384 B a socket: 192 MiB of kernel memory, charged to the collector's cgroup. Hosts
	// with more sockets exist; who runs one sizes its memory knowingly.
	defaultMaxSockets = 1 << 19
	// The kernel keeps the bound in 32 bits; 2³⁰ would take 384 GiB.
	maxMaxSockets = 1 << 30

	// As many as the kernel tracks by default (nf_conntrack_max): 31 MB, once they are there.
	defaultMaxNATConnections = 1 << 18
	// 2 GiB.
	maxMaxNATConnections = 1 << 24
	// A node of Kubernetes runs 110 pods unless told otherwise.
	defaultMaxNATNamespaces = 256
	// Each takes a descriptor, and the look at all of them grows with their number.
	maxMaxNATNamespaces = 1 << 14
)

// Config is the configuration of the receiver.
type Config struct {
	// CollectionInterval is the time from round to round, 1 s to 10 min.
	CollectionInterval time.Duration `mapstructure:"collection_interval"`
	// Jitter makes each round CollectionInterval ± a random time of at most this. Unset
	// (nil): a sixth of the interval. 0: none.
	Jitter *time.Duration `mapstructure:"jitter"`
	// CgroupPath is the cgroup2 directory below which sockets are watched. Empty: the
	// root of the cgroup2 mount.
	CgroupPath string `mapstructure:"cgroup_path"`
	// AdoptExisting makes connections that were open before the start watched too.
	AdoptExisting bool `mapstructure:"adopt_existing"`
	// MaxFlows is how many flows the kernel holds, and whose streams are remembered. Past
	// it traffic is counted in the overflow flows.
	MaxFlows int `mapstructure:"max_flows"`
	// MaxSockets is how many sockets are watched at once. Connections past it are counted
	// as refused, and not seen.
	MaxSockets int `mapstructure:"max_sockets"`
	// IdleTimeout is how long the end of a silent stream is remembered.
	IdleTimeout time.Duration `mapstructure:"idle_timeout"`
	// Temporality of sums and histograms.
	Temporality Temporality `mapstructure:"temporality"`
	// PinPath is a folder of a BPF file system in which all that counts is pinned: it goes
	// on while the collector is down. Empty: counting ends with the collector.
	PinPath string `mapstructure:"pin_path"`
	// NAT has flows told by what their ends are beyond network address translation, as
	// conntrack knows it.
	NAT bool `mapstructure:"nat"`
	// MaxNATConnections is how many translated connections are known at once, for NAT.
	MaxNATConnections int `mapstructure:"max_nat_connections"`
	// MaxNATNamespaces is how many network namespaces are followed, for NAT.
	MaxNATNamespaces int `mapstructure:"max_nat_namespaces"`
	// Container tells flows apart by container and pod, where the sockets' cgroup says so.
	Container bool `mapstructure:"container"`
	// Detail are groups of counters to keep besides the usual ones: limits,
	// retransmit_type, netns, zero_windows, ecn.
	Detail []string `mapstructure:"detail"`
	// DropCapabilities gives up the capabilities of the whole process, but for those that
	// other options go on needing, once the start and the adoption are done.
	DropCapabilities bool `mapstructure:"drop_capabilities"`
	// Resource overrides resource attributes, or adds to them. (Not any: a number that
	// comes from an environment variable, an account id for instance, must stay a string.)
	Resource map[string]string `mapstructure:"resource"`

	_ struct{} // prevents unkeyed literals
}

var _ confmap.Unmarshaler = (*Config)(nil)

// Unmarshal refuses what confmap takes silently, and reports all that is wrong at once.
func (c *Config) Unmarshal(conf *confmap.Conf) error {
	return strictconf.Unmarshal(conf, c)
}

func createDefaultConfig() component.Config {
	return &Config{
		CollectionInterval: 30 * time.Second,
		AdoptExisting:      true,
		Container:          true,
		MaxFlows:           16384,
		MaxSockets:         defaultMaxSockets,
		IdleTimeout:        time.Hour,
		Temporality:        TemporalityDelta,
		MaxNATConnections:  defaultMaxNATConnections,
		MaxNATNamespaces:   defaultMaxNATNamespaces,
	}
}

// jitter is the jitter to use: the configured one, or its default.
func (c *Config) jitter() time.Duration {
	if c.Jitter != nil {
		return *c.Jitter
	}
	return c.CollectionInterval / jitterShare
}

// longestRound is the interval plus the jitter; if either is invalid, with the nearest that
// is valid, so that an idle timeout which no correction of them would make long enough is
// reported together with them.
func (c *Config) longestRound() time.Duration {
	interval := min(max(c.CollectionInterval, minCollectionInterval), maxCollectionInterval)
	jitter := interval / jitterShare
	if c.Jitter != nil {
		jitter = min(max(*c.Jitter, 0), interval)
	}
	return interval + jitter
}

// Validate reports everything that is wrong, each by its YAML key.
func (c *Config) Validate() error {
	var errs []error
	refuse := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf(format, args...))
	}

	if c.CollectionInterval < minCollectionInterval || c.CollectionInterval > maxCollectionInterval {
		refuse("'collection_interval' must be from %v to %v: is %v", minCollectionInterval, maxCollectionInterval, c.CollectionInterval)
	}
	if j := c.jitter(); j < 0 || j >= c.CollectionInterval && j != 0 {
		refuse("'jitter' must be from 0s to below 'collection_interval' (%v): is %v", c.CollectionInterval, j)
	}
	if c.CgroupPath != "" && !filepath.IsAbs(c.CgroupPath) {
		refuse("'cgroup_path' must be an absolute path, or empty to find the cgroup2 mount: is %q", c.CgroupPath)
	}
	if c.PinPath != "" && !filepath.IsAbs(c.PinPath) {
		refuse("'pin_path' must be an absolute path of a folder below a BPF file system, as /sys/fs/bpf/flowmonitor, or empty: is %q", c.PinPath)
	}
	if c.MaxFlows < 1 || c.MaxFlows > maxMaxFlows {
		refuse("'max_flows' must be from 1 to %d: is %d", maxMaxFlows, c.MaxFlows)
	}
	if c.MaxSockets < 1 || c.MaxSockets > maxMaxSockets {
		refuse("'max_sockets' must be from 1 to %d: is %d", maxMaxSockets, c.MaxSockets)
	}
	if c.MaxNATConnections < 1 || c.MaxNATConnections > maxMaxNATConnections {
		refuse("'max_nat_connections' must be from 1 to %d: is %d", maxMaxNATConnections, c.MaxNATConnections)
	}
	if c.MaxNATNamespaces < 1 || c.MaxNATNamespaces > maxMaxNATNamespaces {
		refuse("'max_nat_namespaces' must be from 1 to %d: is %d", maxMaxNATNamespaces, c.MaxNATNamespaces)
	}
	for _, name := range c.Detail {
		if !slices.Contains(detailGroupNames, name) {
			refuse("'detail' must hold names of %q: has %q", detailGroupNames, name)
		}
	}
	if longest := c.longestRound(); c.IdleTimeout < longest {
		refuse("'idle_timeout' must be at least 'collection_interval' + 'jitter' (%v): is %v", longest, c.IdleTimeout)
	}
	if c.Temporality != TemporalityDelta && c.Temporality != TemporalityCumulative {
		refuse("'temporality' must be %q or %q: is %q", TemporalityDelta, TemporalityCumulative, c.Temporality)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Resource)) {
		if value := c.Resource[name]; value == "" || name == "" {
			refuse("'resource' must map names to strings, none of them empty: %q is %q", name, value)
		}
	}
	return errors.Join(errs...)
}
