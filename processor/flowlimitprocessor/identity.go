// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"hash/maphash"
	"math"
	"math/bits"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// key identifies a set of attributes, or what is made of several. It is a keyed hash of
// 128 bits: with 10⁹ different sets the chance that any two share one is below 10⁻²⁰,
// and without the seeds nobody can make two that do. So no attributes need be held or
// compared to find a flow or a stream again.
type key struct{ a, b uint64 }

// add joins two keys so that the order does not matter.
func (k key) add(o key) key { return key{k.a + o.a, k.b + o.b} }

// hasher makes keys. Its seeds are drawn anew by each processor.
type hasher struct {
	first, second maphash.Seed
	salt          [4]uint64
}

func newHasher() *hasher {
	h := &hasher{first: maphash.MakeSeed(), second: maphash.MakeSeed()}
	for i := range h.salt {
		h.salt[i] = maphash.Comparable(h.first, i)
	}
	return h
}

// fold mixes two words into one: the two halves of their product.
func fold(x, y uint64) uint64 {
	high, low := bits.Mul64(x, y)
	return high ^ low
}

// pair gives the key of a named value. k must not be added to a pair of another nesting.
func (h *hasher) pair(k uint64, v key) key {
	return key{fold(k^h.salt[0], v.a^h.salt[1]), fold(k^h.salt[2], v.b^h.salt[3])}
}

func (h *hasher) str(s string) key {
	return key{maphash.String(h.first, s), maphash.String(h.second, s)}
}

// word gives the key of a number of one type.
func (h *hasher) word(kind pcommon.ValueType, n uint64) key {
	return h.pair(uint64(kind), key{n * 0x9e3779b97f4a7c15, n})
}

// attribute gives the key of one attribute. The key of a set is the sum over its
// attributes: their order says nothing.
func (h *hasher) attribute(k string, v pcommon.Value) key {
	return h.named(k, h.value(v))
}

func (h *hasher) named(k string, v key) key {
	return h.pair(maphash.String(h.first, k), v)
}

func (h *hasher) value(v pcommon.Value) key {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return h.str(v.Str())
	case pcommon.ValueTypeBool:
		n := uint64(0)
		if v.Bool() {
			n = 1
		}
		return h.word(pcommon.ValueTypeBool, n)
	case pcommon.ValueTypeInt:
		return h.word(pcommon.ValueTypeInt, uint64(v.Int()))
	case pcommon.ValueTypeDouble:
		return h.word(pcommon.ValueTypeDouble, math.Float64bits(v.Double()))
	case pcommon.ValueTypeBytes:
		b := v.Bytes().AsRaw()
		return h.pair(uint64(pcommon.ValueTypeBytes), key{maphash.Bytes(h.first, b), maphash.Bytes(h.second, b)})
	case pcommon.ValueTypeSlice:
		sum := h.word(pcommon.ValueTypeSlice, uint64(v.Slice().Len()))
		for i := range v.Slice().Len() {
			sum = h.pair(sum.a, h.value(v.Slice().At(i)).add(sum))
		}
		return sum
	case pcommon.ValueTypeMap:
		return h.pair(uint64(pcommon.ValueTypeMap), h.set(v.Map()))
	}
	return h.word(pcommon.ValueTypeEmpty, 0)
}

// set gives the key of all attributes of m.
func (h *hasher) set(m pcommon.Map) key {
	var sum key
	for k, v := range m.All() {
		sum = sum.add(h.attribute(k, v))
	}
	return sum
}
