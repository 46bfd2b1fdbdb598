// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology

import "math/bits"

// spread mixes the bits of a key: a multiplication by the golden ratio, whose two halves
// are joined.
func spread(key uint64) uint32 {
	high, low := bits.Mul64(key, 0x9e3779b97f4a7c15)
	return uint32((high ^ low) >> 32)
}

// scale brings a hash into a table's range without a division (Lemire, Fast Random Integer
// Generation in an Interval, 2019).
func scale(hash uint32, n int) int { return int(uint64(hash) * uint64(n) >> 32) }
