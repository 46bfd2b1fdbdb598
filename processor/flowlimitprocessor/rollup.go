// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"slices"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/otel-flowmonitor/flowmonitor/internal/exphist"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/prepared"
)

// Attributes that tell merged rows apart.
const (
	localSubnet  = flowattr.LocalPrefix + flowattr.AWSSubnetID
	remoteSubnet = flowattr.RemotePrefix + flowattr.AWSSubnetID
)

// merge adds the flows up to rows, in the order of the rows' attributes. The flows' cells
// and histograms become the rows'.
func merge(h *hasher, r *round, flows []*flow) []*flow {
	var rows []*flow
	var scratch [8]attribute
	var view prepared.View
	byID := map[key]*flow{}
	for _, f := range flows {
		attrs := rowAttributes(f.class, view.Of(&f.set), scratch[:])
		var id key
		for i := range attrs {
			id = id.add(h.attribute(attrs[i].key, attrs[i].value))
		}
		row, ok := byID[id]
		if !ok {
			row = &flow{id: id, class: classAggregated, set: prepared.New(mapOf(attrs))}
			byID[id] = row
			rows = append(rows, row)
		}
		r.addUp(row, f)
	}
	slices.SortFunc(rows, (*flow).compare)
	return rows
}

// addUp adds a flow to a row.
func (r *round) addUp(row, f *flow) {
	for i, column := range f.ids {
		from := &f.cells[i]
		to, fresh := row.cell(column, from.start)
		switch {
		case fresh:
			to.number = from.number
		case r.columns[column].metric.kind == flowattr.KindExponentialHistogram:
			exphist.Add(r.histograms[to.number.int()], r.histograms[from.number.int()])
		default:
			to.number = to.number.add(from.number)
		}
	}
}

// rowAttributes gives the attributes of the row that a flow is merged into: local subnet,
// remote subnet or else service, category and monitors, where it has any, and
// flow.aggregated. A flow that has none of them goes to the overflow row of its network
// type and role, which is the receiver's overflow flow too. What an earlier stage merged
// finds its row again: it has no other attributes than these. They are written into the
// slice given, in an order that is always the same.
func rowAttributes(c class, of pcommon.Map, into []attribute) []attribute {
	var group struct{ local, remote, service, category, monitors, networkType, role attribute }
	for k, v := range of.All() {
		switch k {
		case localSubnet:
			group.local = attribute{k, v}
		case remoteSubnet:
			group.remote = attribute{k, v}
		case flowattr.RemoteAWSService:
			group.service = attribute{k, v}
		case flowattr.Category:
			group.category = attribute{k, v}
		case flowattr.Monitors:
			group.monitors = attribute{k, v}
		case flowattr.NetworkType:
			group.networkType = attribute{k, v}
		case flowattr.Role:
			group.role = attribute{k, v}
		}
	}
	if group.remote.key != "" {
		group.service = attribute{}
	}
	enriched := into[:0]
	for _, at := range [...]attribute{group.local, group.remote, group.service, group.category, group.monitors} {
		if at.key != "" {
			enriched = append(enriched, at)
		}
	}
	if c == classAggregated || c == classListener || (c == classFlow && len(enriched) > 0) {
		return append(enriched, attribute{flowattr.Aggregated, yes})
	}
	row := append(enriched, attribute{flowattr.Overflow, yes})
	for _, at := range [...]attribute{group.networkType, group.role} {
		if at.key != "" {
			row = append(row, at)
		}
	}
	return row
}

// yes is the value of a mark.
var yes = pcommon.NewValueBool(true)
