// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestATrackerThatWasNeverStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // nothing is left running
		tracker := New(Settings{})
		assert.Error(t, tracker.Sync(t.Context()))
		_, result := tracker.Resolve(1, ap(client), ap(virtual))
		assert.Equal(t, NotTranslated, result)
		assert.Equal(t, Stats{}, tracker.Stats())
		tracker.Close()
		tracker.Close()
		assert.Error(t, tracker.Start())
	})
}

func TestStartAndClose(t *testing.T) {
	host := emptyHost(t)
	descriptors := func() int {
		open, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(open)
	}
	before := descriptors()
	for range 3 {
		tracker := New(Settings{Namespace: host.NetnsPath()})
		require.NoError(t, tracker.Start())
		require.Error(t, tracker.Start())
		mustSync(t, tracker)
		tracker.Close()
		tracker.Close()
		require.Error(t, tracker.Sync(t.Context()))
		require.NotZero(t, tracker.Stats().Namespaces)
	}
	assert.LessOrEqual(t, descriptors(), before)
}

// Close comes while others look for namespaces and wait.
func TestCloseDuringSync(t *testing.T) {
	host := emptyHost(t)
	for range 20 {
		tracker := New(Settings{Namespace: host.NetnsPath()})
		require.NoError(t, tracker.Start())
		var waiting sync.WaitGroup
		for range 4 {
			waiting.Go(func() {
				for tracker.Sync(t.Context()) == nil {
				}
			})
		}
		tracker.Close()
		waiting.Wait()
	}
}

func TestSyncHeedsItsContext(t *testing.T) {
	host := emptyHost(t)
	tracker := track(t, host, Settings{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// The answer may be there already; if not, the context has ended.
	if err := tracker.Sync(ctx); err != nil {
		assert.ErrorIs(t, err, context.Canceled)
	}
}

func TestWithoutItsNamespaceATrackerGoesOnWithTheOthers(t *testing.T) {
	host := emptyHost(t)
	c := newCreator(t, host)
	missing := filepath.Join(t.TempDir(), "net")
	tracker := New(Settings{Namespace: missing})
	require.ErrorContains(t, tracker.Start(), missing)
	defer tracker.Close()
	mustSync(t, tracker)
	e := entry{src: ap("10.0.0.1:1000"), dst: ap("10.0.0.99:443"), dstNAT: ap("10.0.0.2:8443")}
	c.create(e)
	mustSync(t, tracker)
	_, result := tracker.Resolve(inode(t, host), e.src, e.dst)
	assert.Equal(t, Translated, result)
}

func TestDefaults(t *testing.T) {
	assert.Equal(t, Settings{
		Namespace:         "/proc/self/ns/net",
		MaxEntries:        262_144,
		MaxNamespaces:     256,
		Retention:         2 * time.Minute,
		RefreshInterval:   3 * time.Second,
		ReconcileInterval: 5 * time.Minute,
		ReceiveBuffer:     16 << 20,
	}, Settings{}.withDefaults())
}
