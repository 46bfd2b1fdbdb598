// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import "github.com/otel-flowmonitor/flowmonitor/bpf"

// FlowOf gives what the audit wants of a flow of the kernel side.
func FlowOf(k *bpf.FlowKey, f *bpf.Flow) Flow {
	flow := Flow{
		Netns:           k.Netns,
		Anonymous:       k.Kind == bpf.KindOverflowIPv4 || k.Kind == bpf.KindOverflowIPv6,
		Attempted:       uint64(f.Attempted),
		Retransmissions: f.Retransmissions[bpf.PhaseConnect] + f.Retransmissions[bpf.PhaseEstablished] + f.Retransmissions[bpf.PhaseClose],
		SegmentsOut:     f.SegmentsOut,
	}
	if k.Role == bpf.RoleServer {
		flow.Opened = uint64(f.Opened)
		flow.SynAcks = f.Retransmissions[bpf.PhaseConnect]
	}
	return flow
}
