// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package sockopsreceiver

import (
	"fmt"

	"github.com/cilium/ebpf/features"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.uber.org/zap"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// unprivilegedReads is the first kernel that lets everybody read maps by their
// descriptors. Before it kernel.unprivileged_bpf_disabled forbids the whole system call
// (c8644cd0efe7 "bpf: refine kernel.unprivileged_bpf_disabled behaviour").
const unprivilegedReads = 5<<16 | 19<<8

// needed are the capabilities that rounds take. README.md has the experiments.
func needed(cfg *Config, kernel uint32) (keep []cap.Value) {
	if kernel < unprivilegedReads {
		keep = append(keep, cap.BPF)
	}
	if cfg.PinPath != "" {
		keep = append(keep, cap.BPF) // flow tables of another size are made in the first rounds
	}
	if cfg.NAT {
		// To dump a namespace anew when its events were lost, and to find and enter those
		// of containers that come.
		keep = append(keep, cap.NET_ADMIN, cap.SYS_ADMIN, cap.SYS_PTRACE)
	}
	return keep
}

// dropCapabilities gives up what the rounds to come do not need. Where that fails the
// receiver goes on, and says so: nothing else of it is wrong.
func (l *loop) dropCapabilities() {
	kernel, err := features.LinuxVersionCode()
	if err == nil {
		err = l.drop(needed(l.config, kernel)...)
	}
	if err != nil {
		err = fmt.Errorf("'drop_capabilities': the process keeps its privileges: %w", err)
		l.logger.Error("Capabilities could not be dropped.", zap.Error(err))
		componentstatus.ReportStatus(l.host, componentstatus.NewPermanentErrorEvent(err))
	}
}
