// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package prepared

import (
	"unsafe"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// Holder makes sets of the attributes of points, which may be changed afterwards. Most keys
// and many values repeat from flow to flow, and decoding makes a copy of each: kept is the
// first one. The zero Holder is ready; it is not safe for concurrent use.
type Holder struct {
	entries piece[keyValue]
	arrays  piece[array]
	items   piece[anyValue]
	last    []keyValue
}

// About what an attribute takes in memory beside its key and value, and a value beside its text.
const (
	entrySize = int(unsafe.Sizeof(keyValue{}))
	valueSize = 16
)

// Hold makes a set of the attributes of m but for those that omit takes, and says about how
// many bytes that is.
func (h *Holder) Hold(m pcommon.Map, omit func(key string, v pcommon.Value) bool) (s Set, bytes int) {
	if !Sharing() || !canShare(m) {
		return holdPut(m, omit)
	}
	all := *listOf(m)
	list := h.entries.cut(len(all), maxEntries)[:0]
	for k := range all {
		kv := &all[k]
		if omit(kv.key, valueOf(m, kv)) {
			continue
		}
		list = append(list, keyValue{value: kv.value, key: kv.key})
		held := &list[len(list)-1]
		bytes += entrySize
		repeats := false
		if i := len(list) - 1; i < len(h.last) && h.last[i].key == kv.key {
			held.key = h.last[i].key
			repeats = same(&kv.value, &h.last[i].value)
			if repeats {
				held.value = h.last[i].value // of a slice too: nobody changes it
			}
		} else {
			bytes += len(kv.key)
		}
		if kindOf(&kv.value) == kinds.array {
			s.arrays++
			s.kind = kinds.array
		}
		if repeats {
			continue
		}
		if kindOf(&kv.value) == kinds.array {
			own(&held.value, &h.arrays, &h.items)
		}
		bytes += sizeOf(&held.value)
	}
	s.n, s.list = len(list), list[:len(list):len(list)]
	h.last = s.list
	return s, bytes
}

// sizeOf is about what a value takes.
func sizeOf(v *anyValue) int {
	switch kindOf(v) {
	case kinds.text:
		return valueSize + len(*(*string)((*box)(unsafe.Pointer(&v.value)).data))
	case kinds.array:
		bytes := int(unsafe.Sizeof(array{}))
		items := arrayOf(v)
		for i := range items {
			bytes += int(unsafe.Sizeof(anyValue{})) + sizeOf(&items[i])
		}
		return bytes
	}
	return valueSize
}

// canShare tells whether all values of m can be shared.
func canShare(m pcommon.Map) bool {
	list := *listOf(m)
	for i := range list {
		switch kindOf(&list[i].value) {
		case kinds.text, kinds.number, kinds.double, kinds.flag:
		case kinds.array:
			items := arrayOf(&list[i].value)
			for k := range items {
				switch kindOf(&items[k]) {
				case kinds.text, kinds.number, kinds.double, kinds.flag:
				default:
					return false
				}
			}
		default:
			return false
		}
	}
	return true
}

// holdPut copies the attributes one by one.
func holdPut(m pcommon.Map, omit func(key string, v pcommon.Value) bool) (s Set, bytes int) {
	put := pcommon.NewMap()
	put.EnsureCapacity(m.Len())
	for k, v := range m.All() {
		if !omit(k, v) {
			v.CopyTo(put.PutEmpty(k))
			bytes += entrySize + len(k) + SizeOf(v)
		}
	}
	return unshared(put), bytes
}

// SizeOf is about what a value takes in memory when it is not shared.
func SizeOf(v pcommon.Value) int {
	bytes := 4 * valueSize
	switch v.Type() {
	case pcommon.ValueTypeStr:
		bytes += len(v.Str())
	case pcommon.ValueTypeBytes:
		bytes += v.Bytes().Len()
	case pcommon.ValueTypeSlice:
		for i := range v.Slice().Len() {
			bytes += SizeOf(v.Slice().At(i))
		}
	case pcommon.ValueTypeMap:
		for k, e := range v.Map().All() {
			bytes += len(k) + SizeOf(e)
		}
	}
	return bytes
}

// View reads sets one after the other without making a map for each. The zero View is ready; it is not safe
// for concurrent use.
type View struct{ m pcommon.Map }

// Of gives the attributes of a set, until the next call. They must not be changed.
func (v *View) Of(s *Set) pcommon.Map {
	if s.list == nil && s.n > 0 {
		return s.put
	}
	if v.m == (pcommon.Map{}) {
		v.m = pcommon.NewMap()
	}
	*listOf(v.m) = s.list
	return v.m
}
