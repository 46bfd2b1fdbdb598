// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	"golang.org/x/time/rate"
)

// sessionName is the name under which the assumed roles appear in CloudTrail.
const sessionName = "flowmonitor"

// clients makes the SDK's clients, which share connections and credentials.
type clients struct {
	o    Options
	life context.Context // ends all requests
	end  context.CancelFunc

	mu     sync.Mutex
	base   *aws.Config
	http   *http.Client
	limits map[limitKey]*rate.Limiter
}

type limitKey struct{ account, region string }

// load reads the ambient configuration: environment, shared files, and the proxies and
// certificates that they name.
func (c *clients) load(ctx context.Context) (aws.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.base != nil {
		return c.base.Copy(), nil
	}
	buildable := awshttp.NewBuildableClient()
	cfg, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(buildable))
	if err != nil {
		return aws.Config{}, fmt.Errorf("load the ambient AWS configuration: %w", err)
	}
	if b, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		buildable = b // with the certificates of AWS_CA_BUNDLE
	}
	c.http = &http.Client{
		Transport:     buildable.GetTransport(),
		Timeout:       requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a signed request is for one host
	}
	cfg.HTTPClient = bounded{c.http, c.life}
	cfg.Retryer = c.retryer
	cfg.APIOptions = append(cfg.APIOptions, c.counted, genuine)
	c.base = &cfg
	return cfg.Copy(), nil
}

func newClients(o Options) *clients {
	life, end := context.WithCancel(context.Background())
	return &clients{o: o, life: life, end: end}
}

// close ends all requests and the connections.
func (c *clients) close() {
	c.end()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.http != nil {
		c.http.CloseIdleConnections()
	}
}

// retryer is the SDK's standard one: exponential back-off with full jitter, which knows
// the codes of throttling, and a quota of retries so that an outage is not made worse.
func (c *clients) retryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = maxAttempts
		o.MaxBackoff = c.o.MaxBackoff
	})
}

// bounded refuses answers that would fill the memory, and ends with its life: the SDK
// fetches credentials without the context of whoever waits for them.
type bounded struct {
	*http.Client
	life context.Context
}

func (b bounded) Do(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(b.life, cancel)
	release := func() { stop(); cancel() }
	resp, err := b.Client.Do(r.WithContext(ctx))
	if err != nil {
		release()
		if b.life.Err() != nil {
			return nil, &aws.RequestCanceledError{Err: context.Canceled} // which is not tried again
		}
		return nil, err
	}
	resp.Body = &limitedBody{ReadCloser: resp.Body, left: maxAnswer, release: release}
	return resp, nil
}

type limitedBody struct {
	io.ReadCloser
	left    int64
	release func()
}

func (l *limitedBody) Close() error {
	l.release()
	return l.ReadCloser.Close()
}

func (l *limitedBody) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, fmt.Errorf("the answer is longer than %d MiB", maxAnswer>>20)
	}
	n, err := l.ReadCloser.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

// limit gives the limiter of an account in a Region, the same for all who ask there.
func (c *clients) limit(account, region string) *rate.Limiter {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := limitKey{account, region}
	if c.limits[k] == nil {
		if c.limits == nil {
			c.limits = map[limitKey]*rate.Limiter{}
		}
		// At once: what two seconds allow, a fifth of the account's bucket at the default rate.
		c.limits[k] = rate.NewLimiter(rate.Limit(c.o.RequestRate), max(1, int(2*c.o.RequestRate)))
	}
	return c.limits[k]
}

// mortal ends the pauses between the attempts of an operation with the life of the clients, as
// bounded does with the attempts.
func (c *clients) mortal(stack *middleware.Stack) error {
	return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("flowmonitor.Mortal", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(c.life, cancel)()
		return next.HandleFinalize(ctx, in)
	}), "Retry", middleware.Before)
}

// counted reports every attempt of every operation.
func (c *clients) counted(stack *middleware.Stack) error {
	return afterRetry(stack, "flowmonitor.Count", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
		out, md, err := next.HandleFinalize(ctx, in)
		if !errors.Is(ctx.Err(), context.Canceled) { // shutting down is no failure
			result := resultOf(err)
			c.o.Request(middleware.GetOperationName(ctx), result)
			if a, ok := ctx.Value(attemptsKey{}).(*attempts); ok {
				a.note(result, err)
			}
		}
		return out, md, err
	})
}

// limited makes every attempt wait for its turn.
func limited(l *rate.Limiter) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) error {
		return afterRetry(stack, "flowmonitor.Limit", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
			if err := l.Wait(ctx); err != nil {
				return middleware.FinalizeOutput{}, middleware.Metadata{}, err
			}
			return next.HandleFinalize(ctx, in)
		})
	}
}

// afterRetry adds a step that is passed once for each attempt.
func afterRetry(stack *middleware.Stack, id string, f func(context.Context, middleware.FinalizeInput, middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error)) error {
	return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc(id, f), "Retry", middleware.After)
}

var throttleCodes = retry.ThrottleErrorCode{Codes: retry.DefaultThrottleErrorCodes}

func resultOf(err error) string {
	switch {
	case err == nil:
		return RequestOK
	case throttleCodes.IsErrorThrottle(err) == aws.TrueTernary:
		return RequestThrottled
	case isDenied(err):
		return RequestDenied
	}
	return RequestFailed
}

// isDenied tells the errors that a missing permission gives, or a part of EC2 that a
// Region does not have.
func isDenied(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode() {
	case "UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "UnsupportedOperation", "InvalidAction":
		return true
	}
	return false
}

// isGone tells the errors about a thing that was listed a moment ago and is not there any
// more, or not yet: an account changes while it is read.
func isGone(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && (strings.HasSuffix(api.ErrorCode(), ".NotFound") || api.ErrorCode() == "IncorrectState")
}

// credentials are those of one account, shared by its Regions.
type credentials struct {
	account Account
	clients *clients

	mu       sync.Mutex
	provider aws.CredentialsProvider
	id       string // of the account
}

// open gives a configuration with the account's credentials, and the account's id.
func (k *credentials) open(ctx context.Context, region string) (aws.Config, string, error) {
	cfg, err := k.clients.load(ctx)
	if err != nil {
		return aws.Config{}, "", err
	}
	cfg.Region = region
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.provider == nil {
		k.provider = cfg.Credentials
		if k.account.RoleARN != "" {
			k.provider = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(k.sts(cfg), k.account.RoleARN, func(o *stscreds.AssumeRoleOptions) {
				o.RoleSessionName = sessionName
				if k.account.ExternalID != "" {
					o.ExternalID = aws.String(k.account.ExternalID)
				}
			}))
		}
	}
	cfg.Credentials = k.provider
	if k.id == "" {
		if k.id, err = k.identify(ctx, cfg); err != nil {
			return aws.Config{}, "", err
		}
	}
	return cfg, k.id, nil
}

// identify finds the account's id: whose names of zones these are, and what is its own.
func (k *credentials) identify(ctx context.Context, cfg aws.Config) (string, error) {
	if role, err := arn.Parse(k.account.RoleARN); err == nil {
		return role.AccountID, nil
	}
	out, err := k.sts(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", fmt.Errorf("ask STS whose credentials these are (is it reachable? see sts_endpoint): %w", err)
	}
	if id := aws.ToString(out.Account); id != "" {
		return id, nil
	}
	return "", errors.New("STS does not say whose credentials these are")
}

func (k *credentials) sts(cfg aws.Config) *sts.Client {
	return sts.NewFromConfig(cfg, func(o *sts.Options) {
		if e := k.clients.o.STSEndpoint; e != "" {
			o.BaseEndpoint = aws.String(strings.TrimSuffix(e, "/"))
		}
		o.APIOptions = append(o.APIOptions, k.clients.mortal)
	})
}

func (k *credentials) ec2(cfg aws.Config, account string) *ec2.Client {
	return ec2.NewFromConfig(cfg, func(o *ec2.Options) {
		if e := k.clients.o.Endpoint; e != "" {
			o.BaseEndpoint = aws.String(strings.TrimSuffix(e, "/"))
		}
		o.APIOptions = append(o.APIOptions, limited(k.clients.limit(account, cfg.Region)))
	})
}
