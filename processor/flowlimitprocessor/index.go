// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

// index finds the position of an id among few: the metrics of a flow, the streams of a
// row. The zero value is empty.
type index[K comparable] struct {
	ids  []K
	byID map[K]int32 // only past scanned
}

// scanned is the number of ids up to which they are compared one by one. The receiver
// writes up to some 25 points for a flow, which is faster than a map and much smaller;
// the map is for senders who want the square of what they send.
const scanned = 64

// find gives the position of id, -1 if it is not there.
func (x *index[K]) find(id K) int {
	if x.byID != nil {
		if i, ok := x.byID[id]; ok {
			return int(i)
		}
		return -1
	}
	for i := range x.ids {
		if x.ids[i] == id {
			return i
		}
	}
	return -1
}

// add appends id, which is not there.
func (x *index[K]) add(id K) {
	x.ids = append(x.ids, id)
	switch {
	case x.byID != nil:
		x.byID[id] = int32(len(x.ids) - 1)
	case len(x.ids) > scanned:
		x.byID = make(map[K]int32, 2*len(x.ids))
		for i, id := range x.ids {
			x.byID[id] = int32(i)
		}
	}
}
