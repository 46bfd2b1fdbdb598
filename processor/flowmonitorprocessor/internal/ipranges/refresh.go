// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ipranges

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"
)

// URL is where AWS publishes the ranges.
const URL = "https://ip-ranges.amazonaws.com/ip-ranges.json"

const (
	// minPause is the shortest pause between two requests: the ranges change some times a
	// week, and most answers are "not modified".
	minPause = time.Hour

	// firstRetry is the pause after a request that failed; it doubles.
	firstRetry = time.Minute

	// requestTimeout bounds a request: 2 MB over a slow line.
	requestTimeout = 2 * time.Minute
)

// RefreshOptions are what a [Refresher] needs.
type RefreshOptions struct {
	URL   string        // empty: that of AWS
	Pause time.Duration // between two requests; at least an hour, but in tests
	Retry time.Duration // after a failure; zero: a minute

	// Use takes new ranges. Result takes what became of a request; nil also when nothing
	// was new.
	Use    func(*Table)
	Result func(error)
}

// Refresher reads the ranges again and again.
type Refresher struct {
	o         RefreshOptions
	transport *http.Transport
	client    *http.Client
	etag      string
	current   *Table
}

// NewRefresher makes a Refresher that does nothing yet. current is what is in use: an older
// file does not replace it.
func NewRefresher(o RefreshOptions, current *Table) *Refresher {
	o.URL, o.Retry = cmp.Or(o.URL, URL), cmp.Or(o.Retry, firstRetry)
	t := http.DefaultTransport.(*http.Transport).Clone() // with the proxy of the environment
	return &Refresher{o: o, transport: t, client: &http.Client{Transport: t, Timeout: requestTimeout}, current: current}
}

// Pause gives the pause between two requests for an interval between refreshes.
func Pause(interval time.Duration) time.Duration { return max(interval, minPause) }

// Run reads until ctx ends.
func (r *Refresher) Run(ctx context.Context) {
	defer r.transport.CloseIdleConnections()
	for retry := r.o.Retry; ; {
		table, err := r.fetch(ctx)
		if ctx.Err() != nil {
			return
		}
		if table != nil {
			r.current = table
			r.o.Use(table)
		}
		r.o.Result(err)
		pause := r.o.Pause
		if err != nil {
			pause = min(retry, r.o.Pause)
			retry = 2 * pause // not of retry itself: without a way to AWS it would wrap within a day or two
		} else {
			retry = r.o.Retry
		}
		t := time.NewTimer(time.Duration(float64(pause) * (0.9 + 0.2*rand.Float64()))) // a fleet does not ask at once
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// fetch gives new ranges; nil when there are none, or they cannot be had or used.
func (r *Refresher) fetch(ctx context.Context) (*Table, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.o.URL, nil)
	if err != nil {
		return nil, err
	}
	if r.etag != "" {
		req.Header.Set("If-None-Match", r.etag)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotModified:
		return nil, nil
	default:
		return nil, fmt.Errorf("get %s: %s", r.o.URL, resp.Status)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", r.o.URL, err)
	}
	if len(data) > maxSize {
		return nil, fmt.Errorf("get %s: is longer than %d MiB", r.o.URL, maxSize>>20)
	}
	table, err := Read(data)
	if err == nil {
		err = table.plausible(r.current)
	}
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", r.o.URL, err)
	}
	r.etag = resp.Header.Get("ETag")
	return table, nil
}

// plausible tells whether a table may take the place of another: it is as new, and what is
// in every file of AWS is in it.
func (t *Table) plausible(current *Table) error {
	for _, service := range []string{"AMAZON", "EC2", "S3"} {
		if !t.HasService(service) {
			return fmt.Errorf("AWS ranges: the service %s is not in it: this is not the file of AWS, or a part of it", service)
		}
	}
	if t.token == 0 {
		return errors.New("AWS ranges: 'syncToken' is missing")
	}
	if current != nil && t.token < current.token {
		return fmt.Errorf("AWS ranges: the file of %s is older than the one in use, of %s", t.created, current.created)
	}
	return nil
}
