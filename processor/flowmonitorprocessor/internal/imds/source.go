// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package imds

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/parts"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

const (
	// maxInterval is the longest pause between two readings: the service is on the host
	// itself, and interfaces and prefixes come and go with containers.
	maxInterval = time.Minute

	// requestTimeout bounds one request. The service answers in milliseconds; where there is
	// none the connection is refused, or nobody answers.
	requestTimeout = 2 * time.Second

	// readTimeout bounds a reading: a dozen requests for each of up to fifteen interfaces.
	readTimeout = 30 * time.Second

	// maxInterfaces bounds what is read; no instance type has more.
	maxInterfaces = 64
)

// Key is the only part that the source has.
var Key = parts.Key{Source: parts.IMDS}

// Options are what a [Source] needs.
type Options struct {
	Endpoint string                      // empty: http://169.254.169.254
	Interval time.Duration               // between two readings; at most a minute
	Put      func(parts.Part) parts.Part // gives what is kept, which nobody here needs
	Result   func(k parts.Key, err error)
}

// Source reads the metadata service of this host.
type Source struct {
	o         Options
	client    *imds.Client
	transport *http.Transport
}

// New makes a Source that does nothing yet.
func New(o Options) *Source {
	// Never through a proxy: it would answer for its own host.
	s := &Source{o: o, transport: &http.Transport{}}
	s.client = imds.New(imds.Options{
		Endpoint:          strings.TrimSuffix(o.Endpoint, "/"),
		ClientEnableState: imds.ClientEnabled, // the source was asked for by name
		EnableFallback:    aws.FalseTernary,   // session tokens (IMDSv2) only
		HTTPClient:        &http.Client{Transport: s.transport, Timeout: requestTimeout},
		Retryer:           retry.NewStandard(func(o *retry.StandardOptions) { o.MaxBackoff = time.Second }),
	})
	return s
}

// Run reads until ctx ends.
func (s *Source) Run(ctx context.Context) {
	defer s.transport.CloseIdleConnections()
	interval := min(s.o.Interval, maxInterval)
	for {
		p, err := s.read(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			s.o.Put(p)
		}
		s.o.Result(Key, err)
		pause := time.NewTimer(time.Duration(float64(interval) * (0.9 + 0.2*rand.Float64()))) // hosts that start together do not stay together
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
	}
}

func (s *Source) read(ctx context.Context) (parts.Part, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	begun := time.Now()
	r := reader{client: s.client}
	t, err := r.host(ctx)
	if err != nil {
		return parts.Part{}, fmt.Errorf("instance metadata service: %w (not on EC2? In a container the hop limit of the instance's metadata options has to be 2, or the container on the host's network)", err)
	}
	return parts.Part{Key: Key, Account: r.account, Region: r.region, Current: begun, Own: t, Shared: &topology.Topology{}}, nil
}
