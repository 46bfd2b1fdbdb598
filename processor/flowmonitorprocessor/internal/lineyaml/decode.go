// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package lineyaml

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxValues bounds the values that one document expands to: a list that is an alias
// of a list of aliases is small on disk and large in memory. A million network
// interfaces with ten values each stay below it.
const maxValues = 20_000_000

// Decode reads the one YAML document in data into dst, a pointer to a struct or a
// slice. Fields are named by the tag `yaml:"name"`, or `yaml:"name,required"`; types
// with UnmarshalText get the scalar's text. What could be read is in dst also when
// there are errors. Decode never panics; it keeps no reference to data.
func Decode(data []byte, dst any) (*Document, []*Error) {
	var root yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&root); err != nil {
		if errors.Is(err, io.EOF) {
			return &Document{}, nil // an empty document: everything is absent
		}
		return &Document{}, []*Error{syntaxError(err)}
	}
	var second yaml.Node
	if err := dec.Decode(&second); err == nil {
		return &Document{}, []*Error{{Line: second.Line, Msg: "a second YAML document: one file holds one"}}
	} else if !errors.Is(err, io.EOF) {
		return &Document{}, []*Error{syntaxError(err)}
	}
	if len(root.Content) == 0 || isNull(root.Content[0]) {
		return &Document{}, nil
	}
	d := &decoder{}
	d.value(root.Content[0], reflect.ValueOf(dst).Elem())
	return &Document{root: root.Content[0]}, d.errs
}

var syntaxLine = regexp.MustCompile(`^yaml: line (\d+): (?s:(.*))$`)

func syntaxError(err error) *Error {
	if m := syntaxLine.FindStringSubmatch(err.Error()); m != nil {
		line, _ := strconv.Atoi(m[1])
		return &Error{Line: line, Msg: "not YAML: " + m[2]}
	}
	return &Error{Msg: "not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}
}

type decoder struct {
	path   []string
	values int
	errs   []*Error
}

func (d *decoder) fail(n *yaml.Node, format string, args ...any) {
	var b strings.Builder
	for i, p := range d.path {
		if i > 0 && p[0] != '[' {
			b.WriteByte('.')
		}
		b.WriteString(p)
	}
	d.errs = append(d.errs, &Error{Line: n.Line, Path: b.String(), Msg: fmt.Sprintf(format, args...)})
}

var textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

func (d *decoder) value(n *yaml.Node, v reflect.Value) {
	if d.values++; d.values > maxValues {
		if d.values == maxValues+1 {
			d.fail(n, "the document expands to more than %d values", maxValues)
		}
		return
	}
	at := n
	if n = deref(n); n == nil || isNull(n) {
		return // absent
	}
	if v.Kind() == reflect.Pointer {
		p := reflect.New(v.Type().Elem())
		d.value(n, p.Elem())
		v.Set(p)
		return
	}
	if reflect.PointerTo(v.Type()).Implements(textUnmarshaler) {
		if n.Kind != yaml.ScalarNode {
			d.fail(at, "must be a single value, not %s", kindOf(n))
		} else if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.Value)); err != nil {
			d.fail(at, "%s", err)
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(n, v)
	case reflect.Slice:
		d.sequence(n, v)
	case reflect.String:
		if n.Kind != yaml.ScalarNode {
			d.fail(at, "must be a text, not %s", kindOf(n))
			return
		}
		v.SetString(n.Value)
	case reflect.Bool:
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
			d.fail(at, "must be true or false")
			return
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
	case reflect.Int:
		i, err := strconv.Atoi(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil {
			d.fail(at, "must be a whole number")
			return
		}
		v.SetInt(int64(i))
	default:
		panic("lineyaml: no rule for " + v.Type().String()) // a programming error: found by any test of the type
	}
}

func (d *decoder) sequence(n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.fail(n, "must be a list, not %s", kindOf(n))
		return
	}
	s := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, c := range n.Content {
		d.path = append(d.path, "["+strconv.Itoa(i)+"]")
		if r := deref(c); r != nil && isNull(r) {
			d.fail(c, "is empty")
		} else {
			d.value(c, s.Index(i))
		}
		d.path = d.path[:len(d.path)-1]
	}
	v.Set(s)
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value) {
	fields := fieldsOf(v.Type())
	if n.Kind != yaml.MappingNode {
		d.fail(n, "must be a mapping with the fields %s, not %s", names(fields), kindOf(n))
		return
	}
	seen := make([]bool, len(fields))
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		f := find(fields, key.Value)
		d.path = append(d.path, printable(key.Value))
		switch {
		case f < 0:
			d.fail(key, "unknown field; the fields here are %s", names(fields))
		case seen[f]:
			d.fail(key, "is given twice")
		default:
			r := deref(val)
			seen[f] = r != nil && !isNull(r) && (r.Kind != yaml.ScalarNode || r.Value != "")
			if !seen[f] && fields[f].required {
				d.fail(key, "is required and empty")
				seen[f] = true // said once
			} else {
				d.value(val, v.Field(fields[f].index))
			}
		}
		d.path = d.path[:len(d.path)-1]
	}
	for f, known := range fields {
		if known.required && !seen[f] {
			d.fail(n, "the field '%s' is required", known.name)
		}
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return "a single value"
}

// printable keeps a path readable whatever stands in the file.
func printable(key string) string {
	if key == "" {
		return `""`
	}
	if len(key) > 64 {
		key = key[:64] + "…"
	}
	if q := strconv.Quote(key); q[1:len(q)-1] != key {
		return q
	}
	return key
}
