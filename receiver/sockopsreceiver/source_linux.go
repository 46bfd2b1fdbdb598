// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package sockopsreceiver

import (
	"context"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
)

// source counts connections: the kernel side, or what plays it in tests. The
// concurrency rules are those of [bpf.Sockops].
type source interface {
	Adopt(ctx context.Context) (bpf.AdoptStats, error)
	Harvest(yield func(*bpf.FlowKey, *bpf.Flow)) error
	Stats() (bpf.Stats, error)
	Close() error
}

var _ source = (*bpf.Sockops)(nil)

func loadKernel(cfg *Config) (source, error) {
	s, err := bpf.Load(bpf.Options{CgroupPath: cfg.CgroupPath, MaxFlows: cfg.MaxFlows})
	if err != nil {
		return nil, err // not s: a nil *Sockops in the interface is not nil
	}
	return s, nil
}
