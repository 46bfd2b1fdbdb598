// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Sweep removes what labs of dead processes left: the processes that they
// started, connections, links, namespaces, cgroups. Labs of living processes,
// whichever they are, are not touched, nor is anything that no lab made.
//
// [Lab.Start] sweeps first, so that a crash is forgotten with the next run. It is
// safe to sweep from many processes at once. Owners are told by process id:
// processes that share /run/netns must share the PID namespace too.
func Sweep() error {
	var errs []error
	root, err := findCgroup2()
	if err != nil {
		errs = append(errs, err)
	}
	// Processes first: they hold the rest.
	if root != "" {
		errs = append(errs, sweepDir(root, removeCgroup))
	}
	errs = append(errs, sweepDir(privateMounts, func(path string) error {
		return errors.Join(
			removeCgroup(filepath.Join(path, filepath.Base(path))), // the mount and the cgroup bear the lab's name
			removePrivateMount(path))
	}))
	errs = append(errs, sweepDir(netnsDir, removeNamespace))
	return errors.Join(errs...)
}

// sweepDir calls remove for each entry of dir that a dead lab left.
func sweepDir(dir string, remove func(path string) error) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		if orphaned(e.Name()) {
			errs = append(errs, remove(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}
