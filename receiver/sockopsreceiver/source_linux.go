// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package sockopsreceiver

import (
	"context"
	"time"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/nat"
)

// source counts connections: the kernel side, or what plays it in tests. The
// concurrency rules are those of [bpf.Sockops].
type source interface {
	Adopt(ctx context.Context) (bpf.AdoptStats, error)
	Continuity() bpf.Continuity
	Left() (end time.Time, left bool)
	Harvest(yield bpf.Yield) error
	Unsettled() bool
	Offer(end time.Time) error
	Settle(end time.Time, done bool) error
	SynAcks() (map[uint32]int64, error)
	TellSynAcks(map[uint32]int64) error
	Jiffy() time.Duration
	Stats() (bpf.Stats, error)
	CgroupNames(id uint64) ([]string, error)
	nat.Kernel
	Close() error
}

var _ source = (*bpf.Sockops)(nil)

// detailGroups are the groups that the kernel keeps. The network namespace it knows anyway.
func detailGroups(names []string) (groups bpf.DetailGroup) {
	for _, name := range names {
		switch name {
		case DetailLimits:
			groups |= bpf.DetailLimits
		case DetailRetransmitType:
			groups |= bpf.DetailRetransmitType
		case DetailZeroWindows:
			groups |= bpf.DetailZeroWindows
		case DetailECN:
			groups |= bpf.DetailECN
		}
	}
	return groups
}

func loadKernel(cfg *Config) (source, error) {
	s, err := bpf.Load(bpf.Options{
		CgroupPath: cfg.CgroupPath,
		MaxFlows:   cfg.MaxFlows,
		MaxSockets: cfg.MaxSockets,
		Containers: cfg.Container,
		NAT:        cfg.NAT,
		Detail:     detailGroups(cfg.Detail),
		Trace:      cfg.DropCapabilities, // later it could not be attached
		PinPath:    cfg.PinPath,
	})
	if err != nil {
		return nil, err // not s: a nil *Sockops in the interface is not nil
	}
	return s, nil
}
