// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Command seccomp writes the seccomp profile that containerd gives a container with
// "RuntimeDefault" and the capabilities in the arguments, as the runtime specification
// has it (JSON).
package main

import (
	"encoding/json"
	"log"
	"os"

	"github.com/containerd/containerd/contrib/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

func main() {
	spec := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: os.Args[1:]}}}
	if err := json.NewEncoder(os.Stdout).Encode(seccomp.DefaultProfile(spec)); err != nil {
		log.Fatal(err)
	}
}
