// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// attribute holds one attribute of a flow in 64 bytes of a large piece; a pcommon.Map takes
// an allocation for each value.
type attribute struct {
	key   string
	text  string
	num   uint64
	kind  pcommon.ValueType
	other pcommon.Value // a copy: bytes, a slice or a map
}

// attributeSize is the size of an attribute without its strings.
const attributeSize = 64

// extras are the attributes that split one metric of a flow into several streams. They
// are dimensions of merged rows too. "" stands for an absent one.
type extras struct {
	phase, errorType, limit, retransmitType string
}

// put writes the extras behind the identity.
func (e *extras) put(m pcommon.Map) {
	if e.phase != "" {
		m.PutStr(flowattr.Phase, e.phase)
	}
	if e.errorType != "" {
		m.PutStr(flowattr.ErrorType, e.errorType)
	}
	if e.limit != "" {
		m.PutStr(flowattr.Limit, e.limit)
	}
	if e.retransmitType != "" {
		m.PutStr(flowattr.RetransmitType, e.retransmitType)
	}
}

// field gives the field for an attribute of this name, nil if it is not an extra one.
func (e *extras) field(name string) *string {
	switch name {
	case flowattr.Phase:
		return &e.phase
	case flowattr.ErrorType:
		return &e.errorType
	case flowattr.Limit:
		return &e.limit
	case flowattr.RetransmitType:
		return &e.retransmitType
	}
	return nil
}

// isExtra says whether an attribute is an extra one. One that is not a string, or empty,
// is none that this project writes: it stays part of the flow's identity.
func isExtra(name string, v pcommon.Value) bool {
	switch name {
	case flowattr.Phase, flowattr.ErrorType, flowattr.Limit, flowattr.RetransmitType:
		return v.Type() == pcommon.ValueTypeStr && v.Str() != ""
	}
	return false
}

// hash gives the key of the extras; that of no extras is zero.
func (e *extras) hash(h *hasher) uint64 {
	if *e == (extras{}) {
		return 0
	}
	sum := h.str(e.phase).a
	for i, s := range [...]string{e.errorType, e.limit, e.retransmitType} {
		sum = fold(sum^h.salt[i], h.str(s).a)
	}
	return sum
}

// arena gives room for the attributes of many flows: few large pieces instead of one
// allocation for each flow.
type arena struct {
	free []attribute
	size int
	last []attribute // of the flow before: most keys and many values repeat
}

// Pieces grow from one small flow to 256 KiB: a batch of one flow takes little, one of
// 20,000 flows a hundred pieces.
const (
	firstPiece   = 16
	largestPiece = 4096
)

// hold copies the identity attributes of m and says about how many bytes that takes.
func (a *arena) hold(m pcommon.Map) (attrs []attribute, bytes int) {
	n := m.Len()
	if n > cap(a.free)-len(a.free) {
		a.size = min(max(2*a.size, firstPiece), largestPiece)
		a.free = make([]attribute, 0, max(a.size, n))
	}
	from := len(a.free)
	for k, v := range m.All() {
		if isExtra(k, v) {
			continue
		}
		at := attribute{key: k, kind: v.Type()}
		bytes += attributeSize
		// Every point of a decoded batch has its own copy of each key. Keeping the
		// first one lets the others go.
		i := len(a.free) - from
		repeats := i < len(a.last) && a.last[i].key == k
		if repeats {
			at.key = a.last[i].key
		} else {
			bytes += len(k)
		}
		switch at.kind {
		case pcommon.ValueTypeStr:
			at.text = v.Str()
			if repeats && a.last[i].text == at.text {
				at.text = a.last[i].text
			} else {
				bytes += len(at.text)
			}
		case pcommon.ValueTypeBool:
			if v.Bool() {
				at.num = 1
			}
		case pcommon.ValueTypeInt:
			at.num = uint64(v.Int())
		case pcommon.ValueTypeDouble:
			at.num = math.Float64bits(v.Double())
		case pcommon.ValueTypeEmpty:
		default:
			at.other = pcommon.NewValueEmpty()
			v.CopyTo(at.other)
			bytes += sizeOf(v)
		}
		a.free = append(a.free, at)
	}
	attrs = a.free[from:len(a.free):len(a.free)]
	a.last = attrs
	return attrs, bytes
}

// valueSize is about what one value inside a slice or map takes beside its text.
const valueSize = 64

func sizeOf(v pcommon.Value) int {
	bytes := valueSize
	switch v.Type() {
	case pcommon.ValueTypeStr:
		bytes += len(v.Str())
	case pcommon.ValueTypeBytes:
		bytes += v.Bytes().Len()
	case pcommon.ValueTypeSlice:
		for i := range v.Slice().Len() {
			bytes += sizeOf(v.Slice().At(i))
		}
	case pcommon.ValueTypeMap:
		for k, e := range v.Map().All() {
			bytes += len(k) + sizeOf(e)
		}
	}
	return bytes
}

// same says whether a value is that of the attribute, which is not a text.
func (at *attribute) same(v pcommon.Value) bool {
	if v.Type() != at.kind {
		return false
	}
	switch at.kind {
	case pcommon.ValueTypeBool:
		return v.Bool() == (at.num != 0)
	case pcommon.ValueTypeInt:
		return uint64(v.Int()) == at.num
	case pcommon.ValueTypeDouble:
		return math.Float64bits(v.Double()) == at.num
	case pcommon.ValueTypeEmpty:
		return true
	case pcommon.ValueTypeSlice:
		return sameTexts(v.Slice(), at.other.Slice())
	}
	return false // rare: let the hash decide
}

// sameTexts compares slices of strings, which are all that the project writes.
func sameTexts(a, b pcommon.Slice) bool {
	if a.Len() != b.Len() {
		return false
	}
	for i := range a.Len() {
		x, y := a.At(i), b.At(i)
		if x.Type() != pcommon.ValueTypeStr || y.Type() != pcommon.ValueTypeStr || x.Str() != y.Str() {
			return false
		}
	}
	return true
}

// put writes the attribute to m, which does not have it.
func (at *attribute) put(m pcommon.Map) {
	switch at.kind {
	case pcommon.ValueTypeStr:
		m.PutStr(at.key, at.text)
	case pcommon.ValueTypeBool:
		m.PutBool(at.key, at.num != 0)
	case pcommon.ValueTypeInt:
		m.PutInt(at.key, int64(at.num))
	case pcommon.ValueTypeDouble:
		m.PutDouble(at.key, math.Float64frombits(at.num))
	case pcommon.ValueTypeEmpty:
		m.PutEmpty(at.key)
	default:
		at.other.CopyTo(m.PutEmpty(at.key))
	}
}

// hash gives the key of the attribute, the same as that of the one it was held from.
func (at *attribute) hash(h *hasher) key {
	switch at.kind {
	case pcommon.ValueTypeStr:
		return h.named(at.key, h.str(at.text))
	case pcommon.ValueTypeBool, pcommon.ValueTypeInt, pcommon.ValueTypeDouble, pcommon.ValueTypeEmpty:
		return h.named(at.key, h.word(at.kind, at.num))
	}
	return h.named(at.key, h.value(at.other))
}

// mapOf makes a map of attributes.
func mapOf(attrs []attribute) pcommon.Map {
	m := pcommon.NewMap()
	m.EnsureCapacity(len(attrs))
	for i := range attrs {
		attrs[i].put(m)
	}
	return m
}

// canonical writes attributes so that equal sets give equal texts and the order of two
// texts says something: by name, then by value.
func canonical(attrs []attribute) string {
	sorted := slices.Clone(attrs)
	slices.SortStableFunc(sorted, func(x, y attribute) int { return cmp.Compare(x.key, y.key) })
	var text strings.Builder
	for i := range sorted {
		at := &sorted[i]
		text.WriteString(at.key)
		text.WriteByte(0)
		text.WriteByte(byte(at.kind))
		if at.kind == pcommon.ValueTypeStr {
			text.WriteString(at.text)
		} else {
			m := mapOf(sorted[i : i+1])
			v, _ := m.Get(at.key)
			text.WriteString(v.AsString())
		}
		text.WriteByte(0)
	}
	return text.String()
}
