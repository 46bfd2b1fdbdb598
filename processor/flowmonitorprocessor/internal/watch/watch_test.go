// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package watch_test

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

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/watch"
)

// patience is how long a test waits for what must come; it ends sooner when it does.
const patience = 20 * time.Second

// seen collects what a watch says.
type seen struct {
	mu        sync.Mutex
	contents  []string
	errs      []error
	confirmed int
	good      func(string) bool
}

func (s *seen) apply(data []byte, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.errs = append(s.errs, err)
		return false
	}
	s.contents = append(s.contents, string(data))
	return s.good == nil || s.good(string(data))
}

func (s *seen) confirm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.confirmed++
}

func (s *seen) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.contents) == 0 {
		return ""
	}
	return s.contents[len(s.contents)-1]
}

func (s *seen) count() (contents, errs, confirmed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.contents), len(s.errs), s.confirmed
}

func run(t *testing.T, path string, poll time.Duration) *seen {
	t.Helper()
	s := &seen{}
	f := watch.New(path, poll, s.apply, s.confirm)
	_, err := f.Read()
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { f.Run(ctx, func(err error) { t.Error(err) }) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return s
}

func put(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}

func TestChangesAreHandedOverWithoutWaitingForThePoll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	put(t, path, "one")
	s := run(t, path, time.Hour)
	put(t, path, "two")
	require.Eventually(t, func() bool { return s.last() == "two" }, patience, time.Millisecond)
	put(t, path+".new", "three")
	require.NoError(t, os.Rename(path+".new", path))
	require.Eventually(t, func() bool { return s.last() == "three" }, patience, time.Millisecond)
}

func TestAFileThatGoesIsSaidOnceAndItsReturnIsSeen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	put(t, path, "one")
	s := run(t, path, time.Hour)
	require.NoError(t, os.Remove(path))
	require.Eventually(t, func() bool { _, errs, _ := s.count(); return errs == 1 }, patience, time.Millisecond)
	assert.True(t, errors.Is(s.errs[0], os.ErrNotExist))
	put(t, path, "one") // the same content again ends the failure
	require.Eventually(t, func() bool { return s.last() == "one" }, patience, time.Millisecond)
}

func TestThePollSeesWhatNoNotificationTells(t *testing.T) {
	// A file beneath a folder that is a link in the middle of the path, which no watched
	// folder tells of when it is turned.
	root := t.TempDir()
	for _, v := range []string{"a", "b"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, v, "sub"), 0o700))
		put(t, filepath.Join(root, v, "sub", "f"), v)
	}
	link := filepath.Join(root, "current")
	require.NoError(t, os.Symlink("a", link))
	s := run(t, filepath.Join(link, "sub", "f"), 50*time.Millisecond)
	require.NoError(t, os.Symlink("b", link+".new"))
	require.NoError(t, os.Rename(link+".new", link))
	require.Eventually(t, func() bool { return s.last() == "b" }, patience, time.Millisecond)
}

func TestOnlyGoodContentIsConfirmed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	put(t, path, "one")
	s := run(t, path, 20*time.Millisecond)
	s.mu.Lock()
	s.good = func(c string) bool { return c != "bad" }
	s.mu.Unlock()
	require.Eventually(t, func() bool { _, _, confirmed := s.count(); return confirmed > 2 }, patience, time.Millisecond)
	put(t, path, "bad")
	require.Eventually(t, func() bool { return s.last() == "bad" }, patience, time.Millisecond)
	_, _, before := s.count()
	put(t, path, "good")
	require.Eventually(t, func() bool { _, _, confirmed := s.count(); return s.last() == "good" && confirmed > before }, patience, time.Millisecond)
	assert.LessOrEqual(t, func() int { n, _, _ := s.count(); return n }(), 3, "the bad content was handed over once")
}

func TestABusyFolderDoesNotKeepAChangeFromBeingSeen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	put(t, path, "one")
	s := run(t, path, time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			_ = os.WriteFile(filepath.Join(dir, "noise"), []byte("x"), 0o600)
			time.Sleep(10 * time.Millisecond) // paces the noise: below the time that the watch lets things settle
		}
	})
	put(t, path, "two")
	assert.Eventually(t, func() bool { return s.last() == "two" }, patience, time.Millisecond)
	cancel()
	wg.Wait()
}

func TestWhatCannotBeRead(t *testing.T) {
	for name, path := range map[string]string{"a folder": t.TempDir(), "nothing": filepath.Join(t.TempDir(), "f"), "a device": os.DevNull} {
		_, err := watch.New(path, time.Hour, nil, nil).Read()
		assert.Error(t, err, name)
	}
}
