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
	attributes pcommon.Map
	n          int
	list       []keyValue     // of attributes; nil when they are not shared
	arrays     int            // of list: how many are slices
	arrayKind  unsafe.Pointer // type of those
}

// New makes a set of the attributes of m, which must not be changed afterwards. Values that
// are bytes or maps are not shared, and the whole set is not.
func New(m pcommon.Map) *Set {
	if !Sharing() {
		return &Set{attributes: m, n: m.Len()}
	}
	return share(m)
}

// share makes a set of shared values.
func share(m pcommon.Map) *Set {
	s := &Set{attributes: m, n: m.Len()}
	list := *listOf(m)
	i := 0
	for _, v := range m.All() {
		switch v.Type() {
		case pcommon.ValueTypeStr, pcommon.ValueTypeInt, pcommon.ValueTypeBool, pcommon.ValueTypeDouble:
		case pcommon.ValueTypeSlice:
			if !plain(v.Slice()) {
				return s
			}
			s.arrays++
			s.arrayKind = kindOf(&list[i].value)
		default:
			return s
		}
		i++
	}
	s.list = list[:len(list):len(list)]
	return s
}

// plain tells a slice of strings and numbers.
func plain(s pcommon.Slice) bool {
	for i := range s.Len() {
		switch s.At(i).Type() {
		case pcommon.ValueTypeStr, pcommon.ValueTypeInt, pcommon.ValueTypeBool, pcommon.ValueTypeDouble:
		default:
			return false
		}
	}
	return true
}

// Len is the number of attributes.
func (s *Set) Len() int { return s.n }

// Attributes are those of the set. They must not be changed.
func (s *Set) Attributes() pcommon.Map {
	if s.n == 0 {
		return pcommon.NewMap()
	}
	return s.attributes
}
