// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestSteady(t *testing.T) {
	for _, tt := range []struct {
		name    string
		windows string // one letter each: b bad, c clean, t thin
		want    string // D degraded, . not
	}{
		{"one bad window does not suffice", "cbcc", "...."},
		{"two bad windows do", "cbb", "..D"},
		{"also with a clean one between", "bcb", "..D"},
		{"but not with two between", "bccb", "...."},
		{"also with a thin one between", "btb", "..D"},
		{"three windows without a bad one end it", "bbccc", ".DDD."},
		{"not two", "bbccbccc", ".DDDDDD."},
		{"a thin window is no bad one", "bbctc", ".DDD."},
		{"three thin windows forget", "bbttt", ".DDD."},
		{"and it takes two bad ones again", "bbtttbb", ".DDD..D"},
		{"bad windows from before are forgotten with them", "btttb", "....."},
		{"a fault every other window is one fault", "bcbcbc", "..DDDD"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s steady
			got := ""
			for _, w := range tt.windows {
				s.step(map[rune]outcome{'b': bad, 'c': clean, 't': thin}[w], false)
				if s.degraded {
					got += "D"
				} else {
					got += "."
				}
			}
			assert.Equal(t, tt.want, got)
		})
	}
}
