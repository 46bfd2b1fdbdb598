// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// kernel is a line of kernels.txt, unpacked by scripts/fetch-kernel.sh, or the one that
// this program runs on.
type kernel struct {
	name         string
	architecture string
	dir          string
	here         bool
}

// thisMachine is the name of the kernel that needs no boot.
const thisMachine = "this-machine"

func (k kernel) image() string { return filepath.Join(k.dir, "vmlinuz") }

// tooOld says that the kernel has to be refused: of those below 5.15 only one is booted.
func (k kernel) tooOld() bool { return strings.HasPrefix(k.name, "5.10-") }

// column names the kernel in the table: this machine's by its release.
func (k kernel) column(r result) string {
	if !k.here {
		return k.name
	}
	parts := strings.SplitN(r.release, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".") + "-" + k.architecture
}

// kernels gives those that are named, or all.
func kernels(list, unpacked string, names []string) (found []kernel, err error) {
	file, err := os.ReadFile(list)
	if err != nil {
		return nil, err
	}
	known := map[string]kernel{thisMachine: {thisMachine, runtime.GOARCH, filepath.Join(unpacked, thisMachine), true}}
	var all []string
	for line := range strings.Lines(string(file)) {
		f := strings.Fields(line)
		if len(f) != 4 || strings.HasPrefix(f[0], "#") {
			continue
		}
		known[f[0]] = kernel{f[0], f[3], filepath.Join(unpacked, f[0]), false}
		all = append(all, f[0])
	}
	if len(names) == 0 {
		names = append(all, thisMachine)
	}
	for _, name := range names {
		k, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("%s has no kernel %q (it has %s; %s is the one here)", list, name, strings.Join(all, ", "), thisMachine)
		}
		found = append(found, k)
	}
	return found, nil
}
