// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/metadata"
)

func load(t *testing.T, name string) *Config {
	t.Helper()
	conf, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	sub, err := conf.Sub(component.NewIDWithName(metadata.Type, name).String())
	require.NoError(t, err)
	cfg := NewFactory().CreateDefaultConfig().(*Config)
	require.NoError(t, sub.Unmarshal(cfg))
	return cfg
}

func TestTheDefaultIsValidAndNeedsNoSource(t *testing.T) {
	cfg := load(t, "")
	assert.Equal(t, createDefaultConfig(), cfg)
	assert.NoError(t, confmap.Validate(cfg))
	assert.Equal(t, 5*time.Minute, cfg.Topology.RefreshInterval)
	assert.True(t, cfg.Attributes.Path)
	assert.True(t, cfg.Attributes.Monitors)
}

func TestEveryOption(t *testing.T) {
	cfg := load(t, "all")
	want := createDefaultConfig().(*Config)
	want.Topology.RefreshInterval = time.Minute
	want.Topology.File = configoptional.Some(FileConfig{Path: "topology.yaml"})
	want.Topology.IPRanges.Path = "ip-ranges.json"
	want.MonitorsFile = "monitors.yaml"
	want.Attributes = AttributesConfig{Path: false, Monitors: true}
	want.MaxCachedFlows = 5000
	want.Monitors = []MonitorConfig{{
		Name:   "checkout-to-db",
		Local:  []ResourceConfig{{Type: "subnet", ID: "subnet-0a1"}},
		Remote: []ResourceConfig{{Type: "service", ID: "DynamoDB"}, {Type: "everywhere"}},
	}}
	assert.Equal(t, want, cfg)
	assert.NoError(t, confmap.Validate(cfg))
}

func TestTheSourcesThatAskAWS(t *testing.T) {
	cfg := load(t, "aws")
	want := createDefaultConfig().(*Config)
	want.Topology = TopologyConfig{
		RefreshInterval: 10 * time.Minute,
		SnapshotPath:    "/var/lib/flowmonitor/topology",
		EC2: configoptional.Some(EC2Config{
			Accounts: []AccountConfig{
				{Regions: []string{"eu-west-1"}},
				{RoleARN: "arn:aws:iam::111111111111:role/reader", ExternalID: "x-1", Regions: []string{"eu-west-1", "us-gov-west-1"}},
			},
			Endpoint: "http://127.0.0.1:4566", STSEndpoint: "http://127.0.0.1:4567", RequestRate: 5.5, MaxParallel: 4,
		}),
		IMDS:     configoptional.Some(IMDSConfig{Endpoint: "http://127.0.0.1:1338"}),
		IPRanges: IPRangesConfig{Refresh: true, Endpoint: "https://mirror.example/ip-ranges.json"},
	}
	assert.Equal(t, want, cfg)
	assert.NoError(t, confmap.Validate(cfg))
	short := load(t, "short")
	assert.NoError(t, confmap.Validate(short))
	assert.Equal(t, 10.0, short.Topology.EC2.Get().RequestRate)
	assert.Equal(t, 16, short.Topology.EC2.Get().MaxParallel)
	assert.True(t, short.Topology.IMDS.HasValue())
}

func TestTheSnapshotIsNoFileThatIsRead(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("there.yaml", []byte("[]"), 0o600))
	require.NoError(t, os.Symlink("there.yaml", "link"))
	for _, c := range []struct{ read, snapshot string }{{"topology.yaml", "./topology.yaml"}, {"a/../topology.yaml", "topology.yaml"}, {"there.yaml", "link"}} {
		cfg := createDefaultConfig().(*Config)
		cfg.Topology.SnapshotPath = c.snapshot
		require.NoError(t, cfg.Validate())
		cfg.MonitorsFile = c.read
		cfg.Topology.IPRanges.Path = c.read
		cfg.Topology.File = configoptional.Some(FileConfig{Path: c.read})
		err := cfg.Validate()
		for _, key := range []string{"topology::file::path", "topology::ip_ranges::path", "monitors_file"} {
			assert.ErrorContains(t, err, "'topology::snapshot_path' is the file that '"+key+"' reads")
		}
	}
}

func TestAllErrorsOfTheAWSSourcesAreGivenAtOnce(t *testing.T) {
	err := load(t, "bad_aws").Validate()
	require.Error(t, err)
	for _, want := range []error{errEC2Interval, errRequestRate, errMaxParallel, errRanges} {
		assert.ErrorIs(t, err, want)
	}
	for _, want := range []string{
		"'topology::snapshot_path' is the file that 'topology::file::path' reads: give it another name",
		"'topology::ec2::accounts[0]::regions' is required",
		"'topology::ec2::accounts[0]::external_id' is used with a 'role_arn' only",
		"'topology::ec2::accounts[1]::role_arn': \"reader\" is not the ARN of a role",
		"'topology::ec2::accounts[1]::external_id' must have 2 to 1224",
		"'topology::ec2::accounts[1]::regions[0]': \"ireland\" is not the name of a Region",
		"'topology::ec2::accounts[2]::regions[1]': \"eu-west-1\" is read with the same credentials already",
		"'topology::ec2::endpoint': \"127.0.0.1:4566\" is not a URL",
		"'topology::ec2::sts_endpoint': \"ftp://x\" is not a URL",
		"'topology::imds::endpoint': \"169.254.169.254\" is not a URL",
	} {
		assert.ErrorContains(t, err, want)
	}
	assert.NotErrorIs(t, err, errRefreshInterval)
	cfg := createDefaultConfig().(*Config)
	cfg.Topology.IPRanges.Endpoint = "mirror"
	assert.ErrorIs(t, cfg.Validate(), errRangesEndpoint)
	assert.ErrorContains(t, cfg.Validate(), "'topology::ip_ranges::endpoint': \"mirror\" is not a URL")

	many := defaultEC2()
	for i := range 101 {
		account := AccountConfig{RoleARN: fmt.Sprintf("arn:aws:iam::%012d:role/reader", i)}
		for j := range 20 {
			account.Regions = append(account.Regions, fmt.Sprintf("eu-west-%d", j))
		}
		many.Accounts = append(many.Accounts, account)
	}
	cfg = createDefaultConfig().(*Config)
	cfg.Topology.EC2 = configoptional.Some(many)
	assert.ErrorIs(t, cfg.Validate(), errParts)
}

func TestAllErrorsAreGivenAtOnceWithTheirKeys(t *testing.T) {
	err := load(t, "bad").Validate()
	require.Error(t, err)
	for _, want := range []error{errRefreshInterval, errFilePath, errMaxCachedFlows} {
		assert.ErrorIs(t, err, want)
	}
	for _, want := range []string{
		"'monitors[0].name': is required",
		"'monitors[0].local': at least one resource is required",
		"'monitors[1].local[0].type': \"subnets\" is no type of a local resource: one of subnet, vpc, availability_zone, region, eks_cluster",
		"'monitors[1].local[1].id': \"vpc-1\" is neither the id (subnet-…) nor the ARN of a subnet",
		"'monitors[1].local[2].type': \"service\" is no type of a local resource",
		"'monitors[1].remote[0].id': \"S4\" is not a service that is told by the AWS ranges",
		"'monitors[1].remote[1].id': must be absent",
		"'monitors[1].remote[2].id': is required for type vpc",
		"'monitors[1].remote[3].type': \"eks_cluster\" is no type of a remote resource",
		"'monitors[2].name': \"twice\" is the name of monitor [1] too",
		"'monitors[2].local[0].id': \"arn:aws:ec2:eu-west-1:111111111111:vpc/vpc-1\" is not the ARN of a subnet",
		"'monitors[2].local[1].id': \"eu-west\" is not the name of a Region",
		"'monitors[2].local[2].id': \"eu-west-1\" is neither the name (eu-west-1a) nor the id (euw1-az1) of an availability zone",
	} {
		assert.ErrorContains(t, err, want)
	}
}

func TestUnknownKeysAreRefused(t *testing.T) {
	conf := confmap.NewFromStringMap(map[string]any{"topology": map[string]any{"files": map[string]any{"path": "x"}}})
	assert.ErrorContains(t, conf.Unmarshal(createDefaultConfig()), "files")
}

func TestASourceWithoutItsOptionsIsSaid(t *testing.T) {
	for yaml, want := range map[string]error{
		"topology: {file: }":     errFilePath,
		"topology: {file: {}}":   errFilePath,
		"topology: {file: ~}":    errFilePath,
		"topology: {ec2: }":      errAccounts,
		"topology: {ec2: {}}":    errAccounts,
		"topology: {imds: }":     nil,
		"topology:\n  file:\n":   errFilePath,
		"topology: {}":           nil,
		"topology:":              nil,
		"max_cached_flows: 5000": nil,
	} {
		got, err := confmap.NewRetrievedFromYAML([]byte(yaml))
		require.NoError(t, err)
		conf, err := got.AsConf()
		require.NoError(t, err)
		cfg := createDefaultConfig().(*Config)
		require.NoError(t, conf.Unmarshal(cfg))
		assert.ErrorIs(t, confmap.Validate(cfg), want, yaml)
	}
}

func TestWholeNumbersAreNeitherCutNorWrappedAndOtherErrorsStandBeside(t *testing.T) {
	for value, want := range map[any]string{1.5: "must be a whole number: is 1.5", 1e20: "must be a whole number that fits into 64 bits: is 1e+20"} {
		err := confmap.NewFromStringMap(map[string]any{
			"max_cached_flows": value,
			"monitors":         []any{map[string]any{"nam": "x"}},
			"topology": map[string]any{
				"file":      map[string]any{"paht": "x"},
				"ec2":       map[string]any{"max_parallel": value, "request_rate": 0.0, "accounts": []any{map[string]any{"region": "eu-west-1"}}},
				"ip_ranges": map[string]any{"refresh": true, "path": "x"},
			},
		}).Unmarshal(createDefaultConfig())
		for _, wanted := range []string{
			"'max_cached_flows' " + want,
			"'topology::ec2::max_parallel' " + want,
			"'topology::ec2::accounts[0]::region' is no key that is known here: one of external_id, regions, role_arn",
			"'topology::file::paht' is no key that is known here: one of path",
			"'monitors[0]::nam' is no key that is known here: one of local, name, remote",
			errRanges.Error(), errRequestRate.Error(),
		} {
			assert.ErrorContains(t, err, wanted)
		}
	}
}
