// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package watch hands the content of a file to its reader whenever it changes.
//
// Files are replaced in several ways: written in place, renamed over, or, as a mounted
// Kubernetes ConfigMap does it, by turning a symbolic link to another folder. So the folders
// are watched, not the file: those with the file, and with any link on the way to it. A slow
// poll covers file systems that send no notifications.
package watch // import "github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/watch"

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settle is how long the folder must be quiet before the file is read: a writer that
	// truncates first has written by then, and a ConfigMap's several steps are one change.
	settle = 100 * time.Millisecond

	// patience bounds the wait in a folder that is never quiet.
	patience = time.Second

	// MaxSize bounds what is read into memory: a topology of about a million network
	// interfaces.
	MaxSize = 512 << 20
)

// Apply takes the content of the file, or the error that reading it gave. It tells
// whether the content was good.
type Apply func(data []byte, err error) bool

// File is a watched file; see [New]. It is used by one goroutine.
type File struct {
	path    string
	poll    time.Duration
	apply   Apply
	confirm func()

	folders map[string]os.FileInfo // watched, as they were then

	digest [sha256.Size]byte
	info   os.FileInfo // of the file as last read
	failed bool        // the last read failed, and apply was told
	good   bool        // the content last read was good
}

// New makes a watch of the file at path. [File.Run] calls apply each time the content
// differs from the content before, and when the file can no longer be read, once; it
// calls confirm when a look found the good content unchanged.
func New(path string, poll time.Duration, apply Apply, confirm func()) *File {
	return &File{path: path, poll: poll, apply: apply, confirm: confirm, folders: map[string]os.FileInfo{}}
}

// Read gives the content now and remembers it as good, so that Run does not hand it
// over again. It is called before Run.
func (f *File) Read() ([]byte, error) {
	data, info, err := read(f.path)
	if err != nil {
		return nil, err
	}
	f.digest, f.info, f.good = sha256.Sum256(data), info, true
	return data, nil
}

// Read gives the content of a regular file of at most [MaxSize].
func Read(path string) ([]byte, error) {
	data, _, err := read(path)
	return data, err
}

func read(path string) ([]byte, os.FileInfo, error) {
	// Not to wait for who writes to a named pipe: that it is none is known only when it is open.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("read %s: is not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(file, MaxSize+1))
	if err != nil {
		return nil, nil, err
	}
	if len(data) > MaxSize {
		return nil, nil, fmt.Errorf("read %s: larger than %d MiB", path, MaxSize>>20)
	}
	return data, info, nil
}

// Run watches until ctx ends. Where notifications are not to be had (no more inotify
// instances) the poll is left, and problem is told so.
func (f *File) Run(ctx context.Context, problem func(error)) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		problem(fmt.Errorf("watch %s: %w; it is read every %s instead", f.path, err, f.poll))
		f.loop(ctx, nil, nil, nil)
		return
	}
	defer watcher.Close()
	f.loop(ctx, watcher, watcher.Events, watcher.Errors)
}

func (f *File) loop(ctx context.Context, watcher *fsnotify.Watcher, events <-chan fsnotify.Event, errs <-chan error) {
	poll := time.NewTicker(f.poll)
	defer poll.Stop()
	quiet := time.NewTimer(settle) // what changed between the first read and the watch is seen by this
	defer quiet.Stop()
	f.follow(watcher)
	var since time.Time // of the first event not looked at yet
	wait := func() {
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(since) < patience {
			quiet.Reset(settle)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			wait()
		case _, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			wait() // events were lost
		case <-quiet.C:
			since = time.Time{}
			f.follow(watcher)
			f.look()
		case <-poll.C:
			f.follow(watcher)
			f.check()
		}
	}
}

// look reads the file if it seems to be another: most events are of other files in the
// folder. What happens twice within one tick of the file system's clock is found by
// the poll.
func (f *File) look() {
	info, err := os.Stat(f.path)
	if err == nil && f.info != nil && !f.failed && os.SameFile(info, f.info) &&
		info.ModTime().Equal(f.info.ModTime()) && info.Size() == f.info.Size() {
		return
	}
	f.check()
}

func (f *File) check() {
	data, info, err := read(f.path)
	if err != nil {
		if !f.failed {
			f.failed = true
			f.apply(nil, err)
		}
		return
	}
	digest := sha256.Sum256(data)
	f.info = info
	if digest == f.digest && !f.failed {
		if f.good {
			f.confirm()
		}
		return
	}
	f.digest, f.failed = digest, false // the same content again ends a failure too
	f.good = f.apply(data, nil)
}
