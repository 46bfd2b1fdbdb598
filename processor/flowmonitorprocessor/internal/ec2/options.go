// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"go.uber.org/zap"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/parts"
)

// Account is an AWS account to read, by one role.
type Account struct {
	RoleARN    string // empty: the ambient credentials
	ExternalID string
	Regions    []string
}

// Options are what a [Source] needs.
type Options struct {
	Accounts              []Account
	Endpoint, STSEndpoint string // empty: those of AWS

	RefreshInterval time.Duration
	RequestRate     float64 // requests a second, of one account in one Region
	MaxParallel     int     // accounts and Regions that are read at the same time
	MaxBackoff      time.Duration

	Logger *zap.Logger

	// Put takes a part that was read, and gives the one to keep (see [parts.Set.Put]). It is
	// called by one goroutine at a time for each part.
	Put func(parts.Part) parts.Part
	// Result takes what became of a refresh; err is nil when it was good.
	Result func(k parts.Key, err error)
	// Trouble takes the error of a refresh that goes on trying; its Result follows.
	Trouble func(k parts.Key, err error)
	// Request counts an answer to a request, retries included.
	Request func(operation, result string)
	// Lookups counts addresses and instances that were looked up.
	Lookups func(result string, n int)

	// LookupDelay is how long what is to be looked up is gathered. Zero: the default.
	LookupDelay time.Duration
}

// Results of a request, see [Options.Request].
const (
	RequestOK        = "ok"
	RequestThrottled = "throttled"
	RequestDenied    = "denied" // no permission
	RequestFailed    = "failed"
)

// Results of a look-up, see [Options.Lookups].
const (
	LookupFound    = "found"
	LookupNotFound = "not_found" // and not asked for again for a while
	LookupFailed   = "failed"
	LookupRefused  = "refused" // too many were waiting
)

const (
	// DefaultRequestRate is half of what an account gets for each API (20 a second, and 100
	// at once), even if all requests went to the same one.
	DefaultRequestRate = 10

	// DefaultMaxParallel keeps a hundred accounts in ten Regions within a refresh interval of
	// five minutes, at 25 requests each and 0.1 s a request.
	DefaultMaxParallel = 16

	// DefaultMaxBackoff is the longest wait before a request is tried again.
	DefaultMaxBackoff = 20 * time.Second

	// maxAttempts of one request: with the back-off, throttling may last a minute and a half.
	maxAttempts = 8

	// requestTimeout bounds one attempt. The slowest answers, a thousand interfaces, take
	// some seconds.
	requestTimeout = 60 * time.Second

	// refreshTimeout bounds the refresh of one part: a million interfaces at ten requests a
	// second take two minutes.
	refreshTimeout = 20 * time.Minute

	// maxAnswer bounds the answer to one request. A thousand interfaces with fifty addresses
	// each are 25 MB of XML.
	maxAnswer = 128 << 20

	// maxPages bounds the pages of one list: two million interfaces. A service that gives
	// tokens without end must not fill the memory.
	maxPages = 2000

	// defaultLookupDelay gathers what a burst of new flows does not know into few requests.
	defaultLookupDelay = 5 * time.Second
)

func (o Options) withDefaults() Options {
	if o.RequestRate == 0 {
		o.RequestRate = DefaultRequestRate
	}
	if o.MaxParallel == 0 {
		o.MaxParallel = DefaultMaxParallel
	}
	if o.MaxBackoff == 0 {
		o.MaxBackoff = DefaultMaxBackoff
	}
	if o.LookupDelay == 0 {
		o.LookupDelay = defaultLookupDelay
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.Result == nil {
		o.Result = func(parts.Key, error) {}
	}
	if o.Trouble == nil {
		o.Trouble = func(parts.Key, error) {}
	}
	if o.Request == nil {
		o.Request = func(string, string) {}
	}
	if o.Lookups == nil {
		o.Lookups = func(string, int) {}
	}
	return o
}

// Expected gives the parts that the accounts will give, without what is in them. The account
// of the ambient credentials is not known before they are used.
func Expected(accounts []Account) []parts.Part {
	var expected []parts.Part
	for _, a := range accounts {
		role, _ := arn.Parse(a.RoleARN)
		for _, region := range a.Regions {
			expected = append(expected, parts.Part{Key: keyOf(a, region), Account: role.AccountID, Region: region})
		}
	}
	return expected
}

func keyOf(a Account, region string) parts.Key {
	role := a.RoleARN
	if role == "" {
		role = "ambient"
	}
	return parts.Key{Source: parts.EC2, Name: role + "/" + region}
}
