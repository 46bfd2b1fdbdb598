// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/collector/pdata/pcommon"
)

func TestNumberAdd(t *testing.T) {
	for _, tt := range []struct {
		name       string
		a, b, want number
	}{
		{"integers stay integers", intNumber(2), intNumber(-5), intNumber(-3)},
		{"integers stay exact beyond 2⁵³", intNumber(1<<53 + 1), intNumber(1), intNumber(1<<53 + 2)},
		{"zero is neutral", intNumber(math.MaxInt64), intNumber(0), intNumber(math.MaxInt64)},
		{"the last integer is one", intNumber(math.MaxInt64 - 1), intNumber(1), intNumber(math.MaxInt64)},
		{"past the last integer is a double", intNumber(math.MaxInt64), intNumber(1), doubleNumber(math.MaxInt64)},
		{"past the first integer is a double", intNumber(math.MinInt64), intNumber(-1), doubleNumber(math.MinInt64)},
		{"a double makes a double", intNumber(2), doubleNumber(0.5), doubleNumber(2.5)},
		{"doubles add", doubleNumber(0.25), doubleNumber(0.5), doubleNumber(0.75)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.want, tt.a.add(tt.b))
			assert.Equal(t, tt.want, tt.b.add(tt.a))
		})
	}
}

func TestEarliest(t *testing.T) {
	for _, tt := range [][3]pcommon.Timestamp{{0, 0, 0}, {0, 5, 5}, {5, 0, 5}, {5, 3, 3}, {3, 5, 3}} {
		assert.Equal(t, tt[2], earliest(tt[0], tt[1]))
	}
}
