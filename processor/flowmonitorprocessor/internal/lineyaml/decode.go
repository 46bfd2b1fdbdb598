// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package lineyaml

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// spareValues is what aliases may add to the values of a document. Without aliases each
// value takes a character at least, so that the size of a file bounds what it expands to;
// a list that is an alias of a list of aliases is small on disk and large in memory. A
// hand-written topology that says each list of CIDRs once needs some hundred.
const spareValues = 10_000

// Decode reads the one YAML document in data into dst, a pointer to a struct or a
// slice. Fields are named by the tag `yaml:"name"`, or `yaml:"name,required"`; types
// with UnmarshalText get the scalar's text. What could be read is in dst also when
// there are errors. Decode never panics; it keeps no reference to data.
func Decode(data []byte, dst any) (*Document, *Errors) {
	one := func(err *Error) *Errors { return &Errors{list: []*Error{err}, count: 1} }
	var root yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&root); err != nil {
		if errors.Is(err, io.EOF) {
			return &Document{}, &Errors{} // an empty document: everything is absent
		}
		return &Document{}, one(syntaxError(data, err))
	}
	var second yaml.Node
	if err := dec.Decode(&second); err == nil {
		return &Document{}, one(&Error{Line: second.Line, Msg: "a second YAML document: one file holds one"})
	} else if !errors.Is(err, io.EOF) {
		return &Document{}, one(syntaxError(data, err))
	}
	if len(root.Content) == 0 || isNull(root.Content[0]) {
		return &Document{}, &Errors{}
	}
	d := &decoder{maxValues: len(data) + spareValues, errs: &Errors{}}
	d.value(root.Content[0], reflect.ValueOf(dst).Elem())
	return &Document{root: root.Content[0]}, d.errs
}

type decoder struct {
	path      []string
	values    int // so far
	maxValues int
	exhausted bool // there are more
	errs      *Errors
}

func (d *decoder) fail(n *yaml.Node, format string, args ...any) {
	if d.errs.Full() {
		d.errs.Skip(1)
		return
	}
	var b strings.Builder
	for i, p := range d.path {
		if i > 0 && p[0] != '[' {
			b.WriteByte('.')
		}
		b.WriteString(p)
	}
	d.errs.Add(&Error{Line: n.Line, Path: b.String(), Msg: fmt.Sprintf(format, args...)})
}

// spend takes values from those that the document may expand to, and says whether there
// were enough. The first time that there are not it says so; all ends there.
func (d *decoder) spend(n *yaml.Node, values int) bool {
	if d.exhausted {
		return false
	}
	if values > d.maxValues-d.values {
		d.exhausted = true
		d.fail(n, "the aliases of the document expand to more than %d values", d.maxValues)
		return false
	}
	d.values += values
	return true
}

var textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

func (d *decoder) value(n *yaml.Node, v reflect.Value) {
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
			d.fail(at, "%s", invalid(v.Type(), n.Value, err))
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
	if !d.spend(n, len(n.Content)) { // before the memory for them is taken
		return
	}
	s := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, c := range n.Content {
		if d.exhausted {
			break
		}
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
	if !d.spend(n, len(n.Content)/2) {
		return
	}
	seen := make([]bool, len(fields))
	merges := false
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		if d.exhausted {
			return
		}
		if key.ShortTag() == "!!merge" {
			// Of the mapping, not of a field: what it lacks may be in what is merged.
			d.fail(key, "merge keys (<<) are not supported: write the fields out")
			merges = true
			continue
		}
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
		if merges {
			break
		}
		if known.required && !seen[f] {
			d.fail(n, "the field '%s' is required", known.name)
		}
	}
}

// invalid says why a text is no value of type t, in the words of the file's author: the
// errors of netip name Go functions.
func invalid(t reflect.Type, text string, err error) string {
	switch t {
	case reflect.TypeFor[netip.Addr]():
		return fmt.Sprintf("%s is not an IP address", quoted(text))
	case reflect.TypeFor[netip.Prefix]():
		return fmt.Sprintf("%s is not a CIDR block, an address and a prefix length such as 10.1.0.0/16 or 2001:db8::/32", quoted(text))
	}
	return err.Error()
}

func quoted(text string) string {
	if len(text) > maxQuoted {
		text = text[:maxQuoted] + "…"
	}
	return strconv.Quote(text)
}

// maxQuoted is longer than any name in a network and keeps a line readable.
const maxQuoted = 64

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
	if len(key) > maxQuoted {
		key = key[:maxQuoted] + "…"
	}
	if q := strconv.Quote(key); q[1:len(q)-1] != key {
		return q
	}
	return key
}
