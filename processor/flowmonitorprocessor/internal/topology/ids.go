// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"hash/maphash"
	"math"
	"strings"
)

// idTable finds the numbers of ids that stand in one text: a quarter of what a map of
// strings takes, and without a pointer.
type idTable struct {
	seed  maphash.Seed
	slots []uint32 // numbers; 0 is free
}

func newIDTable(n int) idTable {
	return idTable{seed: maphash.MakeSeed(), slots: make([]uint32, n*100/fillPercent+1)}
}

// find gives the number of an id, 0 when it is not there. is tells whether a number is that
// id's.
func (t *idTable) find(id string, is func(number uint32) bool) uint32 {
	if len(t.slots) == 0 {
		return 0
	}
	return t.slots[t.slot(id, is)]
}

// slot gives the place of an id, or the free one where it belongs.
func (t *idTable) slot(id string, is func(number uint32) bool) int {
	i := scale(uint32(maphash.String(t.seed, id)), len(t.slots))
	for t.slots[i] != 0 && !is(t.slots[i]) {
		if i++; i == len(t.slots) {
			i = 0
		}
	}
	return i
}

// text collects ids.
type text struct{ strings.Builder }

// add gives where the id begins. Positions have 32 bits: past four gigabytes, which is two
// hundred million ids, they are left empty.
func (t *text) add(id string) uint32 {
	if t.Len()+len(id) > math.MaxUint32 {
		return uint32(t.Len())
	}
	at := uint32(t.Len())
	t.WriteString(id)
	return at
}
