// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"cmp"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/prepared"
)

// attribute is one attribute of those that tell merged rows apart.
type attribute struct {
	key   string
	value pcommon.Value
}

// extras are the attributes that split one metric of a flow into several streams. They
// are dimensions of merged rows too. "" stands for an absent one.
type extras struct {
	phase, errorType, limit, retransmitType string
}

// set makes the attributes of the extras.
func (e *extras) set() prepared.Set {
	m := pcommon.NewMap()
	for _, name := range [...]string{flowattr.Phase, flowattr.ErrorType, flowattr.Limit, flowattr.RetransmitType} {
		if text := *e.field(name); text != "" {
			m.PutStr(name, text)
		}
	}
	return prepared.New(m)
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

// take notes an attribute if it is an extra one.
func (e *extras) take(name string, v pcommon.Value) bool {
	field := e.field(name)
	if field == nil || !isExtra(name, v) {
		return false
	}
	*field = v.Str()
	return true
}

// mapOf makes a map of attributes.
func mapOf(attrs []attribute) pcommon.Map {
	m := pcommon.NewMap()
	m.EnsureCapacity(len(attrs))
	for i := range attrs {
		attrs[i].value.CopyTo(m.PutEmpty(attrs[i].key))
	}
	return m
}

// canonical writes attributes so that equal sets give equal texts and the order of two
// texts says something: by name, then by value.
func canonical(m pcommon.Map) string {
	sorted := make([]attribute, 0, m.Len())
	for k, v := range m.All() {
		sorted = append(sorted, attribute{k, v})
	}
	slices.SortStableFunc(sorted, func(x, y attribute) int { return cmp.Compare(x.key, y.key) })
	var text strings.Builder
	for _, at := range sorted {
		text.WriteString(at.key)
		text.WriteByte(0)
		text.WriteByte(byte(at.value.Type()))
		text.WriteString(at.value.AsString())
		text.WriteByte(0)
	}
	return text.String()
}
