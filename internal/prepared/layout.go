// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package prepared

import (
	"reflect"
	"unsafe"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// The types below are laid out as those of pdata that they stand for; known compares.

// mapHeader is a pcommon.Map.
type mapHeader struct {
	orig  *[]keyValue
	state unsafe.Pointer
}

// keyValue is one attribute.
type keyValue struct {
	value anyValue
	key   string
	index int32 // of profiles only
}

// anyValue holds a pointer to one of the kinds of values, which tells the kind by its type.
type anyValue struct{ value any }

// array is what anyValue points to for a slice, and what that points to in turn.
type array struct {
	ref    arrayRef
	values arrayValue
}

type arrayRef struct{ values *arrayValue }

type arrayValue struct{ values []anyValue }

// box is an interface as the runtime keeps it.
type box struct{ kind, data unsafe.Pointer }

// listOf gives the attributes of m. They must be left as they are but for appending.
func listOf(m pcommon.Map) *[]keyValue {
	return (*mapHeader)(unsafe.Pointer(&m)).orig
}

// kindOf gives the type that an anyValue points to.
func kindOf(v *anyValue) unsafe.Pointer { return (*box)(unsafe.Pointer(&v.value)).kind }

// arrayOf gives the elements of a value that is a slice.
func arrayOf(v *anyValue) []anyValue {
	return (*arrayRef)((*box)(unsafe.Pointer(&v.value)).data).values.values
}

// valueHeader is a pcommon.Value.
type valueHeader struct {
	orig  *anyValue
	state unsafe.Pointer
}

// valueOf gives the value of an attribute of m.
func valueOf(m pcommon.Map, kv *keyValue) pcommon.Value {
	h := valueHeader{&kv.value, (*mapHeader)(unsafe.Pointer(&m)).state}
	return *(*pcommon.Value)(unsafe.Pointer(&h))
}

// kinds are the types that an anyValue points to, as far as their values are compared.
var kinds = func() (k struct{ text, number, double, flag, array unsafe.Pointer }) {
	if !known() {
		return k
	}
	m := pcommon.NewMap()
	m.PutStr("a", "")
	m.PutInt("b", 0)
	m.PutDouble("c", 0)
	m.PutBool("d", false)
	m.PutEmptySlice("e")
	list := *listOf(m)
	k.text, k.number, k.double, k.flag, k.array = kindOf(&list[0].value), kindOf(&list[1].value), kindOf(&list[2].value), kindOf(&list[3].value), kindOf(&list[4].value)
	return k
}()

// known tells whether pdata's types are laid out as those above, by name, kind and offset.
func known() bool {
	header := reflect.TypeFor[pcommon.Map]()
	if !fields(header, reflect.TypeFor[mapHeader](), "orig", "state") {
		return false
	}
	list := header.Field(0).Type
	if list.Kind() != reflect.Pointer || list.Elem().Kind() != reflect.Slice {
		return false
	}
	entry := list.Elem().Elem()
	if !fields(entry, reflect.TypeFor[keyValue](), "Value", "Key", "KeyStrindex") ||
		entry.Field(1).Type.Kind() != reflect.String || entry.Field(2).Type.Kind() != reflect.Int32 {
		return false
	}
	value := entry.Field(0).Type
	if !isAny(value) || !knownKinds(value) {
		return false
	}
	of := reflect.TypeFor[pcommon.Value]()
	return fields(of, reflect.TypeFor[valueHeader](), "orig", "state") && of.Field(0).Type == reflect.PointerTo(value)
}

// isAny tells a struct of one interface without methods.
func isAny(t reflect.Type) bool {
	return fields(t, reflect.TypeFor[anyValue](), "Value") && t.Field(0).Type == reflect.TypeFor[any]()
}

// knownKinds looks at what is reached only through the interface.
func knownKinds(value reflect.Type) bool {
	m := pcommon.NewMap()
	m.PutStr("text", "")
	m.PutInt("number", 0)
	m.PutDouble("share", 0)
	m.PutBool("flag", false)
	m.PutEmptySlice("slice").AppendEmpty()
	list := *listOf(m)
	for i, kind := range []reflect.Kind{reflect.String, reflect.Int64, reflect.Float64, reflect.Bool} {
		t := reflect.TypeOf(list[i].value.value)
		if t == nil || t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct ||
			t.Elem().NumField() != 1 || t.Elem().Field(0).Type.Kind() != kind {
			return false
		}
	}
	slice := reflect.TypeOf(list[4].value.value)
	if slice == nil || slice.Kind() != reflect.Pointer || !fields(slice.Elem(), reflect.TypeFor[arrayRef](), "ArrayValue") {
		return false
	}
	inner := slice.Elem().Field(0).Type
	return inner.Kind() == reflect.Pointer && fields(inner.Elem(), reflect.TypeFor[arrayValue](), "Values") &&
		inner.Elem().Field(0).Type == reflect.SliceOf(value)
}

// fields tells whether a struct has exactly these fields, where ours has them.
func fields(t, ours reflect.Type, names ...string) bool {
	if t.Kind() != reflect.Struct || t.NumField() != len(names) || ours.NumField() != len(names) ||
		t.Size() != ours.Size() || t.Align() != ours.Align() {
		return false
	}
	for i, name := range names {
		f, o := t.Field(i), ours.Field(i)
		if f.Name != name || f.Offset != o.Offset || f.Type.Size() != o.Type.Size() {
			return false
		}
	}
	return true
}
