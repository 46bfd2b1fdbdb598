// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package inference

import "math/bits"

// numbering gives numbers to keys. It does what a map does; of the time that candidates take, a map was
// a third. Keys are told apart by all of their 64 bits.
type numbering struct {
	keys    []uint64
	numbers []int32 // plus one; 0 is free
	n       int
}

func newNumbering(about int) *numbering {
	size := 1 << bits.Len(uint(2*about+16))
	return &numbering{keys: make([]uint64, size), numbers: make([]int32, size)}
}

// of gives the number of a key, and next to a key that is new.
func (t *numbering) of(key uint64, next int32) (number int32, known bool) {
	if 2*t.n >= len(t.keys) {
		t.grow()
	}
	mask := uint64(len(t.keys) - 1)
	for at := mix(key) & mask; ; at = (at + 1) & mask {
		switch {
		case t.numbers[at] == 0:
			t.keys[at], t.numbers[at] = key, next+1
			t.n++
			return next, false
		case t.keys[at] == key:
			return t.numbers[at] - 1, true
		}
	}
}

func (t *numbering) grow() {
	old := *t
	*t = numbering{keys: make([]uint64, 2*len(old.keys)), numbers: make([]int32, 2*len(old.keys))}
	for i, n := range old.numbers {
		if n > 0 {
			t.of(old.keys[i], n-1)
		}
	}
}

// mix is the finalizer of splitmix64: the same row always hashes alike, unlike rows do not.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
