// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowmonitorprocessor

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"go.opentelemetry.io/collector/config/configoptional"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ec2"
)

const (
	defaultRefreshInterval = 5 * time.Minute
	minRefreshInterval     = time.Second    // a poll reads the whole file
	maxRefreshInterval     = 24 * time.Hour // a topology older than a day is no topology

	// The EC2 API is not asked more often than a fleet of gateways can afford: each refresh
	// takes some thirty requests of each account and Region.
	minEC2RefreshInterval = 30 * time.Second

	minRequestRate, maxRequestRate = 0.1, 100 // the account's bucket itself holds a hundred
	minParallel, maxParallel       = 1, 256

	// maxParts bounds accounts times Regions, and with them the points of topology_age. It is
	// the number of attribute sets that the collector's telemetry keeps apart.
	maxParts = 2000
)

// TopologyConfig names the sources of the topology.
type TopologyConfig struct {
	// RefreshInterval is how often sources are read again. A watched file is read when
	// it changes; this is then the poll for file systems without notifications.
	RefreshInterval time.Duration `mapstructure:"refresh_interval"`
	// SnapshotPath is where the last good topology is kept, for the next start.
	SnapshotPath string                              `mapstructure:"snapshot_path"`
	File         configoptional.Optional[FileConfig] `mapstructure:"file"`
	EC2          configoptional.Optional[EC2Config]  `mapstructure:"ec2"`
	IMDS         configoptional.Optional[IMDSConfig] `mapstructure:"imds"`
	IPRanges     IPRangesConfig                      `mapstructure:"ip_ranges"`

	_ struct{}
}

// FileConfig is a topology file, or a snapshot.
type FileConfig struct {
	Path string `mapstructure:"path"`

	_ struct{}
}

// EC2Config is the EC2 API as a source.
type EC2Config struct {
	Accounts []AccountConfig `mapstructure:"accounts"`
	// Endpoint replaces the EC2 endpoints of all Regions, STSEndpoint those of STS.
	Endpoint    string `mapstructure:"endpoint"`
	STSEndpoint string `mapstructure:"sts_endpoint"`
	// RequestRate bounds the requests a second in one account and Region.
	RequestRate float64 `mapstructure:"request_rate"`
	// MaxParallel bounds the accounts and Regions that are read at the same time.
	MaxParallel int `mapstructure:"max_parallel"`

	_ struct{}
}

// AccountConfig is an AWS account to read.
type AccountConfig struct {
	// RoleARN is assumed. Empty: the ambient credentials.
	RoleARN    string   `mapstructure:"role_arn"`
	ExternalID string   `mapstructure:"external_id"`
	Regions    []string `mapstructure:"regions"`

	_ struct{}
}

// IMDSConfig is the instance metadata service as a source.
type IMDSConfig struct {
	Endpoint string `mapstructure:"endpoint"`

	_ struct{}
}

// IPRangesConfig is the source of the AWS ranges.
type IPRangesConfig struct {
	// Path of an ip-ranges.json, gzipped or not, which is watched. Empty: the snapshot
	// in the binary.
	Path string `mapstructure:"path"`
	// Refresh reads the ranges from AWS, or from Endpoint.
	Refresh  bool   `mapstructure:"refresh"`
	Endpoint string `mapstructure:"endpoint"`

	_ struct{}
}

func defaultEC2() EC2Config {
	return EC2Config{RequestRate: ec2.DefaultRequestRate, MaxParallel: ec2.DefaultMaxParallel}
}

var (
	errRefreshInterval = fmt.Errorf("'topology::refresh_interval' must be from %s to %s", minRefreshInterval, maxRefreshInterval)
	errEC2Interval     = fmt.Errorf("'topology::refresh_interval' must be at least %s with 'topology::ec2': each refresh takes dozens of requests of the account", minEC2RefreshInterval)
	errFilePath        = errors.New("'topology::file::path' is required: the path of a topology file")
	errAccounts        = errors.New("'topology::ec2::accounts' is required: at least one, such as {regions: [eu-west-1]} for the ambient credentials")
	errParts           = fmt.Errorf("'topology::ec2::accounts' names more than %d accounts and Regions: share them out among several collectors", maxParts)
	errRequestRate     = fmt.Errorf("'topology::ec2::request_rate' must be from %g to %d requests a second", minRequestRate, maxRequestRate)
	errMaxParallel     = fmt.Errorf("'topology::ec2::max_parallel' must be from %d to %d", minParallel, maxParallel)
	errRanges          = errors.New("'topology::ip_ranges::refresh' and 'topology::ip_ranges::path' exclude each other: the ranges come from AWS or from a file")
	errRangesEndpoint  = errors.New("'topology::ip_ranges::endpoint' is used with 'refresh: true' only")
)

var (
	roleForm       = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]{1,576}$`)
	externalIDForm = regexp.MustCompile(`^[\w+=,.@:/-]+$`) // as STS takes it
	regionForm     = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]+$`)
)

// validate gives everything that is wrong with the sources.
func (t *TopologyConfig) validate() []error {
	var errs []error
	check := func(bad bool, err error) {
		if bad {
			errs = append(errs, err)
		}
	}
	check(t.RefreshInterval < minRefreshInterval || t.RefreshInterval > maxRefreshInterval, errRefreshInterval)
	if t.File.HasValue() {
		check(t.File.Get().Path == "", errFilePath)
		check(sameFile(t.SnapshotPath, t.File.Get().Path), errSnapshotPath("topology::file::path"))
	}
	if t.EC2.HasValue() {
		check(t.RefreshInterval >= minRefreshInterval && t.RefreshInterval < minEC2RefreshInterval, errEC2Interval)
		errs = append(errs, t.EC2.Get().validate()...)
	}
	if t.IMDS.HasValue() {
		errs = append(errs, checkURL("topology::imds::endpoint", t.IMDS.Get().Endpoint)...)
	}
	check(sameFile(t.SnapshotPath, t.IPRanges.Path), errSnapshotPath("topology::ip_ranges::path"))
	check(t.IPRanges.Refresh && t.IPRanges.Path != "", errRanges)
	check(!t.IPRanges.Refresh && t.IPRanges.Endpoint != "", errRangesEndpoint)
	return append(errs, checkURL("topology::ip_ranges::endpoint", t.IPRanges.Endpoint)...)
}

// errSnapshotPath is about a file that would be read and written.
func errSnapshotPath(key string) error {
	return fmt.Errorf("'topology::snapshot_path' is the file that '%s' reads: give it another name", key)
}

// sameFile tells whether two paths name one file, however they are written. Neither has to
// exist; where both do, links are followed.
func sameFile(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	if errX == nil && errY == nil {
		return os.SameFile(x, y)
	}
	a, errX = filepath.Abs(a)
	b, errY = filepath.Abs(b)
	return errX == nil && errY == nil && a == b
}

func (c *EC2Config) validate() []error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Accounts) == 0 {
		errs = append(errs, errAccounts)
	}
	if !(c.RequestRate >= minRequestRate && c.RequestRate <= maxRequestRate) { // NaN is neither
		errs = append(errs, errRequestRate)
	}
	if c.MaxParallel < minParallel || c.MaxParallel > maxParallel {
		errs = append(errs, errMaxParallel)
	}
	type part struct{ role, region string }
	seen := map[part]bool{}
	for i, a := range c.Accounts {
		at := fmt.Sprintf("topology::ec2::accounts[%d]", i)
		if a.RoleARN != "" && !roleForm.MatchString(a.RoleARN) {
			fail("'%s::role_arn': %q is not the ARN of a role, such as arn:aws:iam::111122223333:role/reader", at, a.RoleARN)
		}
		switch {
		case a.ExternalID == "":
		case a.RoleARN == "":
			fail("'%s::external_id' is used with a 'role_arn' only", at)
		case len(a.ExternalID) < 2 || len(a.ExternalID) > 1224 || !externalIDForm.MatchString(a.ExternalID):
			fail("'%s::external_id' must have 2 to 1224 letters, digits or characters of +=,.@:/-", at)
		}
		if len(a.Regions) == 0 {
			fail("'%s::regions' is required: at least one, such as [eu-west-1]", at)
		}
		for j, r := range a.Regions {
			k := part{a.RoleARN, r}
			switch {
			case !regionForm.MatchString(r):
				fail("'%s::regions[%d]': %q is not the name of a Region", at, j, r)
			case seen[k]:
				fail("'%s::regions[%d]': %q is read with the same credentials already", at, j, r)
			}
			seen[k] = true
		}
	}
	if len(seen) > maxParts {
		errs = append(errs, errParts)
	}
	errs = append(errs, checkURL("topology::ec2::endpoint", c.Endpoint)...)
	return append(errs, checkURL("topology::ec2::sts_endpoint", c.STSEndpoint)...)
}

func checkURL(key, text string) []error {
	if text == "" {
		return nil
	}
	if u, err := url.Parse(text); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return []error{fmt.Errorf("'%s': %q is not a URL, such as https://vpce-1.ec2.eu-west-1.vpce.amazonaws.com", key, text)}
	}
	return nil
}

func (c *EC2Config) accounts() []ec2.Account {
	list := make([]ec2.Account, 0, len(c.Accounts))
	for _, a := range c.Accounts {
		list = append(list, ec2.Account{RoleARN: a.RoleARN, ExternalID: a.ExternalID, Regions: a.Regions})
	}
	return list
}
