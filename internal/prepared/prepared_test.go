// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package prepared

import (
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/featuregate"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Whoever updates pdata is to know: it still works, but a point costs several times as much.
func TestValuesAreSharedWithThePdataOfThisModule(t *testing.T) {
	assert.True(t, known())
	assert.True(t, detect())
}

func TestValuesAreNotSharedWhenPdataPoolsThem(t *testing.T) {
	gate := "pdata.useProtoPooling"
	require.NoError(t, featuregate.GlobalRegistry().Set(gate, true))
	defer func() { require.NoError(t, featuregate.GlobalRegistry().Set(gate, false)) }()
	assert.False(t, detect(), "a value that one point lets go of would be reused while others have it")
}

// set makes sharing so for a test.
func set(t *testing.T, to bool) {
	before := sharing
	t.Cleanup(func() { sharing = before })
	sharing = func() bool { return to }
}

func of(s Set) *Set { return &s }

// example gives attributes of every kind that can be shared.
func example(prefix string) pcommon.Map {
	m := pcommon.NewMap()
	m.PutStr(prefix+"text", "subnet-1")
	m.PutInt(prefix+"number", 443)
	m.PutBool(prefix+"flag", true)
	m.PutDouble(prefix+"share", 0.25)
	s := m.PutEmptySlice(prefix + "list")
	for _, text := range []string{"eni/eni-1", "subnet/subnet-1", "eni/eni-2"} {
		s.AppendEmpty().SetStr(text)
	}
	s.AppendEmpty().SetInt(7)
	m.PutEmptySlice(prefix + "none")
	return m
}

func TestBothWaysWriteTheSame(t *testing.T) {
	withMap := example("map.")
	withMap.PutEmptyMap("map.inner").PutStr("a", "b")
	withSlices := example("nested.")
	withSlices.PutEmptySlice("nested.inner").AppendEmpty().SetEmptySlice().AppendEmpty().SetStr("deep")
	withBytes := example("bytes.")
	withBytes.PutEmptyBytes("bytes.raw").FromRaw([]byte{1})
	empty := example("empty.")
	empty.PutEmpty("empty.value")
	for name, maps := range map[string][]pcommon.Map{
		"nothing":                         {},
		"an empty set":                    {pcommon.NewMap()},
		"one set":                         {example("a.")},
		"three sets, of which one empty":  {example("a."), pcommon.NewMap(), example("b.")},
		"one that is not shared":          {example("a."), withMap},
		"slices of slices are not shared": {withSlices, example("b.")},
		"bytes are not shared":            {withBytes},
		"no value is not shared":          {empty},
	} {
		t.Run(name, func(t *testing.T) {
			for _, room := range []int{0, 3, 100} {
				shared, put := pcommon.NewMap(), pcommon.NewMap()
				var sets, others []*Set
				for _, m := range maps {
					sets, others = append(sets, of(New(m))), append(others, of(unshared(m)))
				}
				for _, m := range []pcommon.Map{shared, put} {
					m.EnsureCapacity(room)
					m.PutStr("own", "x")
				}
				var w Writer
				w.Append(shared, sets...)
				w.Append(put, others...)
				assert.Equal(t, put.AsRaw(), shared.AsRaw())
				var order, want []string
				for k := range shared.All() {
					order = append(order, k)
				}
				for k := range put.All() {
					want = append(want, k)
				}
				assert.Equal(t, want, order)
			}
		})
	}
}

func TestManyPointsOfOneWriterAreIndependent(t *testing.T) {
	var w Writer
	set, more := of(New(example("a."))), of(New(example("b.")))
	points := make([]pcommon.Map, 500) // several pieces of each kind
	for i := range points {
		points[i] = pcommon.NewMap()
		points[i].PutInt("own", int64(i))
		w.Append(points[i], set, more)
	}
	want := points[0].AsRaw()
	// Change every other point in every way; they were neighbours in memory.
	for i := 1; i < len(points); i += 2 {
		m := points[i]
		list, _ := m.Get("a.list")
		for range 10 {
			list.Slice().AppendEmpty().SetStr("appended")
		}
		list.Slice().At(0).SetStr("changed")
		m.PutStr("a.text", "changed")
		for k := range 10 {
			m.PutStr(fmt.Sprint("new", k), "new")
		}
		m.Remove("b.number")
		m.RemoveIf(func(k string, _ pcommon.Value) bool { return k == "b.list" })
	}
	for i := 0; i < len(points); i += 2 {
		want["own"] = int64(i)
		require.Equal(t, want, points[i].AsRaw(), i)
	}
	assert.Equal(t, example("a.").AsRaw(), set.Attributes().AsRaw())
}

func TestWhatIsBuiltIsWhatWasPut(t *testing.T) {
	for name, share := range map[string]bool{"shared": true, "one by one": false} {
		t.Run(name, func(t *testing.T) {
			set(t, share)
			eni, subnet := NewText("eni/eni-1"), NewText("subnet/subnet-1")
			path, none := NewList([]Text{eni, subnet, eni}), NewList(nil)
			assert.True(t, none.Empty())
			assert.False(t, path.Empty())
			b := NewBuilder(3)
			b.Put("category", NewText("INTER_AZ"))
			b.PutList("path", path)
			b.PutList("again", path)
			set := b.Set()
			want := map[string]any{"category": "INTER_AZ", "path": []any{"eni/eni-1", "subnet/subnet-1", "eni/eni-1"}, "again": []any{"eni/eni-1", "subnet/subnet-1", "eni/eni-1"}}
			var w Writer
			first, second := pcommon.NewMap(), pcommon.NewMap()
			w.Append(first, &set)
			w.Append(second, &set)
			assert.Equal(t, want, first.AsRaw())
			v, _ := first.Get("path")
			v.Slice().At(0).SetStr("changed")
			v.Slice().AppendEmpty().SetStr("changed")
			assert.Equal(t, want, second.AsRaw())
			assert.Equal(t, want, set.Attributes().AsRaw())
			assert.Equal(t, 3, set.Len())
		})
	}
}

func TestSetsAreEqualByTheirAttributes(t *testing.T) {
	a, b, c := New(example("a.")), of(unshared(example("a."))), New(example("b."))
	empty := Set{}
	assert.True(t, a.Equal(b))
	assert.True(t, b.Equal(&a))
	assert.False(t, a.Equal(&c))
	assert.False(t, a.Equal(&empty))
	assert.True(t, empty.Equal(of(New(pcommon.NewMap()))))
}

// none takes no attribute.
func none(string, pcommon.Value) bool { return false }

func TestASetMatchesWhatItWasMadeFrom(t *testing.T) {
	for name, share := range map[string]bool{"shared": true, "one by one": false} {
		t.Run(name, func(t *testing.T) {
			set(t, share)
			s := New(example("a."))
			extra := func(k string, _ pcommon.Value) bool { return k == "extra" || k == "another" }
			changed := func(f func(pcommon.Map)) pcommon.Map {
				m := example("a.")
				f(m)
				return m
			}
			for _, tt := range []struct {
				name string
				m    pcommon.Map
				want bool
			}{
				{"itself", s.Attributes(), true},
				{"equal ones", example("a."), true},
				{"others", example("b."), false},
				{"nothing", pcommon.NewMap(), false},
				{"one less", changed(func(m pcommon.Map) { m.Remove("a.none") }), false},
				{"one more", changed(func(m pcommon.Map) { m.PutStr("unknown", "") }), false},
				{"one more that is taken", changed(func(m pcommon.Map) { m.PutStr("extra", "") }), true},
				{"another text", changed(func(m pcommon.Map) { m.PutStr("a.text", "subnet-2") }), false},
				{"a number as text", changed(func(m pcommon.Map) { m.PutStr("a.number", "443") }), false},
				{"another number", changed(func(m pcommon.Map) { m.PutInt("a.number", 80) }), false},
				{"another flag", changed(func(m pcommon.Map) { m.PutBool("a.flag", false) }), false},
				{"another share", changed(func(m pcommon.Map) { m.PutDouble("a.share", 0.5) }), false},
				{"a longer list", changed(func(m pcommon.Map) { v, _ := m.Get("a.list"); v.Slice().AppendEmpty() }), false},
				{"another list", changed(func(m pcommon.Map) { v, _ := m.Get("a.list"); v.Slice().At(1).SetStr("x") }), false},
				{"a list of another kind", changed(func(m pcommon.Map) { v, _ := m.Get("a.list"); v.Slice().At(3).SetStr("7") }), false},
				{"another order", changed(func(m pcommon.Map) { m.Remove("a.text"); m.PutStr("a.text", "subnet-1") }), false},
			} {
				assert.Equal(t, tt.want, s.Match(tt.m, extra), tt.name)
			}
			first := pcommon.NewMap()
			first.PutStr("another", "x")
			for k, v := range example("a.").All() {
				v.CopyTo(first.PutEmpty(k))
				first.PutStr("extra", "x")
			}
			assert.True(t, s.Match(first, extra), "between them")
			empty := Set{}
			assert.True(t, empty.Match(pcommon.NewMap(), none))
			assert.False(t, empty.Match(example("a."), none))
			nested := pcommon.NewMap()
			nested.PutEmptySlice("a").AppendEmpty().SetEmptySlice()
			inner := New(nested)
			assert.False(t, inner.Match(example("a."), none))
		})
	}
}

func TestWhatIsHeldIsACopy(t *testing.T) {
	for name, share := range map[string]bool{"shared": true, "one by one": false} {
		t.Run(name, func(t *testing.T) {
			set(t, share)
			var h Holder
			var v View
			omit := func(k string, _ pcommon.Value) bool { return k == "extra" }
			sets := make([]Set, 300)
			small := 0
			for i := range sets {
				m := example("a.")
				m.PutStr("extra", "x")
				m.PutInt("own", int64(i/2))
				bytes := 0
				sets[i], bytes = h.Hold(m, omit)
				if i == 1 {
					small = bytes
				} else if i == 0 {
					assert.Greater(t, bytes, 100)
				}
				for _, v := range m.All() { // the point is changed
					if v.Type() == pcommon.ValueTypeSlice && v.Slice().Len() > 0 {
						v.Slice().At(0).SetStr("changed")
					} else {
						v.SetStr("changed")
					}
				}
			}
			for i := range sets {
				want := example("a.")
				want.PutInt("own", int64(i/2))
				require.Equal(t, want.AsRaw(), v.Of(&sets[i]).AsRaw())
				require.Equal(t, want.AsRaw(), sets[i].Attributes().AsRaw())
				require.True(t, sets[i].Match(want, none))
			}
			if share {
				assert.Equal(t, small, entrySize*sets[1].Len(), "what repeats is not held twice")
			}
			odd := pcommon.NewMap()
			odd.PutEmptyMap("m").PutStr("a", "b")
			odd.PutEmptyBytes("b").FromRaw([]byte{1, 2})
			odd.PutEmpty("e")
			odd.PutEmptySlice("s").AppendEmpty().SetEmptySlice().AppendEmpty().SetStr("deep")
			s, bytes := h.Hold(odd, none)
			assert.Equal(t, odd.AsRaw(), s.Attributes().AsRaw())
			assert.Greater(t, bytes, 100)
			empty := Set{}
			assert.Zero(t, v.Of(&empty).Len())
		})
	}
}

func TestPointsThatShareValuesGoOverTheWire(t *testing.T) {
	md := pmetric.NewMetrics()
	points := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty().SetEmptySum().DataPoints()
	var w Writer
	set := of(New(example("a.")))
	for range 3 {
		w.Append(points.AppendEmpty().Attributes(), set)
	}
	data, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(md)
	require.NoError(t, err)
	back, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(data)
	require.NoError(t, err)
	got := back.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints()
	for _, p := range got.All() {
		assert.Equal(t, example("a.").AsRaw(), p.Attributes().AsRaw())
	}
	clone := pmetric.NewMetrics()
	md.CopyTo(clone)
	points.At(0).Attributes().PutStr("a.text", "changed")
	v, _ := clone.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints().At(0).Attributes().Get("a.text")
	assert.Equal(t, "subnet-1", v.Str())
}

func TestWhatMayNotBeChangedIsNot(t *testing.T) {
	md := pmetric.NewMetrics()
	p := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty().SetEmptyGauge().DataPoints().AppendEmpty()
	md.MarkReadOnly()
	var w Writer
	assert.Panics(t, func() { w.Append(p.Attributes(), of(New(example("a.")))) })
	assert.Panics(t, func() { w.Append(p.Attributes(), of(unshared(example("a.")))) })
}

func TestASetIsSafeForManyGoroutines(t *testing.T) {
	set := of(New(example("a.")))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var w Writer
			for range 200 {
				m := pcommon.NewMap()
				w.Append(m, set)
				v, _ := m.Get("a.list")
				v.Slice().At(1).SetStr("mine")
				m.PutStr("a.text", "mine")
			}
		})
	}
	wg.Wait()
	assert.Equal(t, example("a.").AsRaw(), set.Attributes().AsRaw())
}

// FuzzAppend lets both ways write the same texts, and changes one of two points.
func FuzzAppend(f *testing.F) {
	f.Add("key", "value", "element", uint8(3), uint8(1))
	f.Fuzz(func(t *testing.T, key, value, element string, n, room uint8) {
		m := pcommon.NewMap()
		m.PutStr(key, value)
		s := m.PutEmptySlice(key + "s")
		for range n {
			s.AppendEmpty().SetStr(element)
		}
		a, b, c := pcommon.NewMap(), pcommon.NewMap(), pcommon.NewMap()
		a.EnsureCapacity(int(room))
		var w Writer
		set := of(New(m))
		w.Append(a, set)
		w.Append(b, set)
		w.Append(c, of(unshared(m)))
		for k, v := range a.All() {
			v.SetStr(k + "changed")
		}
		require.Equal(t, c.AsRaw(), b.AsRaw())
		require.True(t, set.Match(b, none))
		var h Holder
		held, _ := h.Hold(b, none)
		require.True(t, held.Match(c, none))
		require.False(t, held.Match(a, none))
	})
}

func cpu() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkAppend writes 17 strings and two slices to a point that has six attributes.
func BenchmarkAppend(b *testing.B) {
	ends := [2]pcommon.Map{}
	for i, prefix := range []string{"flow.local.", "flow.remote."} {
		m := pcommon.NewMap()
		for k, key := range []string{"cloud.account.id", "cloud.region", "cloud.availability_zone", "aws.az.id", "aws.vpc.id", "aws.vpc.subnet.id", "aws.eni.id", "host.id"} {
			m.PutStr(prefix+key, fmt.Sprintf("subnet-0123456789%d", k))
		}
		ends[i] = m
	}
	flow := pcommon.NewMap()
	flow.PutStr("flow.category", "INTER_VPC")
	path := flow.PutEmptySlice("flow.path")
	for k := range 5 {
		path.AppendEmpty().SetStr(fmt.Sprintf("subnet/subnet-0123456789%d", k))
	}
	flow.PutEmptySlice("flow.monitors").AppendEmpty().SetStr("checkout-to-db")
	for _, bb := range []struct {
		name string
		make func(pcommon.Map) Set
	}{{"shared", New}, {"one by one", unshared}} {
		b.Run(bb.name, func(b *testing.B) {
			sets := []*Set{of(bb.make(flow)), of(bb.make(ends[0])), of(bb.make(ends[1]))}
			const batch = 1000
			points := make([]pcommon.Map, batch)
			b.ReportAllocs()
			var used time.Duration
			for n := 0; b.Loop(); n++ {
				if n%batch == 0 {
					b.StopTimer()
					for i := range points {
						points[i] = pcommon.NewMap()
						points[i].EnsureCapacity(8)
						for _, key := range []string{"network.transport", "network.type", "flow.role", "network.local.address", "network.peer.address", "network.peer.port"} {
							points[i].PutStr(key, "10.0.1.17")
						}
					}
					b.StartTimer()
					before := cpu()
					var w Writer
					for i := range points {
						w.Append(points[i], sets...)
					}
					used += cpu() - before
				}
			}
			b.ReportMetric(float64(used)/float64(b.N), "cpu-ns/op")
		})
	}
}
