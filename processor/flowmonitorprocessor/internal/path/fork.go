// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package path

import (
	"slices"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// entry chooses where the walk comes out among subnets of one VPC: the one in its own
// zone, which the network prefers; else any, if their tables agree on the next hop.
// The subnet is nil when it is not certain, the table when even the next hop is not.
func (w *walk) entry(subnets []*topology.SubnetNode) (*topology.SubnetNode, *topology.RouteTableNode) {
	if len(subnets) == 1 {
		return subnets[0], subnets[0].Table
	}
	if w.zone != nil {
		for _, s := range subnets {
			if same, known := topology.SameZone(w.zone, s); known && same {
				return s, s.Table
			}
		}
	}
	var table *topology.RouteTableNode
	for i, s := range subnets {
		if s.Table == nil {
			return nil, nil
		}
		if i == 0 {
			table = s.Table
			continue
		}
		if a, b := table.Lookup(w.dst), s.Table.Lookup(w.dst); a == nil || b == nil || a.Uncertain || b.Uncertain || a.Kind != b.Kind || a.ID != b.ID {
			return nil, nil
		}
	}
	return nil, table
}

// fork goes on where the walk may come out at any of several subnets whose tables
// differ: it takes every way, and says what all of them have in common.
func (w *walk) fork(subnets []*topology.SubnetNode) outcome {
	if w.forked || len(subnets) == 0 {
		return unknown() // ways of ways are not followed
	}
	var result outcome
	var common []string
	for i, s := range subnets {
		way := *w
		way.forked, way.table, way.zone = true, s.Table, nil
		way.path, way.kept = nil, 0
		way.visited = slices.Clone(w.visited)
		if way.table == nil {
			return unknown()
		}
		o := way.run()
		if o.kind == nothing {
			way.path = way.path[:way.kept]
		}
		if i == 0 {
			result, common = o, way.path
			continue
		}
		if o != result {
			return unknown()
		}
		common = slices.DeleteFunc(common, func(c string) bool { return !slices.Contains(way.path, c) })
	}
	w.path = append(w.path, common...)
	if result.kind == nothing {
		w.keep()
	}
	w.zone = nil
	return result
}
