// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package cputime

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWorkTakesProcessorTime(t *testing.T) {
	var s Stopwatch
	s.Start()
	begin := used()
	x := 1.0
	for used()-begin < 20*time.Millisecond {
		for range 1000 {
			x *= 1.0000001
		}
	}
	s.Stop(10)
	assert.Positive(t, x)
	assert.GreaterOrEqual(t, s.laps[0].used, 20*time.Millisecond)
	assert.Equal(t, 10, s.laps[0].n)
}

func TestARatioIsThatOfTheMedians(t *testing.T) {
	slow := Stopwatch{laps: []lap{{30, 1}, {900, 1}, {40, 2}}}
	fast := Stopwatch{laps: []lap{{10, 1}, {5, 1}, {100, 1}}}
	assert.InDelta(t, 3.0, slow.Ratio(&fast), 1e-9)
	assert.Zero(t, slow.Ratio(&Stopwatch{}), "nothing to compare with")
}
