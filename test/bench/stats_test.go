// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"

	"github.com/otel-flowmonitor/flowmonitor/test/bench/load"
)

func TestMain(m *testing.M) { load.Main(); goleak.VerifyTestMain(m) }

func TestMedianAndQuantiles(t *testing.T) {
	assert.EqualValues(t, 3, median([]float64{5, 3, 1}))
	assert.EqualValues(t, 2.5, median([]float64{4, 1, 2, 3}))
	assert.True(t, math.IsNaN(median(nil)))
	assert.EqualValues(t, 99, quantile(sequence(100), 0.99))
}

func sequence(n int) []float64 {
	s := make([]float64, n)
	for i := range s {
		s[i] = float64(i + 1)
	}
	return s
}

// The example is small enough for a table of Student's t: with 3 degrees of freedom 95 % lie
// below 2.353.
func TestARatioIsTheGeometricMeanWithTheBoundsOfStudentsT(t *testing.T) {
	with, without := []float64{1, 2, 4, 8}, []float64{1, 1, 1, 1}
	r := ratioOf(with, without)
	step := math.Ln2
	deviation := step * math.Sqrt((1.5*1.5+0.5*0.5)*2/3)
	half := 2.353 * deviation / 2
	assert.InDelta(t, math.Exp(1.5*step), r.estimate, 1e-9)
	assert.InDelta(t, math.Exp(1.5*step-half), r.low, 1e-3)
	assert.InDelta(t, math.Exp(1.5*step+half), r.high, 1e-2)
}

func TestABoundIsOnTheRightSideAsOftenAsItSays(t *testing.T) {
	for name, tt := range map[string]struct {
		estimate    func(with, without []float64) ratio
		experiments int
		tolerance   float64
	}{
		"t on the mean":           {ratioOf, 4000, 0.01},
		"bootstrap of the median": {medianRatioOf, 200, 0.04},
	} {
		t.Run(name, func(t *testing.T) { boundsHold(t, tt.estimate, tt.experiments, tt.tolerance) })
	}
}

func boundsHold(t *testing.T, estimate func(with, without []float64) ratio, experiments int, tolerance float64) {
	random := rand.New(rand.NewPCG(1, 2))
	const truth = 0.98
	above, below := 0, 0
	for range experiments {
		with, without := make([]float64, 30), make([]float64, 30)
		for i := range with {
			common := math.Exp(random.NormFloat64()) // what a pair has in common drops out
			with[i] = truth * common * math.Exp(0.1*random.NormFloat64())
			without[i] = common * math.Exp(0.1*random.NormFloat64())
		}
		r := estimate(with, without)
		if r.low <= truth {
			above++
		}
		if r.high >= truth {
			below++
		}
	}
	assert.InDelta(t, confidence, float64(above)/float64(experiments), tolerance)
	assert.InDelta(t, confidence, float64(below)/float64(experiments), tolerance)
}

func TestAMedianOfRatiosIsNotMovedByAFewPairs(t *testing.T) {
	with, without := sequence(31), sequence(31)
	for i := range 5 {
		with[i] *= 1000
	}
	r := medianRatioOf(with, without)
	assert.Equal(t, ratio{1, 1, 1}, r)
}

func TestALineIsFoundAgain(t *testing.T) {
	offset, slope, r2 := line([]float64{1, 2, 3, 4}, []float64{12, 14, 16, 18})
	assert.InDelta(t, 10, offset, 1e-9)
	assert.InDelta(t, 2, slope, 1e-9)
	assert.InDelta(t, 1, r2, 1e-9)
}
