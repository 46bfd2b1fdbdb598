// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package features

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
)

// sums are what harvests handed over for one role, over all flows.
type sums struct {
	flow    bpf.Flow
	detail  bpf.Detail
	cgroups map[uint64]bool
	minRTT  time.Duration
}

// both are the sums of clients and servers.
type both struct{ client, server sums }

func (b *both) add(k *bpf.FlowKey, f *bpf.Flow, d *bpf.Detail) {
	s := &b.client
	switch k.Role {
	case bpf.RoleServer:
		s = &b.server
	case bpf.RoleListener:
		return
	}
	s.flow.Sent += f.Sent
	s.flow.Received += f.Received
	s.flow.SegmentsSent += f.SegmentsSent
	s.flow.SegmentsReceived += f.SegmentsReceived
	s.flow.Attempted += f.Attempted
	s.flow.Opened += f.Opened
	s.flow.Connect.Count += f.Connect.Count
	if f.Rtt.Count > 0 {
		if least := time.Duration(^f.Rtt.MinUsInverted) * time.Microsecond; s.flow.Rtt.Count == 0 || least < s.minRTT {
			s.minRTT = least
		}
		s.flow.Rtt.Count += f.Rtt.Count
	}
	s.flow.Open = f.Open // a level, of the one flow that there is
	for i := range f.Retransmissions {
		s.flow.Retransmissions[i] += f.Retransmissions[i]
		s.flow.Timeouts[i] += f.Timeouts[i]
	}
	for i := range f.Closed {
		s.flow.Closed[i] += f.Closed[i]
		s.flow.Failed[i] += f.Failed[i]
	}
	if s.cgroups == nil {
		s.cgroups = map[uint64]bool{}
	}
	s.cgroups[k.Cgroup] = true
	if d == nil {
		return
	}
	s.detail.ZeroWindows += d.ZeroWindows
	for i := range d.Limits {
		s.detail.Limits[i] += d.Limits[i]
	}
	for phase := range d.Retransmissions {
		for kind := range d.Retransmissions[phase] {
			s.detail.Retransmissions[phase][kind] += d.Retransmissions[phase][kind]
		}
	}
}

func total[T uint32 | uint64](of []T) (n uint64) {
	for _, v := range of {
		n += uint64(v)
	}
	return n
}

// retransmissionsOfType sums over the phases.
func (s *sums) retransmissionsOfType(kinds ...int) (n uint64) {
	for phase := range s.detail.Retransmissions {
		for kind, v := range s.detail.Retransmissions[phase] {
			if len(kinds) == 0 || slices.Contains(kinds, kind) {
				n += uint64(v)
			}
		}
	}
	return n
}

// while harvests, ten times a second, as long as do runs, and then until nothing is open.
func (b *both) while(t testing.TB, p *bpf.Sockops, do func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var harvesting sync.WaitGroup
	harvesting.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				assert.NoError(t, p.Harvest(b.add))
			}
		}
	})
	do()
	stop()
	harvesting.Wait()
	require.Eventually(t, func() bool {
		b.client.flow.Open, b.server.flow.Open = [3]uint32{}, [3]uint32{}
		require.NoError(t, p.Harvest(b.add))
		return b.client.flow.Open == [3]uint32{} && b.server.flow.Open == [3]uint32{}
	}, time.Minute, 50*time.Millisecond)
}
