// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/prepared"
)

// everyKind has an attribute of each type.
func everyKind(t *testing.T) pcommon.Map {
	t.Helper()
	m := pcommon.NewMap()
	require.NoError(t, m.FromRaw(map[string]any{
		"empty": nil, "text": "a", "no": false, "yes": true, "int": 1, "double": 1.0, "bytes": []byte{1, 2},
		"slice": []any{"a", 1, []any{"b"}}, "map": map[string]any{"x": "y", "z": int64(2)},
	}))
	return m
}

func TestAttributesAreHeldAsTheyAre(t *testing.T) {
	m := everyKind(t)
	m.PutStr(flowattr.Phase, "close")
	m.PutStr(flowattr.ErrorType, "")
	m.PutInt(flowattr.Limit, 3)
	var holder prepared.Holder
	set, bytes := holder.Hold(m, isExtra)
	assert.Greater(t, bytes, 40*set.Len())
	want := pcommon.NewMap()
	m.CopyTo(want)
	want.Remove(flowattr.Phase) // the only extra one: a text that is not empty
	assert.Equal(t, want.AsRaw(), set.Attributes().AsRaw())

	h := newHasher()
	assert.Equal(t, h.set(want), h.set(set.Attributes()), "held or not, attributes have the same key")
	assert.Equal(t, canonical(want), canonical(set.Attributes()))
}

func TestKeysTellSetsApart(t *testing.T) {
	h := newHasher()
	base := everyKind(t)
	seen := map[key]string{h.set(base): "base"}
	for name, change := range map[string]func(pcommon.Map){
		"another text":             func(m pcommon.Map) { m.PutStr("text", "b") },
		"a text for an int":        func(m pcommon.Map) { m.PutStr("int", "1") },
		"a double for an int":      func(m pcommon.Map) { m.PutDouble("int", 1) },
		"another int":              func(m pcommon.Map) { m.PutInt("int", 2) },
		"another bool":             func(m pcommon.Map) { m.PutBool("yes", false) },
		"swapped bools":            func(m pcommon.Map) { m.PutBool("yes", false); m.PutBool("no", true) },
		"empty for a text":         func(m pcommon.Map) { m.PutEmpty("text") },
		"a text for empty":         func(m pcommon.Map) { m.PutStr("empty", "") },
		"more bytes":               func(m pcommon.Map) { m.PutEmptyBytes("bytes").FromRaw([]byte{1, 2, 3}) },
		"a slice in another order": func(m pcommon.Map) { require.NoError(t, m.PutEmptySlice("slice").FromRaw([]any{1, "a", []any{"b"}})) },
		"a slice less nested":      func(m pcommon.Map) { require.NoError(t, m.PutEmptySlice("slice").FromRaw([]any{"a", 1, "b"})) },
		"a longer slice":           func(m pcommon.Map) { m.PutEmptySlice("slice").AppendEmpty().SetStr("a") },
		"another map":              func(m pcommon.Map) { m.PutEmptyMap("map").PutStr("x", "z") },
		"one attribute more":       func(m pcommon.Map) { m.PutStr("more", "") },
		"one attribute less":       func(m pcommon.Map) { m.Remove("text") },
		"names swapped":            func(m pcommon.Map) { m.Remove("text"); m.PutStr("a", "text") },
	} {
		m := pcommon.NewMap()
		base.CopyTo(m)
		change(m)
		id := h.set(m)
		assert.NotContains(t, seen, id, "%s: as %s", name, seen[id])
		seen[id] = name
	}

	reversed := pcommon.NewMap()
	names := []string{}
	for k := range base.All() {
		names = append([]string{k}, names...)
	}
	for _, k := range names {
		v, _ := base.Get(k)
		v.CopyTo(reversed.PutEmpty(k))
	}
	assert.Equal(t, h.set(base), h.set(reversed), "the order of attributes says nothing")
}

// TestAFlowIsFoundAgainHoweverItsAttributesStand checks the shortcut of parsing against
// the hash.
func TestAFlowIsFoundAgainHoweverItsAttributesStand(t *testing.T) {
	h := newHasher()
	b := &batch{}
	b.reset()
	put := func(kv ...string) pcommon.Map {
		m := pcommon.NewMap()
		for i := 0; i < len(kv); i += 2 {
			m.PutStr(kv[i], kv[i+1])
		}
		return m
	}
	for _, m := range []pcommon.Map{
		put(flowattr.Role, "client", "peer", "1"),
		put("peer", "1", flowattr.Role, "client"),
		put(flowattr.Role, "client", flowattr.Phase, "close", "peer", "1"),
		put(flowattr.Role, "client", "peer", "1", flowattr.Phase, "close", flowattr.ErrorType, "reset"),
		put(flowattr.Role, "client", "peer", "2"),
		put(flowattr.Role, "client", "peer", "2", "more", "x"),
		put(flowattr.Role, "client"),
		put(flowattr.Role, "client", "peer", "1", flowattr.Phase, ""),
		put(flowattr.Role, "client", "peer", "2", flowattr.Phase, "close"),
	} {
		b.add(h, flowattr.MetricSent, m, true, true)
	}
	var flows []int32
	var of []extras
	for _, p := range b.points {
		assert.Equal(t, classFlow, p.class)
		flows = append(flows, p.flow)
		of = append(of, b.extras[p.extras])
	}
	assert.Equal(t, []int32{0, 0, 0, 0, 1, 2, 3, 4, 1}, flows)
	closed := extras{phase: "close"}
	assert.Equal(t, []extras{{}, {}, closed, {phase: "close", errorType: "reset"}, {}, {}, {}, {}, closed}, of)
}

// TestAFlowIsFoundAgainByAnyKindOfAttribute has each kind equal once and different once.
func TestAFlowIsFoundAgainByAnyKindOfAttribute(t *testing.T) {
	h := newHasher()
	base := everyKind(t)
	base.PutStr(flowattr.Role, "client")
	again := func(change func(pcommon.Map)) int32 {
		b := &batch{}
		b.reset()
		b.add(h, flowattr.MetricSent, base, true, true)
		m := pcommon.NewMap()
		base.CopyTo(m)
		change(m)
		b.expected = 0
		b.add(h, flowattr.MetricSent, m, true, true)
		return b.points[1].flow
	}
	assert.Zero(t, again(func(pcommon.Map) {}))
	for name, change := range map[string]func(v pcommon.Value){
		"empty": func(v pcommon.Value) { v.SetStr("x") }, "text": func(v pcommon.Value) { v.SetStr("b") },
		"no": func(v pcommon.Value) { v.SetBool(true) }, "int": func(v pcommon.Value) { v.SetInt(7) },
		"double": func(v pcommon.Value) { v.SetDouble(7) }, "bytes": func(v pcommon.Value) { v.Bytes().Append(3) },
		"slice": func(v pcommon.Value) { v.Slice().At(0).SetStr("z") }, "map": func(v pcommon.Value) { v.Map().PutStr("x", "z") },
	} {
		assert.Equal(t, int32(1), again(func(m pcommon.Map) {
			v, _ := m.Get(name)
			change(v)
		}), name)
	}
}
