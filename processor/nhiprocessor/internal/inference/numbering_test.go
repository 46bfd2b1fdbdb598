// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package inference

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNumberingIsAMapThatGrows(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	n, want := newNumbering(0), map[uint64]int32{}
	for range 20_000 {
		key := rng.Uint64N(5_000) << 40 // 0 among them, and alike in their low bits
		number, known := n.of(key, int32(len(want)))
		before, had := want[key]
		require.Equal(t, had, known)
		if !had {
			before = int32(len(want))
			want[key] = before
		}
		require.Equal(t, before, number)
	}
}
