// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package prepared

import (
	"unsafe"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// Text is a string that many sets have in common.
type Text struct {
	shared anyValue
	put    string // when it is not shared
}

// NewText makes a text.
func NewText(s string) Text {
	if !Sharing() {
		return Text{put: s}
	}
	m := pcommon.NewMap()
	m.PutStr("", s)
	return Text{shared: (*listOf(m))[0].value}
}

// List is a slice of texts that many sets may have in common. The zero List is empty.
type List struct {
	shared anyValue
	put    []Text // when it is not shared
}

// NewList makes a list of the texts, which it copies.
func NewList(texts []Text) List {
	if len(texts) == 0 {
		return List{}
	}
	if !Sharing() {
		return List{put: append([]Text(nil), texts...)}
	}
	m := pcommon.NewMap()
	m.PutEmptySlice("")
	l := List{shared: (*listOf(m))[0].value} // of the right type, and empty
	a := &array{values: arrayValue{make([]anyValue, len(texts))}}
	for i, t := range texts {
		a.values.values[i] = t.shared
	}
	a.ref.values = &a.values
	(*box)(unsafe.Pointer(&l.shared.value)).data = unsafe.Pointer(&a.ref)
	return l
}

// Empty tells a list of no texts.
func (l *List) Empty() bool { return l.shared.value == nil && len(l.put) == 0 }

// Builder makes a set of texts and lists, which need no memory of their own in it.
type Builder struct{ s Set }

// NewBuilder makes a builder for so many attributes.
func NewBuilder(n int) *Builder {
	b := &Builder{}
	if Sharing() {
		b.s.list = make([]keyValue, 0, n)
	} else {
		b.s.put = pcommon.NewMap()
		b.s.put.EnsureCapacity(n)
	}
	return b
}

// Put adds an attribute with a key that the set does not have.
func (b *Builder) Put(key string, t Text) {
	b.s.n++
	if b.s.list != nil {
		b.s.list = append(b.s.list, keyValue{key: key, value: t.shared})
		return
	}
	b.s.put.PutStr(key, t.put)
}

// PutList adds a slice under a key that the set does not have.
func (b *Builder) PutList(key string, l List) {
	b.s.n++
	if b.s.list != nil {
		b.s.list = append(b.s.list, keyValue{key: key, value: l.shared})
		b.s.arrays++
		b.s.kind = kindOf(&l.shared)
		return
	}
	s := b.s.put.PutEmptySlice(key)
	s.EnsureCapacity(len(l.put))
	for _, t := range l.put {
		s.AppendEmpty().SetStr(t.put)
	}
}

// Set gives what was put.
func (b *Builder) Set() Set { return b.s }
