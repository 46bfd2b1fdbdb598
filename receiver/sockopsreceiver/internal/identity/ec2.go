// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package identity asks who this host is.
package identity // import "github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/identity"

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
)

// Instance is the EC2 instance that this host is.
type Instance struct {
	ID      string // i-0123456789abcdef0
	Account string // of its owner
	Region  string // eu-west-1
	Zone    string // eu-west-1a
}

const (
	// Timeout is what a host that is no EC2 instance costs. The service, on the host's own
	// hypervisor, answers in milliseconds; the SDK waits 250 ms for a connection and 500 ms
	// for an answer, so this holds a token that is lost on the way and the request
	// without one.
	Timeout = 2 * time.Second
	// attempts: one packet may be lost.
	attempts = 2
	// A longest pause that leaves the second attempt its time.
	backoff = 200 * time.Millisecond
)

// EC2 asks the instance metadata service (IMDS), by its second version if that answers.
// The error says why there is no answer; most often this is no EC2 instance. As everywhere
// in the SDK, AWS_EC2_METADATA_DISABLED=true forbids the question and
// AWS_EC2_METADATA_SERVICE_ENDPOINT is who is asked.
func EC2(ctx context.Context) (Instance, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	client := imds.New(imds.Options{
		HTTPClient: awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.DisableKeepAlives = true // asked once: no connection stays
			t.Proxy = nil              // a proxy would tell who the proxy is
		}),
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = attempts
			o.MaxBackoff = backoff
		}),
	})
	out, err := client.GetInstanceIdentityDocument(ctx, nil)
	if err != nil {
		return Instance{}, fmt.Errorf("ask the EC2 instance metadata service who this host is: %w", err)
	}
	if out.InstanceID == "" {
		return Instance{}, errors.New("ask the EC2 instance metadata service who this host is: its identity document has no instance id")
	}
	return Instance{ID: out.InstanceID, Account: out.AccountID, Region: out.Region, Zone: out.AvailabilityZone}, nil
}
