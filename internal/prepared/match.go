// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package prepared

import (
	"unsafe"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// Match tells whether m has the attributes of the set in the same order, and besides only
// some that other takes. Values that m shares with the set are not looked at. It may say no
// where the values of a set that is not shared are equal, if they are maps, bytes or nested.
func (s *Set) Match(m pcommon.Map, other func(key string, v pcommon.Value) bool) bool {
	if s.list == nil {
		return s.matchPut(m, other)
	}
	list := *listOf(m)
	if len(list) < s.n {
		return false
	}
	i := 0
	for k := range list {
		kv := &list[k]
		if i < s.n {
			at := &s.list[i]
			if identical(kv, at) { // what the enrichment gave both: most of a flow's attributes
				i++
				continue
			}
			// Values first: they differ more often than keys.
			if same(&kv.value, &at.value) && kv.key == at.key {
				i++
				continue
			}
		}
		if !other(kv.key, valueOf(m, kv)) {
			return false
		}
	}
	return i == s.n
}

// identical tells two attributes that are so at a glance: the same key and value in memory. It
// is small enough to be inlined.
func identical(a, b *keyValue) bool {
	return *(*box)(unsafe.Pointer(&a.value.value)) == *(*box)(unsafe.Pointer(&b.value.value)) &&
		len(a.key) == len(b.key) && unsafe.StringData(a.key) == unsafe.StringData(b.key)
}

// same compares two values, of which the second is a set's.
func same(a, b *anyValue) bool {
	x, y := (*box)(unsafe.Pointer(&a.value)), (*box)(unsafe.Pointer(&b.value))
	if x.kind != y.kind {
		return false
	}
	if x.data == y.data {
		return true
	}
	switch x.kind {
	case kinds.text:
		return *(*string)(x.data) == *(*string)(y.data)
	case kinds.number, kinds.double:
		return *(*uint64)(x.data) == *(*uint64)(y.data)
	case kinds.flag:
		return *(*bool)(x.data) == *(*bool)(y.data)
	case kinds.array:
		u, v := arrayOf(a), arrayOf(b)
		if len(u) != len(v) {
			return false
		}
		for i := range u {
			if kindOf(&u[i]) == kinds.array || !same(&u[i], &v[i]) {
				return false
			}
		}
		return true
	}
	return false
}

// matchPut is the same by public calls.
func (s *Set) matchPut(m pcommon.Map, other func(key string, v pcommon.Value) bool) bool {
	if m.Len() < s.n {
		return false
	}
	if s.n == 0 {
		for k, v := range m.All() {
			if !other(k, v) {
				return false
			}
		}
		return true
	}
	type attribute struct {
		key   string
		value pcommon.Value
	}
	// Not the iterator of the set itself beside that of m: two of them at once would be coroutines.
	var few [32]attribute
	own := few[:0]
	for k, v := range s.put.All() {
		own = append(own, attribute{k, v})
	}
	i := 0
	for k, v := range m.All() {
		if i < len(own) && own[i].key == k && own[i].value.Equal(v) {
			i++
			continue
		}
		if !other(k, v) {
			return false
		}
	}
	return i == len(own)
}
