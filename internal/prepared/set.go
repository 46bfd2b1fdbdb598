// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package prepared

import (
	"unsafe"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// Set is attributes to write to many points. It never changes, and is safe for
// concurrent use. The zero Set is empty.
type Set struct {
	n      int
	arrays int            // how many are slices
	kind   unsafe.Pointer // type of those
	list   []keyValue     // all of them; nil when they are not shared
	put    pcommon.Map    // all of them, when they are not shared
}

// New makes a set of the attributes of m, which must not be changed afterwards. If one of
// them is a map, or a slice of anything but strings and numbers, the set is not shared.
func New(m pcommon.Map) Set {
	if !Sharing() {
		return unshared(m)
	}
	return shareMap(m)
}

func unshared(m pcommon.Map) Set { return Set{n: m.Len(), put: m} }

func shareMap(m pcommon.Map) Set {
	s := Set{n: m.Len()}
	list := *listOf(m)
	i := 0
	for _, v := range m.All() {
		if v.Type() == pcommon.ValueTypeSlice {
			if !plain(v.Slice()) {
				return unshared(m)
			}
			s.arrays++
			s.kind = kindOf(&list[i].value)
		} else if !immutable(v) {
			return unshared(m)
		}
		i++
	}
	s.list = list[:len(list):len(list)]
	return s
}

// immutable tells the values that pdata replaces and does not change.
func immutable(v pcommon.Value) bool {
	switch v.Type() {
	case pcommon.ValueTypeStr, pcommon.ValueTypeInt, pcommon.ValueTypeBool, pcommon.ValueTypeDouble:
		return true
	}
	return false
}

// plain tells a slice of immutable values.
func plain(s pcommon.Slice) bool {
	for i := range s.Len() {
		if !immutable(s.At(i)) {
			return false
		}
	}
	return true
}

// Len is the number of attributes.
func (s *Set) Len() int { return s.n }

// Attributes gives a map of the attributes, which must not be changed.
func (s *Set) Attributes() pcommon.Map {
	if s.list == nil && s.n > 0 {
		return s.put
	}
	m := pcommon.NewMap()
	*listOf(m) = s.list
	return m
}

// Equal tells whether two sets have equal attributes in the same order.
func (s *Set) Equal(o *Set) bool {
	if s.n != o.n {
		return false
	}
	a, b := s.Attributes(), o.Attributes()
	for k, v := range a.All() {
		if w, ok := b.Get(k); !ok || !v.Equal(w) {
			return false
		}
	}
	return true
}
