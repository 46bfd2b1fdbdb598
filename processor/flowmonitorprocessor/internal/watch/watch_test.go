// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package watch_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
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

func TestLinksAreFollowedWherever(t *testing.T) {
	for name, c := range map[string]struct {
		link, path string
		targets    [2]string
	}{
		"the file itself":             {"f", "f", [2]string{"a/sub/f", "b/sub/f"}},
		"the folder":                  {"current", "current/f", [2]string{"a/sub", "b/sub"}},
		"a folder above":              {"current", "current/sub/f", [2]string{"a", "b"}},
		"a link that a link leads to": {"deep/current", "entry/sub/f", [2]string{"../a", "../b"}},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for _, v := range []string{"a", "b"} {
				require.NoError(t, os.MkdirAll(filepath.Join(root, v, "sub"), 0o700))
				put(t, filepath.Join(root, v, "sub", "f"), v)
			}
			require.NoError(t, os.Mkdir(filepath.Join(root, "deep"), 0o700))
			require.NoError(t, os.Symlink("deep/current", filepath.Join(root, "entry")))
			link := filepath.Join(root, c.link)
			require.NoError(t, os.Symlink(c.targets[0], link))
			s := run(t, filepath.Join(root, c.path), time.Hour)
			for _, target := range []int{1, 0} { // and back: the new way is watched as well
				require.NoError(t, os.Symlink(c.targets[target], link+".new"))
				require.NoError(t, os.Rename(link+".new", link))
				want := []string{"a", "b"}[target]
				require.Eventually(t, func() bool { return s.last() == want }, patience, time.Millisecond)
			}
			put(t, filepath.Join(root, "a", "sub", "f"), "c")
			require.Eventually(t, func() bool { return s.last() == "c" }, patience, time.Millisecond)
		})
	}
}

func TestAFolderThatIsReplacedIsWatchedAgain(t *testing.T) {
	root := t.TempDir()
	for _, v := range []string{"current", "next"} {
		require.NoError(t, os.Mkdir(filepath.Join(root, v), 0o700))
		put(t, filepath.Join(root, v, "f"), v)
	}
	path := filepath.Join(root, "current", "f")
	s := run(t, path, time.Hour)
	put(t, path, "changed") // the folder is watched
	require.Eventually(t, func() bool { return s.last() == "changed" }, patience, time.Millisecond)
	require.NoError(t, os.Rename(filepath.Join(root, "current"), filepath.Join(root, "old")))
	require.NoError(t, os.Rename(filepath.Join(root, "next"), filepath.Join(root, "current")))
	require.Eventually(t, func() bool { return s.last() == "next" }, patience, time.Millisecond)
	put(t, path, "after")
	require.Eventually(t, func() bool { return s.last() == "after" }, patience, time.Millisecond)
}

func TestAFolderThatGoesAndComesBackIsSeen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "above", "dir")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	path := filepath.Join(dir, "f")
	put(t, path, "one")
	s := run(t, path, time.Hour)
	put(t, path, "two")
	require.Eventually(t, func() bool { return s.last() == "two" }, patience, time.Millisecond)
	require.NoError(t, os.RemoveAll(filepath.Dir(dir)))
	require.Eventually(t, func() bool { _, errs, _ := s.count(); return errs == 1 }, patience, time.Millisecond)
	require.NoError(t, os.MkdirAll(dir, 0o700))
	put(t, path, "three")
	require.Eventually(t, func() bool { return s.last() == "three" }, patience, time.Millisecond)
}

// As on file systems without notifications.
func TestThePollSeesWhatNoNotificationTells(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	put(t, path, "one")
	at := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(path, at, at))
	s := run(t, path, 50*time.Millisecond)
	put(t, path, "two")
	require.NoError(t, os.Chtimes(path, at, at)) // looks unchanged, and is of the same size
	require.Eventually(t, func() bool { return s.last() == "two" }, patience, time.Millisecond)
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
	fifo := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	loop := filepath.Join(t.TempDir(), "loop")
	require.NoError(t, os.Symlink("loop", loop))
	for name, path := range map[string]string{
		"a folder": t.TempDir(), "nothing": filepath.Join(t.TempDir(), "f"), "a device": os.DevNull,
		"a named pipe that nobody writes to": fifo, "a link to itself": loop,
	} {
		_, err := watch.New(path, time.Hour, nil, nil).Read()
		assert.Error(t, err, name)
	}
}
