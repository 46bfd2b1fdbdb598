// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// kernel is a line of kernels.txt, unpacked by scripts/fetch-kernel.sh.
type kernel struct {
	name         string
	architecture string
	dir          string
}

func (k kernel) image() string { return filepath.Join(k.dir, "vmlinuz") }

// tooOld says that the kernel has to be refused: of those below 5.15 only one is booted.
func (k kernel) tooOld() bool { return strings.HasPrefix(k.name, "5.10-") }

// kernels gives those that are named, or all.
func kernels(list, unpacked string, names []string) (found []kernel, err error) {
	file, err := os.ReadFile(list)
	if err != nil {
		return nil, err
	}
	known := map[string]kernel{}
	var all []string
	for line := range strings.Lines(string(file)) {
		f := strings.Fields(line)
		if len(f) != 4 || strings.HasPrefix(f[0], "#") {
			continue
		}
		known[f[0]] = kernel{f[0], f[3], filepath.Join(unpacked, f[0])}
		all = append(all, f[0])
	}
	if len(names) == 0 {
		names = all
	}
	for _, name := range names {
		k, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("%s has no kernel %q (it has %s)", list, name, strings.Join(all, ", "))
		}
		found = append(found, k)
	}
	return found, nil
}
