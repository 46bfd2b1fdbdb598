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
	require.Empty(t, errs)
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
	for _, err := range errs {
		got = append(got, err.Error())
	}
	want := []string{
		"line 2: nmae: unknown field; the fields here are name, number, on, nets, tags, addr, alone, hosts",
		"line 3: number: must be a whole number",
		"line 4: on: must be true or false",
		"line 6: nets[0].cidr: netip.ParsePrefix(\"10.0.0.0\"): no '/'",
		"line 6: nets[0].id: must be a text, not a list",
		"line 7: nets[1]: the field 'cidr' is required",
		"line 8: nets[2]: is empty",
		"line 9: nets[3]: must be a mapping with the fields cidr, id, not a single value",
		"line 10: tags: must be a list, not a single value",
		"line 11: addr: must be a single value, not a mapping",
		"line 12: number: is given twice",
		"line 13: alone.cidr: is required and empty",
		"line 14: hosts[0]: ParseAddr(\"10.0.0.999\"): IPv4 field has value >255",
		`line 15: "a\nb": unknown field; the fields here are name, number, on, nets, tags, addr, alone, hosts`,
		"line 2: the field 'name' is required",
	}
	assert.Equal(t, want, got)
	joined := lineyaml.Join(errs)
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
			assert.Len(t, errs, 1)
			assert.Error(t, lineyaml.Join(errs))
		})
	}
}

func TestNothingIsNoError(t *testing.T) {
	for _, data := range []string{"", "# a comment\n", "---\n"} {
		var d document
		_, errs := lineyaml.Decode([]byte(data), &d)
		assert.Empty(t, errs, "what an absent document lacks is the caller's to say")
	}
}

func TestALotOfErrorsIsCutShort(t *testing.T) {
	var s strings.Builder
	for i := range 500 {
		fmt.Fprintf(&s, "x%d: 1\n", i)
	}
	var d document
	_, errs := lineyaml.Decode([]byte(s.String()), &d)
	assert.Len(t, errs, 501)
	err := lineyaml.Join(errs)
	assert.Equal(t, 101, strings.Count(err.Error(), "\n")+1)
	assert.ErrorContains(t, err, "and 401 more errors")
}

func TestAliasesCannotBlowUp(t *testing.T) {
	// Nine levels of ten aliases each: a billion values in a kilobyte.
	var s strings.Builder
	s.WriteString("name: n\ntags: &l0 [a,a,a,a,a,a,a,a,a,a]\n")
	for i := 1; i < 9; i++ {
		fmt.Fprintf(&s, "x%d: &l%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*l%d,", i-1), 10), ","))
	}
	fmt.Fprintf(&s, "nets: [%s]\n", strings.TrimSuffix(strings.Repeat("*l8,", 10), ","))
	var d document
	_, errs := lineyaml.Decode([]byte(s.String()), &d)
	assert.NotEmpty(t, errs, "lists are no mappings; nothing was expanded")
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
		for _, err := range append(errs, doc.Error("nets[0].cidr", "x")) {
			if err.Line < 0 || err.Line > lines+strings.Count(string(data), "\r") {
				t.Fatalf("line %d of %d", err.Line, lines)
			}
			_ = err.Error()
		}
		if len(errs) == 0 && len(data) > 0 && d.Name == "" && doc.Error("name", "x").Line > 0 {
			t.Fatal("a required field is missing and nobody said so")
		}
	})
}
