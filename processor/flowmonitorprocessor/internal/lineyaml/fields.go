// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package lineyaml

import (
	"reflect"
	"strings"
	"sync"
)

type field struct {
	name     string
	index    int
	required bool
}

var fieldCache sync.Map // reflect.Type → []field: a struct type has the same fields in every one of a million values

func fieldsOf(t reflect.Type) []field {
	if f, ok := fieldCache.Load(t); ok {
		return f.([]field)
	}
	var fields []field
	for i := range t.NumField() {
		name, option, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if name == "" || name == "-" {
			continue
		}
		fields = append(fields, field{name: name, index: i, required: option == "required"})
	}
	fieldCache.Store(t, fields)
	return fields
}

func find(fields []field, name string) int {
	for i := range fields {
		if fields[i].name == name {
			return i
		}
	}
	return -1
}

func names(fields []field) string {
	s := make([]string, len(fields))
	for i := range fields {
		s[i] = fields[i].name
	}
	return strings.Join(s, ", ")
}
