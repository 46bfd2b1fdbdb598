// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// packages names the Debian package of each program that a lab runs.
var packages = map[string]string{"nft": "nftables", "ss": "iproute2", "stdbuf": "coreutils"}

// lookTool finds a program, also where an ordinary user's PATH does not look:
// "sudo make test" may keep that PATH.
func lookTool(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/bin"} {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("netlab: the program %s is missing (Debian package %s)", name, packages[name])
}
