// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import "github.com/cilium/ebpf/features"

// Feature is something that the kernel got later than 5.15, and without which a figure
// is less exact.
type Feature struct {
	Name    string
	Version string // of Linux, that brought it
	Without string // what is less exact
	version uint32
}

// laterFeatures are all of them, in the order of their versions.
var laterFeatures = []Feature{
	// 3868ab0f1925 ("tcp: new TCP_INFO stats for RTO events")
	{"total_rto", "6.7", "time-outs of SYN-ACKs, and of connections that were open before the start, are not counted", 6<<16 | 7<<8},
	// The arguments mrtt and srtt of BPF_SOCK_OPS_RTT_CB
	{"rtt_sample", "6.10", "round-trip times are the smoothed ones, but for the first of a connection", 6<<16 | 10<<8},
	// TCP_BPF_SOCK_OPS_CB_FLAGS in bpf_setsockopt()
	{"iterator_flags", "6.12", "connections that were open before the start have no round-trip times", 6<<16 | 12<<8},
}

// Features says which features the running kernel has, and which it lacks, by its
// version: one that a distribution added to an older kernel is used all the same.
func Features() (has, lacks []Feature, err error) {
	v, err := features.LinuxVersionCode()
	if err != nil {
		return nil, nil, err
	}
	has, lacks = featuresOf(v)
	return has, lacks, nil
}

func featuresOf(version uint32) (has, lacks []Feature) {
	for i, f := range laterFeatures {
		if version < f.version {
			return laterFeatures[:i], laterFeatures[i:]
		}
	}
	return laterFeatures, nil
}
