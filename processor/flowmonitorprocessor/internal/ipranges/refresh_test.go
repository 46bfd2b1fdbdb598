// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ipranges_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ipranges"
)

const patience = 20 * time.Second

// published is a small file of AWS: token is its version, service one of its own.
func published(token int64, service string) string {
	return fmt.Sprintf(`{"syncToken": "%d", "createDate": "2026-11-22-10-00-00", "prefixes": [
		{"ip_prefix": "3.0.0.0/8", "region": "eu-west-1", "service": "AMAZON", "network_border_group": "eu-west-1"},
		{"ip_prefix": "3.0.0.0/9", "region": "eu-west-1", "service": "EC2", "network_border_group": "eu-west-1"},
		{"ip_prefix": "3.1.0.0/16", "region": "eu-west-1", "service": "S3", "network_border_group": "eu-west-1"},
		{"ip_prefix": "3.2.0.0/16", "region": "eu-west-1", "service": %q, "network_border_group": "eu-west-1"}]}`, token, service)
}

const newer = 1_800_000_000 // than the file in the binary

// site publishes a file as the real one does, with an ETag.
type site struct {
	mu          sync.Mutex
	body        string
	status      int
	full, again int // answers with and without the file
}

func (s *site) set(status int, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.body = status, body
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	etag := fmt.Sprintf("%q", fmt.Sprint(len(s.body)))
	if s.status == 200 && r.Header.Get("If-None-Match") == etag {
		s.again++
		w.WriteHeader(http.StatusNotModified)
		return
	}
	s.full++
	w.Header().Set("ETag", etag)
	w.WriteHeader(s.status)
	_, _ = w.Write([]byte(s.body))
}

type refreshed struct {
	site    *site
	tables  chan *ipranges.Table
	results chan error
}

func refresh(t *testing.T, body string) *refreshed {
	t.Helper()
	r := &refreshed{site: &site{body: body, status: 200}, tables: make(chan *ipranges.Table, 1000), results: make(chan error, 1000)}
	web := httptest.NewServer(r.site)
	t.Cleanup(web.Close)
	x := ipranges.NewRefresher(ipranges.RefreshOptions{URL: web.URL, Pause: 2 * time.Millisecond, Retry: time.Millisecond,
		Use: func(t *ipranges.Table) { r.tables <- t }, Result: func(err error) { r.results <- err }}, ipranges.Shipped())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { x.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return r
}

func (r *refreshed) result(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.results:
		return err
	case <-time.After(patience):
		t.Fatal("nothing was asked")
		return nil
	}
}

func TestNewRangesAreUsedAndTheSameAreNotSentAgain(t *testing.T) {
	r := refresh(t, published(newer, "NEW_ONE"))
	require.NoError(t, r.result(t))
	table := <-r.tables
	got, _ := table.Lookup(netip.MustParseAddr("3.2.0.1"))
	assert.Equal(t, "NEW_ONE", got.Service)
	for range 3 {
		require.NoError(t, r.result(t))
	}
	assert.Empty(t, r.tables)
	r.site.mu.Lock()
	assert.Equal(t, 1, r.site.full)
	assert.GreaterOrEqual(t, r.site.again, 3)
	r.site.mu.Unlock()

	r.site.set(200, published(newer+1, "NEWER_ONE"))
	require.Eventually(t, func() bool { return len(r.tables) == 1 }, patience, time.Millisecond)
}

func TestWhatIsNotTheFileOfAWSIsNotUsed(t *testing.T) {
	for name, c := range map[string]struct {
		status     int
		body, want string
	}{
		"a page to log in":  {200, "<html>", "not the JSON"},
		"an error":          {503, "", "503"},
		"an older file":     {200, published(1_000_000_000, "X"), "is older than the one in use, of 2026-08-22-15-17-05"},
		"no version":        {200, strings.Replace(published(newer, "X"), "syncToken", "token", 1), "'syncToken' is missing"},
		"a part of a file":  {200, strings.ReplaceAll(published(newer, "X"), `"S3"`, `"EBS"`), "the service S3 is not in it"},
		"half a file":       {200, published(newer, "X")[:200], "not the JSON"},
		"a broken prefix":   {200, strings.Replace(published(newer, "X"), "3.2.0.0/16", "3.2.0.1/16", 1), "prefixes[3].ip_prefix"},
		"more than a file":  {200, strings.Repeat(" ", 65<<20), "is longer than 64 MiB"},
		"nothing":           {200, "", "not the JSON"},
		"another direction": {302, "", "302"},
	} {
		t.Run(name, func(t *testing.T) {
			r := refresh(t, c.body)
			r.site.set(c.status, c.body)
			var err error
			require.Eventually(t, func() bool { err = r.result(t); return err != nil && strings.Contains(err.Error(), c.want) }, patience, time.Millisecond)
			assert.Empty(t, r.tables)
			r.site.set(200, published(newer, "NEW_ONE"))
			require.Eventually(t, func() bool { return len(r.tables) == 1 }, patience, time.Millisecond, "and then it is there")
		})
	}
}

// A network without a way to AWS fails for ever: the pause that doubles must not wrap.
func TestPauseStaysHoweverOftenARequestFails(t *testing.T) {
	const pause = 4 * time.Millisecond
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var at []time.Time
	ipranges.NewRefresher(ipranges.RefreshOptions{URL: web.URL, Pause: pause, Retry: time.Millisecond, Result: func(err error) {
		assert.Error(t, err)
		if at = append(at, time.Now()); len(at) == 100 { // an int64 of nanoseconds doubles 44 times
			cancel()
		}
	}}, ipranges.Shipped()).Run(ctx)
	for i := 10; i < len(at); i++ {
		require.GreaterOrEqual(t, at[i].Sub(at[i-1]), pause*9/10, "before request %d", i)
	}
}

func TestRangesAreAskedForOnceAnHourAtMost(t *testing.T) {
	assert.Equal(t, time.Hour, ipranges.Pause(5*time.Minute))
	assert.Equal(t, 6*time.Hour, ipranges.Pause(6*time.Hour))
	assert.Equal(t, "https://ip-ranges.amazonaws.com/ip-ranges.json", ipranges.URL)
}
