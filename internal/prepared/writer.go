// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package prepared

import (
	"unsafe"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// Writer writes sets to points. It cuts the memory of many points out of larger pieces,
// which stay as long as one of the points does: so a Writer is for one batch. The zero
// Writer is ready; it is not safe for concurrent use.
type Writer struct {
	entries piece[keyValue]
	arrays  piece[array]
	items   piece[anyValue]
}

// Pieces grow from one small point to the largest that the allocator serves from its own
// lists, 32 KiB: larger ones are asked of the system one by one.
const (
	firstPiece = 32
	maxEntries = 32 << 10 / int(unsafe.Sizeof(keyValue{}))
	maxArrays  = 8 << 10 / int(unsafe.Sizeof(array{}))
	maxItems   = 16 << 10 / int(unsafe.Sizeof(anyValue{}))
)

// Append adds the attributes of the sets to m, in their order. m must have none of their
// keys.
func (w *Writer) Append(m pcommon.Map, sets ...*Set) {
	n := 0
	shared := true
	for _, s := range sets {
		n += s.n
		shared = shared && len(s.list) == s.n
	}
	if n == 0 {
		return
	}
	if !shared {
		m.EnsureCapacity(m.Len() + n)
		for _, s := range sets {
			s.putTo(m)
		}
		return
	}
	m.EnsureCapacity(0) // panics, as every change does, if m may not be changed
	at := listOf(m)
	old := *at
	list := old
	if cap(list)-len(list) < n {
		list = w.entries.cut(len(old)+n, maxEntries)
		copy(list, old)
	} else {
		list = list[:len(old)+n]
	}
	rest := list[len(old):]
	for _, s := range sets {
		copy(rest, s.list)
		for i, arrays := 0, s.arrays; arrays > 0; i++ {
			if kindOf(&rest[i].value) == s.kind {
				own(&rest[i].value, &w.arrays, &w.items)
				arrays--
			}
		}
		rest = rest[s.n:]
	}
	*at = list
}

// own gives v its own slice of the same elements.
func own(v *anyValue, arrays *piece[array], items *piece[anyValue]) {
	a := &arrays.cut(1, maxArrays)[0]
	if from := arrayOf(v); len(from) > 0 {
		a.values.values = items.cut(len(from), maxItems)
		copy(a.values.values, from)
	}
	a.ref.values = &a.values
	(*box)(unsafe.Pointer(&v.value)).data = unsafe.Pointer(&a.ref)
}

// putTo adds the attributes one by one.
func (s *Set) putTo(m pcommon.Map) {
	if s.n == 0 {
		return
	}
	for k, v := range s.Attributes().All() {
		v.CopyTo(m.PutEmpty(k))
	}
}

// piece is memory for many points. It grows with what is cut off.
type piece[T any] struct {
	free []T
	size int
}

// cut gives n zeroed elements, of which nobody else has any. Appending to them does not
// reach the next ones.
func (p *piece[T]) cut(n, largest int) []T {
	if len(p.free) < n {
		p.size = min(max(firstPiece, 2*p.size), largest)
		p.free = make([]T, max(p.size, n))
	}
	c := p.free[:n:n]
	p.free = p.free[n:]
	return c
}
