// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package prepared

import (
	"sync"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// Sharing tells whether values are shared; otherwise every attribute is put by itself,
// which gives the same points at several times the cost. It is found out at the first call,
// which must not come before the collector has set its feature gates.
func Sharing() bool { return sharing() }

var sharing = sync.OnceValue(detect)

// detect tells whether sharing is possible with this pdata, as it is set up now.
func detect() bool { return known() && independent() }

// independent tries out whether points that share values can be changed without the
// others noticing. It also finds the pooling of values, which frees what it is told is gone.
func independent() (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	m := pcommon.NewMap()
	m.PutStr("text", "a")
	m.PutInt("number", 1)
	m.PutBool("flag", true)
	m.PutDouble("share", 0.5)
	s := m.PutEmptySlice("list")
	s.AppendEmpty().SetStr("x")
	s.AppendEmpty().SetStr("y")
	shared := shareMap(m)
	set := &shared
	want := m.AsRaw()
	if shared.list == nil {
		return false
	}
	for _, change := range []func(pcommon.Map){
		func(m pcommon.Map) {
			for _, v := range m.All() {
				v.SetStr("changed")
			}
		},
		func(m pcommon.Map) {
			v, _ := m.Get("list")
			v.Slice().At(0).SetStr("changed")
			v.Slice().AppendEmpty().SetInt(7)
		},
		func(m pcommon.Map) {
			v, _ := m.Get("list")
			v.Slice().RemoveIf(func(v pcommon.Value) bool { return v.Str() == "x" })
		},
		func(m pcommon.Map) { m.RemoveIf(func(string, pcommon.Value) bool { return true }) },
		func(m pcommon.Map) { m.Remove("text") },
		func(m pcommon.Map) {
			other := pcommon.NewMap()
			other.PutStr("text", "changed")
			other.CopyTo(m)
		},
		func(m pcommon.Map) { m.PutInt("text", 2); m.PutStr("more", "z"); m.PutEmptyMap("list") },
		func(m pcommon.Map) {
			for _, v := range m.All() {
				v.MoveTo(pcommon.NewValueEmpty())
			}
		},
	} {
		first, second := pcommon.NewMap(), pcommon.NewMap()
		var w Writer
		w.Append(first, set)
		w.Append(second, set)
		change(first)
		third := pcommon.NewMap()
		w.Append(third, set)
		if !equal(second.AsRaw(), want) || !equal(third.AsRaw(), want) || !equal(m.AsRaw(), want) || equal(first.AsRaw(), want) {
			return false
		}
	}
	return true
}

func equal(a, b map[string]any) bool {
	x, y := pcommon.NewMap(), pcommon.NewMap()
	return x.FromRaw(a) == nil && y.FromRaw(b) == nil && x.Equal(y)
}
