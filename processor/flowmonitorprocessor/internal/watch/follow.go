// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/fsnotify/fsnotify"
)

const (
	// maxLinks is how many symbolic links Linux follows in a path; more is a loop.
	maxLinks = 40

	// maxFollows is how often the way to the file is walked again because it led to a folder
	// that was not watched yet, and may have changed before it was. A way that
	// keeps changing is left to the next event or poll.
	maxFollows = 3
)

// follow watches the folders that the way to the file leads through; see [folders].
func (f *File) follow(watcher *fsnotify.Watcher) {
	if watcher == nil {
		return
	}
	for range maxFollows {
		if !f.followOnce(watcher) {
			return
		}
	}
}

// followOnce tells whether there was a folder that was not watched before.
func (f *File) followOnce(watcher *fsnotify.Watcher) (more bool) {
	wanted := folders(f.path)
	for _, dir := range watcher.WatchList() {
		if _, ok := wanted[dir]; !ok {
			_ = watcher.Remove(dir) // it may be gone with the folder
			delete(f.folders, dir)
		}
	}
	for dir := range wanted {
		info, err := os.Stat(dir)
		if err != nil {
			continue // gone in this moment: the poll sees what comes
		}
		before := f.folders[dir]
		if before != nil && !os.SameFile(before, info) {
			_ = watcher.Remove(dir) // the watch is of the folder that had this name before
		}
		if watcher.Add(dir) == nil && (before == nil || !os.SameFile(before, info)) {
			f.folders[dir] = info
			more = true
		}
	}
	return more
}

// folders gives the folders in which a change can lead path to another file: the one with
// the file in it, and for every symbolic link on the way, also in the middle of the path,
// the one with the link in it. Where the way ends early, the last folder that is there.
func folders(path string) map[string]struct{} {
	wanted := map[string]struct{}{}
	path, err := filepath.Abs(path)
	if err != nil {
		return wanted // there is no working directory: the poll is left
	}
	links := 0
	at, rest := separate(path)
	for len(rest) > 0 {
		next := filepath.Join(at, rest[0])
		info, err := os.Lstat(next)
		switch {
		case err != nil:
			wanted[at] = struct{}{}
			return wanted
		case info.Mode()&os.ModeSymlink != 0:
			wanted[at] = struct{}{}
			target, err := os.Readlink(next)
			if links++; err != nil || links > maxLinks {
				return wanted
			}
			if !filepath.IsAbs(target) {
				target = filepath.Join(at, target)
			}
			// Of the target, too, every part may be a link.
			var parts []string
			at, parts = separate(target)
			rest = append(parts, rest[1:]...)
		case len(rest) == 1:
			wanted[at] = struct{}{}
			return wanted
		default:
			at, rest = next, rest[1:]
		}
	}
	return wanted
}

// separate takes an absolute path apart into its root and the names below.
func separate(path string) (root string, names []string) {
	path = filepath.Clean(path)
	root = filepath.VolumeName(path) + string(filepath.Separator)
	if below := strings.TrimPrefix(path, root); below != "" {
		names = strings.Split(below, string(filepath.Separator))
	}
	return root, names
}
