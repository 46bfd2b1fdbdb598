// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrPinPathInUse says that another process counts with the same pins.
var ErrPinPathInUse = errors.New("another collector uses it (stop that one, or give this one a pin_path of its own)")

// lockPinPath makes the directory and holds it for this process alone: until the
// descriptor is closed, at the latest by the kernel when the process ends.
func lockPinPath(path string) (*os.File, error) {
	if err := makePinPath(path); err != nil {
		return nil, fmt.Errorf("'pin_path' %q: %w", path, err)
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("'pin_path' %q: %w", path, err)
	}
	err = unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return dir, nil
	}
	dir.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrPinPathInUse
		if pid, ok := lockHolder(path); ok {
			err = fmt.Errorf("held by process %d: %w", pid, err)
		}
	}
	return nil, fmt.Errorf("lock 'pin_path' %q: %w", path, err)
}

// makePinPath makes what is missing of a path below a BPF file system.
func makePinPath(path string) error {
	if !filepath.IsAbs(path) {
		return errors.New("must be an absolute path")
	}
	path = filepath.Clean(path)
	there := path
	for {
		_, err := os.Stat(there)
		if err == nil {
			break
		}
		switch {
		case errors.Is(err, unix.EPERM): // the file system's way to say it
			return errors.New("a BPF file system takes no dots in names")
		case !errors.Is(err, os.ErrNotExist) || there == "/":
			return err
		}
		there = filepath.Dir(there)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(there, &fs); err != nil {
		return err
	}
	if uint32(fs.Type) != unix.BPF_FS_MAGIC {
		return fmt.Errorf("%q is not in a BPF file system (mount one: mount -t bpf bpf /sys/fs/bpf; in a container, pass the host's in)", there)
	}
	if isMount(path) {
		return errors.New("is the root of a BPF file system (name a folder of its own below it, which can be removed as a whole)")
	}
	return os.MkdirAll(path, 0o700)
}

// isMount: a mount point is on another device than the directory above it.
func isMount(path string) bool {
	var here, above unix.Stat_t
	return unix.Stat(path, &here) == nil && unix.Stat(filepath.Dir(path), &above) == nil && here.Dev != above.Dev
}
