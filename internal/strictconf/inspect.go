// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package strictconf

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/confmap"
)

// edit takes a value out of a configuration, or puts another in its place.
type edit struct {
	path  string
	value any // nil: none
}

// inspection walks the raw configuration beside the type that it is meant for.
type inspection struct {
	problems []error
	edits    []edit
	// inList: confmap has no path to what is within a list, so the list is replaced.
	inList int
}

func inspect(raw map[string]any, cfg any) ([]error, []edit) {
	var i inspection
	i.keys("", raw, reflect.TypeOf(cfg).Elem(), false)
	return i.problems, i.edits
}

// refuse notes what is wrong with a value, and that it is to go.
func (i *inspection) refuse(path, format string, args ...any) {
	i.problems = append(i.problems, fmt.Errorf("'%s' "+format, append([]any{path}, args...)...))
	i.drop(path)
}

func (i *inspection) drop(path string) {
	if i.inList == 0 {
		i.edits = append(i.edits, edit{path: path})
	}
}

// value gives the value without what is refused, and false if nothing of it is left. What
// has another form than the type, a word in place of a struct for instance, is confmap's
// to refuse.
func (i *inspection) value(path string, raw any, t reflect.Type) (any, bool) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	raw = expanded(raw)
	if raw == nil {
		return raw, true
	}
	inner, optional := insideOptional(t)
	if optional {
		t = inner
	}
	switch m, isMap := raw.(map[string]any); {
	case t == durationType:
		return raw, i.duration(path, raw)
	case t.Kind() == reflect.Struct && isMap:
		return i.keys(path, m, t, optional), true
	case t.Kind() == reflect.Map && isMap:
		clean := maps.Clone(m)
		for _, key := range slices.Sorted(maps.Keys(m)) {
			i.entry(clean, path, key, t.Elem())
		}
		return clean, true
	case t.Kind() == reflect.Slice && reflect.TypeOf(raw).Kind() == reflect.Slice:
		return i.list(path, reflect.ValueOf(raw), t.Elem()), true
	default:
		return raw, i.scalar(path, raw, t.Kind())
	}
}

// keys gives the map of a struct without what is refused.
func (i *inspection) keys(path string, raw map[string]any, t reflect.Type, optional bool) map[string]any {
	known := map[string]reflect.Type{}
	for n := range t.NumField() {
		if key, _, _ := strings.Cut(t.Field(n).Tag.Get(confmap.MapstructureTag), ","); key != "" && key != "-" {
			known[key] = t.Field(n).Type
		}
	}
	clean := maps.Clone(raw)
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		switch field, ok := known[key]; {
		case ok:
			i.entry(clean, path, key, field)
		case optional && key == "enabled": // configoptional's own
		default:
			i.refuse(join(path, key), "is no key that is known here: one of %s", strings.Join(slices.Sorted(maps.Keys(known)), ", "))
			delete(clean, key)
		}
	}
	return clean
}

func (i *inspection) entry(in map[string]any, path, key string, t reflect.Type) {
	if value, ok := i.value(join(path, key), in[key], t); ok {
		in[key] = value
	} else {
		delete(in, key)
	}
}

// list gives the list without what is refused. An element that is refused itself is
// removed, which gives those behind it other indices, in later errors too.
func (i *inspection) list(path string, raw reflect.Value, t reflect.Type) any {
	before := len(i.problems)
	i.inList++
	clean := make([]any, 0, raw.Len())
	for n := range raw.Len() {
		if value, ok := i.value(fmt.Sprintf("%s[%d]", path, n), raw.Index(n).Interface(), t); ok {
			clean = append(clean, value)
		}
	}
	i.inList--
	if len(i.problems) == before {
		return raw.Interface()
	}
	if i.inList == 0 {
		i.edits = append(i.edits, edit{path, clean})
	}
	return clean
}

// expanded gives the value that stands for a ${…} within one that came from a ${…} itself;
// confmap's ToStringMap leaves those as they are, of a type of its own.
func expanded(raw any) any {
	for {
		t := reflect.TypeOf(raw)
		if t == nil || t.Name() != "ExpandedValue" || t.PkgPath() != "go.opentelemetry.io/collector/confmap/internal" {
			return raw
		}
		raw = reflect.ValueOf(raw).FieldByName("Value").Interface()
	}
}

// insideOptional gives the type in a configoptional.Optional.
func insideOptional(t reflect.Type) (reflect.Type, bool) {
	if t.PkgPath() != "go.opentelemetry.io/collector/config/configoptional" {
		return nil, false
	}
	get, ok := reflect.PointerTo(t).MethodByName("Get")
	if !ok {
		return nil, false
	}
	return get.Type.Out(0).Elem(), true
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + confmap.KeyDelimiter + key
}
