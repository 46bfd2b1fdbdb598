// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package sockopsreceiver

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/metadata"
)

func TestConfigFromYAML(t *testing.T) {
	file, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	millis := func(n int) *time.Duration {
		d := time.Duration(n) * time.Millisecond
		return &d
	}
	standard := func(change func(*Config)) *Config {
		c := &Config{
			CollectionInterval: 30 * time.Second,
			AdoptExisting:      true,
			Container:          true,
			MaxFlows:           16384,
			MaxSockets:         1 << 19,
			MaxNATConnections:  1 << 18,
			MaxNATNamespaces:   256,
			IdleTimeout:        time.Hour,
			Temporality:        TemporalityDelta,
		}
		change(c)
		return c
	}
	for name, c := range map[string]struct {
		want   *Config
		jitter time.Duration
	}{
		"": {standard(func(*Config) {}), 5 * time.Second},
		"all": {&Config{
			CollectionInterval: 10 * time.Second,
			Jitter:             millis(1500),
			CgroupPath:         "/sys/fs/cgroup/system.slice",
			MaxFlows:           1000,
			MaxSockets:         1 << 19,
			MaxNATConnections:  1 << 18,
			MaxNATNamespaces:   256,
			IdleTimeout:        10 * time.Minute,
			Temporality:        TemporalityCumulative,
			DropCapabilities:   true,
			Detail:             []string{},
			Resource:           map[string]string{"host.id": "i-0123456789abcdef0", "cloud.account.id": "012345678901"},
		}, 1500 * time.Millisecond},
		"no_jitter":     {standard(func(c *Config) { c.Jitter = millis(0) }), 0},
		"only_interval": {standard(func(c *Config) { c.CollectionInterval = 6 * time.Second }), time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			sub, err := file.Sub(component.NewIDWithName(metadata.Type, name).String())
			require.NoError(t, err)
			cfg := createDefaultConfig()
			require.NoError(t, sub.Unmarshal(cfg))
			require.NoError(t, confmap.Validate(cfg))
			assert.Equal(t, c.want, cfg)
			assert.Equal(t, c.jitter, cfg.(*Config).jitter())
		})
	}
}

// Each of the invalid values is refused by its YAML key, with what is allowed and what it is.
var invalid = map[string]struct {
	yaml map[string]any
	want string
}{
	"an interval below the least":          {map[string]any{"collection_interval": "500ms"}, "'collection_interval' must be from 1s to 10m0s: is 500ms"},
	"an interval above the longest":        {map[string]any{"collection_interval": "11m"}, "'collection_interval' must be from 1s to 10m0s: is 11m0s"},
	"a jitter of the whole interval":       {map[string]any{"jitter": "30s"}, "'jitter' must be from 0s to below 'collection_interval' (30s): is 30s"},
	"a negative jitter":                    {map[string]any{"jitter": "-1s"}, "'jitter' must be from 0s to below 'collection_interval' (30s): is -1s"},
	"a relative cgroup":                    {map[string]any{"cgroup_path": "system.slice"}, `'cgroup_path' must be an absolute path, or empty to find the cgroup2 mount: is "system.slice"`},
	"no flows":                             {map[string]any{"max_flows": 0}, "'max_flows' must be from 1 to 1048576: is 0"},
	"more flows than memory":               {map[string]any{"max_flows": 1<<20 + 1}, "'max_flows' must be from 1 to 1048576: is 1048577"},
	"an idle timeout shorter than a round": {map[string]any{"idle_timeout": "34s"}, "'idle_timeout' must be at least 'collection_interval' + 'jitter' (35s): is 34s"},
	"a temporality that does not exist":    {map[string]any{"temporality": "Delta"}, `'temporality' must be "delta" or "cumulative": is "Delta"`},
	"a relative pin path":                  {map[string]any{"pin_path": "flowmonitor"}, `'pin_path' must be an absolute path of a folder below a BPF file system, as /sys/fs/bpf/flowmonitor, or empty: is "flowmonitor"`},
	"no translated connections":            {map[string]any{"max_nat_connections": 0}, "'max_nat_connections' must be from 1 to 16777216: is 0"},
	"too many translated connections":      {map[string]any{"max_nat_connections": 1<<24 + 1}, "'max_nat_connections' must be from 1 to 16777216: is 16777217"},
	"no namespaces":                        {map[string]any{"max_nat_namespaces": 0}, "'max_nat_namespaces' must be from 1 to 16384: is 0"},
	"too many namespaces":                  {map[string]any{"max_nat_namespaces": 1<<14 + 1}, "'max_nat_namespaces' must be from 1 to 16384: is 16385"},
	"an unknown group of detail":           {map[string]any{"detail": []any{"limits", "windows"}}, `'detail' must hold names of ["limits" "retransmit_type" "netns" "zero_windows" "ecn"]: has "windows"`},
	"no sockets":                           {map[string]any{"max_sockets": 0}, "'max_sockets' must be from 1 to 1073741824: is 0"},
	"too many sockets":                     {map[string]any{"max_sockets": 1<<30 + 1}, "'max_sockets' must be from 1 to 1073741824: is 1073741825"},
	"an empty resource attribute":          {map[string]any{"resource": map[string]any{"host.id": ""}}, `'resource' must map names to strings, none of them empty: "host.id" is ""`},
	"a resource attribute without value":   {map[string]any{"resource": map[string]any{"host.id": nil}}, `'resource' must map names to strings, none of them empty: "host.id" is ""`},
	"a resource attribute without name":    {map[string]any{"resource": map[string]any{"": "x"}}, `'resource' must map names to strings, none of them empty: "" is "x"`},
}

func TestEachInvalidValueIsRefusedByItsKey(t *testing.T) {
	for name, c := range invalid {
		t.Run(name, func(t *testing.T) {
			cfg := createDefaultConfig()
			require.NoError(t, confmap.NewFromStringMap(c.yaml).Unmarshal(cfg))
			require.EqualError(t, confmap.Validate(cfg), c.want)
		})
	}
}

func TestAllErrorsAreReportedAtOnce(t *testing.T) {
	cfg := createDefaultConfig()
	require.NoError(t, confmap.NewFromStringMap(map[string]any{
		"collection_interval": "0s",
		"jitter":              "1s",
		"cgroup_path":         "x",
		"max_flows":           -1,
		"idle_timeout":        "0s",
		"temporality":         "",
		"pin_path":            "x",
		"max_nat_connections": 0,
		"max_nat_namespaces":  0,
		"detail":              []any{"x"},
		"resource":            map[string]any{"a": "", "b": ""},
	}).Unmarshal(cfg))
	err := confmap.Validate(cfg)
	require.Error(t, err)
	for _, key := range []string{
		"'collection_interval'", "'jitter'", "'cgroup_path'", "'max_flows'", "'idle_timeout'", "'temporality'",
		"'pin_path'", "'max_nat_connections'", "'max_nat_namespaces'", "'detail'", `"a"`, `"b"`,
	} {
		assert.ErrorContains(t, err, key)
	}
	assert.Len(t, strings.Split(err.Error(), "\n"), 12)
}

func TestUnknownKeysAndWrongTypesAreRefused(t *testing.T) {
	for key, value := range map[string]any{"colection_interval": "1s", "max_flows": "many", "jitter": "soon", "nat": "maybe", "resource": map[string]any{"cloud.account.id": 12}} {
		err := confmap.NewFromStringMap(map[string]any{key: value}).Unmarshal(createDefaultConfig())
		assert.ErrorContains(t, err, key)
	}
}

// literal is a provider like that of environment variables: what is behind its scheme is
// the value, read as YAML.
type literal struct{}

func (literal) Scheme() string                 { return "literal" }
func (literal) Shutdown(context.Context) error { return nil }
func (literal) Retrieve(_ context.Context, uri string, _ confmap.WatcherFunc) (*confmap.Retrieved, error) {
	return confmap.NewRetrievedFromYAML([]byte(strings.TrimPrefix(uri, "literal:")))
}

func TestAnAccountIDFromTheEnvironmentStaysAString(t *testing.T) {
	resolver, err := confmap.NewResolver(confmap.ResolverSettings{
		URIs: []string{"literal:resource: {cloud.account.id: '${literal:012345678901}'}"},
		ProviderFactories: []confmap.ProviderFactory{
			confmap.NewProviderFactory(func(confmap.ProviderSettings) confmap.Provider { return literal{} }),
		},
	})
	require.NoError(t, err)
	conf, err := resolver.Resolve(t.Context())
	require.NoError(t, err)
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, conf.Unmarshal(cfg))
	assert.Equal(t, map[string]string{"cloud.account.id": "012345678901"}, cfg.Resource)
}

func fromYAML(t *testing.T, yaml string) error {
	t.Helper()
	got, err := confmap.NewRetrievedFromYAML([]byte(yaml))
	require.NoError(t, err)
	conf, err := got.AsConf()
	require.NoError(t, err)
	cfg := createDefaultConfig()
	if err := conf.Unmarshal(cfg); err != nil {
		return err
	}
	return confmap.Validate(cfg)
}

func TestWholeNumbersAreNeitherCutNorWrapped(t *testing.T) {
	for _, key := range []string{"max_flows", "max_sockets", "max_nat_connections", "max_nat_namespaces"} {
		assert.ErrorContains(t, fromYAML(t, key+": 1.5"), "'"+key+"' must be a whole number: is 1.5")
		assert.ErrorContains(t, fromYAML(t, key+": 99999999999999999999"), "'"+key+"' must be a whole number that fits into 64 bits: is 1e+20")
		assert.ErrorContains(t, fromYAML(t, key+": 18446744073709551615"), "'"+key+"' must be a whole number that fits into 64 bits: is 18446744073709551615")
		assert.NoError(t, fromYAML(t, key+": 5"))
	}
}

func TestErrorsOfTypesKeysAndValuesAreReportedTogether(t *testing.T) {
	err := fromYAML(t, "{colection_interval: 1s, max_flows: 1.5, nat: maybe, jitter: soon, temporality: x, idle_timeout: 1s, resource: {a: 5}}")
	for _, want := range []string{
		"'colection_interval' is no key that is known here: one of adopt_existing, ", "'max_flows' must", "'nat' must", "'jitter' must",
		"'temporality' must", "'idle_timeout' must", "'resource[a]' expected type 'string'",
	} {
		assert.ErrorContains(t, err, want)
	}
}

func TestAnIdleTimeoutThatIsTooShortForAnyIntervalIsReportedBesideAnInvalidInterval(t *testing.T) {
	for _, yaml := range []string{
		"{collection_interval: 0s, idle_timeout: 1s}",
		"{collection_interval: -5m, idle_timeout: 1s}",
		"{collection_interval: 500ms, jitter: -5m, idle_timeout: 900ms}",
		"{collection_interval: 1h, idle_timeout: 1s}",
		"{collection_interval: soon, idle_timeout: 1s}",
	} {
		err := fromYAML(t, yaml)
		assert.ErrorContains(t, err, "'collection_interval' must", yaml)
		assert.ErrorContains(t, err, "'idle_timeout' must", yaml)
	}
	err := fromYAML(t, "{collection_interval: 0s, idle_timeout: 2s}")
	assert.ErrorContains(t, err, "'collection_interval' must")
	assert.NotContains(t, err.Error(), "'idle_timeout'", "2s is enough for the shortest interval")
}
