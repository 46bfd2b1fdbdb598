// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ec2"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ec2/ec2test"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/file"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ipranges"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/parts"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// patience is how long a test waits for what has to come; it ends sooner when it does.
const patience = 20 * time.Second

// declared gives the topologies that the processor is tested with, by the names of their
// folders.
func declared(t testing.TB) map[string]*topology.Topology {
	t.Helper()
	files, err := filepath.Glob("../../testdata/*/topology.yaml")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 14)
	all := map[string]*topology.Topology{}
	for _, f := range files {
		all[filepath.Base(filepath.Dir(f))] = read(t, f)
	}
	all["everything"] = read(t, "testdata/everything.yaml")
	return all
}

func read(t testing.TB, path string) *topology.Topology {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	m, err := file.Topology(data)
	require.NoError(t, err)
	return m
}

func complete(t *topology.Topology) *topology.Topology {
	return ec2test.Complete(t, ipranges.Shipped().Blocks)
}

// accounts reads everything that a world has: the default account by the ambient
// credentials, the others by roles.
func accounts(s *ec2test.Server, world *topology.Topology) []ec2.Account {
	var regions []string
	for _, r := range world.Regions {
		regions = append(regions, r.RegionName)
	}
	var list []ec2.Account
	for _, a := range world.Accounts {
		if a.AccountID == ec2test.DefaultAccount {
			list = append(list, ec2.Account{Regions: regions})
			continue
		}
		role := "arn:aws:iam::" + a.AccountID + ":role/reader"
		s.ExternalIDs[role] = "secret of " + a.AccountID
		list = append(list, ec2.Account{RoleARN: role, ExternalID: s.ExternalIDs[role], Regions: regions})
	}
	return list
}

// watched is a running source and what it did.
type watched struct {
	*ec2.Source
	parts.Set
	keys []parts.Key
	stop func()

	mu       sync.Mutex
	results  map[parts.Key][]error
	requests map[string]int // "operation result"
	lookups  map[string]int
	changes  int
}

// options are those of a source that reads a server fast and once.
func options(s *ec2test.Server, list []ec2.Account) ec2.Options {
	return ec2.Options{Accounts: list, Endpoint: s.URL, STSEndpoint: s.URL, RefreshInterval: time.Hour, RequestRate: 10_000,
		MaxBackoff: 5 * time.Millisecond, LookupDelay: time.Millisecond}
}

// run starts a source; it is stopped at the end of the test at the latest.
func run(t testing.TB, o ec2.Options) *watched {
	t.Helper()
	ec2test.Environment(t, ec2test.DefaultAccount)
	w := &watched{results: map[parts.Key][]error{}, requests: map[string]int{}, lookups: map[string]int{}}
	o.Put = func(p parts.Part) parts.Part {
		kept, changed := w.Put(p)
		if changed {
			w.mu.Lock()
			w.changes++
			w.mu.Unlock()
		}
		return kept
	}
	o.Result = func(k parts.Key, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.results[k] = append(w.results[k], err)
	}
	o.Request = func(operation, result string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.requests[operation+" "+result]++
	}
	o.Lookups = func(result string, n int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.lookups[result] += n
	}
	for _, p := range ec2.Expected(o.Accounts) {
		w.keys = append(w.keys, p.Key)
	}
	w.Source = ec2.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { w.Run(ctx); close(done) }()
	w.stop = func() { cancel(); <-done }
	t.Cleanup(w.stop)
	return w
}

// await waits until each part was refreshed n times, and gives all errors.
func (w *watched) await(t testing.TB, n int) error {
	t.Helper()
	require.Eventually(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, k := range w.keys {
			if len(w.results[k]) < n {
				return false
			}
		}
		return true
	}, patience, time.Millisecond)
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs []error
	for _, list := range w.results {
		errs = append(errs, list...)
	}
	return errors.Join(errs...)
}

func (w *watched) count(m map[string]int, key string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return m[key]
}

func TestTheWorldsAreValidTopologies(t *testing.T) {
	for name, d := range declared(t) {
		for _, p := range complete(d).Validate() {
			assert.Fail(t, p.Path+": "+p.Msg, name)
		}
	}
}
