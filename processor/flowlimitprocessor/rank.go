// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"cmp"
	"slices"
)

// split gives the flows of a round that are kept whole, best first, and all others: what
// an earlier stage merged, and the flows and listeners beyond the top ones of each kind.
// Listeners are ranked among themselves, by drops: in the order of flows, whose formula
// knows no drops, a busy host's would all be last.
func split(r *round, top int) (kept, merged []*flow) {
	var flows, listeners []*flow
	for i := range r.flows {
		f := &r.flows[i]
		switch f.class {
		case classFlow:
			flows = append(flows, f)
		case classListener:
			listeners = append(listeners, f)
		default:
			merged = append(merged, f)
		}
	}
	for _, kind := range [...][]*flow{flows, listeners} {
		slices.SortFunc(kind, (*flow).compare)
		n := min(top, len(kind))
		kept = append(kept, kind[:n]...)
		merged = append(merged, kind[n:]...)
	}
	return kept, merged
}

// compare orders flows: more loss first, then more bytes, then by attributes, so that the
// same round gives the same rows on every run and machine.
func (x *flow) compare(y *flow) int {
	if c := cmp.Compare(y.loss, x.loss); c != 0 {
		return c
	}
	if c := cmp.Compare(y.bytes, x.bytes); c != 0 {
		return c
	}
	return cmp.Compare(x.text(), y.text())
}

// text gives the attributes as a text, made when it is first needed: few flows are equal
// in loss and bytes.
func (x *flow) text() string {
	if x.tie == "" {
		x.tie = canonical(x.set.Attributes())
	}
	return x.tie
}
