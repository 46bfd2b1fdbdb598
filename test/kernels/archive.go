// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// archive writes an initial file system, in the format that the kernel unpacks into its
// root: cpio "newc" (Documentation/driver-api/early-userspace/buffer-format.rst).
type archive struct {
	w       io.Writer
	inode   int
	folders map[string]bool
	err     error // the first one; nothing is written after it
}

func newArchive(w io.Writer) *archive {
	return &archive{w: w, folders: map[string]bool{"/": true}}
}

const (
	modeFolder  = 0o040755
	modeFile    = 0o100644
	modeProgram = 0o100755
	modeDevice  = 0o020600
	modeLink    = 0o120777
)

// add writes one entry; names in the archive begin at the root, without its slash.
func (a *archive) add(name string, mode, major, minor int, content []byte) {
	if a.err != nil {
		return
	}
	if name != trailer {
		a.folder(path.Dir(name))
		name = name[1:]
	}
	a.inode++
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		a.inode, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(name)+1, 0)
	a.write([]byte(header + name + "\x00"))
	a.write(content)
}

// write pads to four bytes, from which each header and each content begins.
func (a *archive) write(b []byte) {
	if a.err == nil {
		_, a.err = a.w.Write(append(b, make([]byte, -len(b)&3)...))
	}
}

func (a *archive) folder(name string) {
	if a.folders[name] {
		return
	}
	a.folders[name] = true
	a.add(name, modeFolder, 0, 0, nil)
}

// program puts a file of this machine there, with the right to run it.
func (a *archive) program(name, source string) {
	content, err := os.ReadFile(source)
	if err != nil && a.err == nil {
		a.err = err
	}
	a.add(name, modeProgram, 0, 0, content)
}

// tree puts all of a folder of this machine there, at the root.
func (a *archive) tree(source string) {
	err := filepath.WalkDir(source, func(file string, d fs.DirEntry, err error) error {
		if err != nil || file == source {
			return err
		}
		name := strings.TrimPrefix(file, source)
		switch {
		case d.IsDir():
			a.folder(name)
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(file)
			if err != nil {
				return err
			}
			a.add(name, modeLink, 0, 0, []byte(target))
		default:
			a.program(name, file)
		}
		return a.err
	})
	if a.err == nil {
		a.err = err
	}
}

// device makes a character device.
func (a *archive) device(name string, major, minor int) { a.add(name, modeDevice, major, minor, nil) }

const trailer = "TRAILER!!!"

func (a *archive) close() error {
	a.add(trailer, 0, 0, 0, nil)
	return a.err
}
