// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package lineyaml_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/lineyaml"
)

type document struct {
	Name   string       `yaml:"name,required"`
	Number int          `yaml:"number"`
	On     *bool        `yaml:"on"`
	Nets   []net        `yaml:"nets"`
	Tags   []string     `yaml:"tags"`
	Addr   netip.Addr   `yaml:"addr"`
	Alone  *net         `yaml:"alone"`
	Hidden string       // no tag: no field
	Hosts  []netip.Addr `yaml:"hosts"`
}

type net struct {
	CIDR netip.Prefix `yaml:"cidr,required"`
	ID   string       `yaml:"id"`
}

func TestAValidDocument(t *testing.T) {
	var d document
	doc, errs := lineyaml.Decode([]byte(`
name: 012345678901
number: 7
on: false
nets: &nets
  - {cidr: 10.0.0.0/8, id: a}
  - cidr: "2001:db8::/32"
tags: [x, 1, true]
addr: 10.0.0.1
alone:
hosts: []
`), &d)
	require.Zero(t, errs.Len())
	assert.Equal(t, "012345678901", d.Name, "an account id keeps its zero")
	assert.Equal(t, 7, d.Number)
	require.NotNil(t, d.On)
	assert.False(t, *d.On)
	assert.Equal(t, []string{"x", "1", "true"}, d.Tags)
	assert.Equal(t, netip.MustParsePrefix("2001:db8::/32"), d.Nets[1].CIDR)
	assert.Nil(t, d.Alone)
	assert.Equal(t, 7, doc.Error("nets[1].cidr", "x").Line)
	assert.Equal(t, 7, doc.Error("nets[1].id", "x").Line, "an absent field has the line of what lacks it")
	assert.Equal(t, 5, doc.Error("nets[9]", "x").Line)
	assert.Equal(t, 5, doc.Error("nets", "x").Line)
}

func TestEveryErrorIsSaidWithItsLineAndField(t *testing.T) {
	var d document
	_, errs := lineyaml.Decode([]byte(`
nmae: x
number: many
on: perhaps
nets:
  - {cidr: 10.0.0.0, id: [a]}
  - id: b
  -
  - just text
tags: one
addr: {a: b}
number: 3
alone: {cidr: ""}
hosts: [10.0.0.999]
"a\nb": 1
`), &d)
	var got []string
	for _, err := range errs.List() {
		got = append(got, err.Error())
	}
	want := []string{
		"line 2: nmae: unknown field; the fields here are name, number, on, nets, tags, addr, alone, hosts",
		"line 3: number: must be a whole number",
		"line 4: on: must be true or false",
		"line 6: nets[0].cidr: \"10.0.0.0\" is not a CIDR block, an address and a prefix length such as 10.1.0.0/16 or 2001:db8::/32",
		"line 6: nets[0].id: must be a text, not a list",
		"line 7: nets[1]: the field 'cidr' is required",
		"line 8: nets[2]: is empty",
		"line 9: nets[3]: must be a mapping with the fields cidr, id, not a single value",
		"line 10: tags: must be a list, not a single value",
		"line 11: addr: must be a single value, not a mapping",
		"line 12: number: is given twice",
		"line 13: alone.cidr: is required and empty",
		"line 14: hosts[0]: \"10.0.0.999\" is not an IP address",
		`line 15: "a\nb": unknown field; the fields here are name, number, on, nets, tags, addr, alone, hosts`,
		"line 2: the field 'name' is required",
	}
	assert.Equal(t, want, got)
	joined := errs.Join()
	for _, w := range want {
		assert.ErrorContains(t, joined, w)
	}
}

func TestWhatIsNotYAML(t *testing.T) {
	for name, data := range map[string]string{
		"a tab as indentation": "name:\n\tx: 1\n",
		"an open bracket":      "name: [\n",
		"an unknown anchor":    "name: *x\n",
		"two documents":        "name: a\n---\nname: b\n",
		"binary":               "\x00\x01\x02",
	} {
		t.Run(name, func(t *testing.T) {
			var d document
			_, errs := lineyaml.Decode([]byte(data), &d)
			assert.Equal(t, 1, errs.Len())
			assert.Error(t, errs.Join())
		})
	}
}

func TestNothingIsNoError(t *testing.T) {
	for _, data := range []string{"", "# a comment\n", "---\n"} {
		var d document
		_, errs := lineyaml.Decode([]byte(data), &d)
		assert.Zero(t, errs.Len(), "what an absent document lacks is the caller's to say")
	}
}

func TestALotOfErrorsIsCutShort(t *testing.T) {
	var s strings.Builder
	for i := range 500 {
		fmt.Fprintf(&s, "x%d: 1\n", i)
	}
	var d document
	_, errs := lineyaml.Decode([]byte(s.String()), &d)
	assert.Equal(t, 501, errs.Len())
	assert.Len(t, errs.List(), lineyaml.MaxErrors)
	err := errs.Join()
	assert.Equal(t, 21, strings.Count(err.Error(), "\n")+1)
	assert.ErrorContains(t, err, "and 481 more")
}

func TestErrorsAreSaidInTheOrderOfTheirLines(t *testing.T) {
	var d document
	doc, errs := lineyaml.Decode([]byte("name: x\nnumber: a\ntags: [a]\nunknown: 1\n"), &d)
	errs.Add(doc.Error("tags[0]", "found by a later check"))
	assert.Regexp(t, `(?s)^line 2: number: .*\nline 3: tags\[0\]: found by a later check\nline 4: unknown: `, errs.Join().Error())
}

// A few kilobytes with aliases of lists would be gigabytes of values, and of errors.
func TestAliasesCannotBlowUp(t *testing.T) {
	var s strings.Builder
	s.WriteString("name: n\nnets:\n  - {cidr: 10.0.0.0/8, ids: &ids [" + strings.Repeat("x,", 1500) + "]}\n")
	s.WriteString(strings.Repeat("  - {cidr: 10.0.0.0/8, ids: *ids}\n", 1000))
	var d struct {
		Name string `yaml:"name"`
		Nets []struct {
			CIDR netip.Prefix `yaml:"cidr"`
			IDs  []netip.Addr `yaml:"ids"`
		} `yaml:"nets"`
	}
	_, errs := lineyaml.Decode([]byte(s.String()), &d)
	values := 0
	for _, n := range d.Nets {
		values += len(n.IDs)
	}
	assert.LessOrEqual(t, values, s.Len()+10_000)
	assert.LessOrEqual(t, errs.Len(), s.Len()+10_001)
	assert.Len(t, errs.List(), lineyaml.MaxErrors)

	good := strings.Replace(s.String(), strings.Repeat("x,", 1500), strings.Repeat("10.0.0.1,", 1500), 1)
	_, errs = lineyaml.Decode([]byte(good), &d)
	require.Equal(t, 1, errs.Len(), "it is said once, and nothing after it")
	assert.ErrorContains(t, errs.Join(), "the aliases of the document expand to more than")
}

func TestAliasesThatOrdinaryFilesUse(t *testing.T) {
	var d document
	_, errs := lineyaml.Decode([]byte("name: n\nhosts: &h [10.0.0.1, 10.0.0.2]\ntags: *h\n"), &d)
	require.NoError(t, errs.Join())
	assert.Equal(t, []string{"10.0.0.1", "10.0.0.2"}, d.Tags)
}

func TestEachSyntaxErrorHasItsLine(t *testing.T) {
	for _, c := range []struct {
		name, data string
		line       int
	}{
		{"a tab as indentation", "name: x\nnets:\n\t- a\n", 3},
		{"a list that is not closed", "name: x\ntags: [a\nnumber: 1\n", 2},
		{"a list that is not closed in the first line", "[a: b: c]\n", 1},
		{"a key that is no key", "name: x\nnumber: 1\ntags\n", 3},
		{"a dash among keys", "name: x\nnets:\n  - {cidr: a}\n  id: b\n", 3},
		{"an undefined tag", "name: x\nnumber: !e!x 1\n", 2},
		{"a directive twice", "%YAML 1.1\n%YAML 1.1\n---\nname: x\n", 2},
		{"bytes that are no UTF-8", "name: x\nnumber: 1\ntags: [\"\xff\"]\n", 3},
		{"a control character", "name: x\ntags: [\"a\x00\"]\n", 2},
		{"an unknown anchor", "# not *a\nname: '*a'\ntags: [b,\n  *a]\n", 4},
		{"an unknown anchor in the first line", "name: *a\n", 1},
		{"a second document", "name: x\n---\nname: y\n", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d document
			_, errs := lineyaml.Decode([]byte(c.data), &d)
			require.Equal(t, 1, errs.Len())
			assert.Equal(t, c.line, errs.List()[0].Line, errs.Join())
		})
	}
}

func TestMergeKeysAreRefusedOnce(t *testing.T) {
	var d document
	_, errs := lineyaml.Decode([]byte("name: n\nnets:\n  - &a {cidr: 10.0.0.0/8}\n  - {<<: *a, id: b}\n"), &d)
	require.Equal(t, 1, errs.Len())
	assert.EqualError(t, errs.Join(), "line 4: nets[1]: merge keys (<<) are not supported: write the fields out")
}

func TestTheListAtTheTop(t *testing.T) {
	assert.True(t, lineyaml.IsList([]byte("- a\n")))
	assert.True(t, lineyaml.IsList([]byte("[]")))
	assert.False(t, lineyaml.IsList([]byte("a: []")))
	assert.False(t, lineyaml.IsList([]byte("")))
	assert.False(t, lineyaml.IsList([]byte("[")))
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("name: a\nnets: [{cidr: 10.0.0.0/8}]\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("<<: {name: x}\nname: !!binary aGk=\n"))
	f.Add([]byte("? [complex]\n: key\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var d document
		doc, errs := lineyaml.Decode(data, &d)
		lines := strings.Count(string(data), "\n") + 2
		for _, err := range append(errs.List(), doc.Error("nets[0].cidr", "x")) {
			if err.Line < 0 || err.Line > lines+strings.Count(string(data), "\r") {
				t.Fatalf("line %d of %d", err.Line, lines)
			}
			_ = err.Error()
		}
		if errs.Len() == 0 && len(data) > 0 && d.Name == "" && doc.Error("name", "x").Line > 0 {
			t.Fatal("a required field is missing and nobody said so")
		}
	})
}
