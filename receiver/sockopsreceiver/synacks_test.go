// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sockopsreceiver

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// What was sent again for a handshake that then completes belongs to its connection, and
// is reported once: there.
func TestOnlySYNACKsThatStayAreReported(t *testing.T) {
	var s synAcks
	for i, round := range []struct {
		total int64 // in the kernel's map
		last  bool
		want  uint64
	}{
		{total: 3, want: 0}, // may complete yet
		{total: 5, want: 3}, // 3 have stayed
		{total: 4, want: 1}, // one of the two new ones completed, the other has stayed
		{total: 4, want: 0},
		{total: 2, want: 0}, // those reported have completed after all:
		{total: 5, want: 0}, // what comes next makes up for them
		{total: 5, want: 1},
		{total: 9, last: true, want: 4}, // nothing is waited for
	} {
		grown := s.grown(map[uint32]int64{7: round.total}, round.last)
		assert.Equal(t, round.want, grown[7], "round %d", i)
	}
}
