// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sockopsreceiver

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestAShortageIsSaidWhenItBeginsAndHourlyWhileItGrows(t *testing.T) {
	var s shortage
	now := time.Unix(1_800_000_000, 0)
	for _, tt := range []struct {
		after time.Duration
		total uint64
		want  bool
	}{
		{0, 0, false},
		{30 * time.Second, 3, true},
		{30 * time.Second, 9, false}, // just said
		{quiet, 9, false},            // did not grow
		{30 * time.Second, 10, true},
	} {
		now = now.Add(tt.after)
		assert.Equal(t, tt.want, s.grew(tt.total, now), "total %d at %v", tt.total, now)
	}
}
