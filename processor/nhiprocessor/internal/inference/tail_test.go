// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package inference

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"gonum.org/v1/gonum/stat/distuv"
)

// The tails against sums of the probabilities, term by term.
func TestLossTailIsTheSumOfItsTerms(t *testing.T) {
	for _, dispersion := range []float64{1, 2, 5, 25} {
		for _, mean := range []float64{1e-6, 0.01, 0.5, 3, 40} {
			t.Run(fmt.Sprintf("mean %g dispersion %g", mean, dispersion), func(t *testing.T) {
				below := 0.0
				for k := range 60 {
					want := max(0, 1-below)
					got := lossTail(float64(k), mean, dispersion)
					if want > 1e-9 {
						assert.InEpsilon(t, want, got, 1e-6, "k = %d", k)
					} else {
						assert.Less(t, got, 1e-8, "k = %d", k)
					}
					assert.InDelta(t, 1-lossTail(float64(k)+1, mean, dispersion), lossHead(float64(k), mean, dispersion), 1e-12)
					below += probability(float64(k), mean, dispersion)
				}
			})
		}
	}
}

// probability of k losses: negative binomial with this mean and variance/mean.
func probability(k, mean, dispersion float64) float64 {
	if dispersion == 1 {
		return distuv.Poisson{Lambda: mean}.Prob(k)
	}
	r := mean / (dispersion - 1)
	a, _ := math.Lgamma(k + r)
	b, _ := math.Lgamma(r)
	c, _ := math.Lgamma(k + 1)
	return math.Exp(a - b - c - r*math.Log(dispersion) + k*math.Log(1-1/dispersion))
}

func TestTailsAtTheirEnds(t *testing.T) {
	assert.Equal(t, 1.0, lossTail(0, 5, 3), "no loss is always reached")
	assert.Equal(t, 0.0, lossTail(1, 0, 3), "nothing is lost of nothing")
	// Normal quantile of 1 − 10⁻⁴ is 3.719; half its square.
	assert.InDelta(t, 3.719*3.719/2, likelihoodThreshold(1e-4), 1e-3)
}

// What counts as enough would really be noticed, and hardly less would not: losses are drawn
// in bursts and counted as bursts.
func TestEnoughSegmentsShowTheReferenceLoss(t *testing.T) {
	const threshold, burst = 1e-5, 3
	seen := func(n, background float64) float64 { // n segments at each of three hosts
		bursts := distuv.Poisson{Lambda: SharedHosts * n * background / burst}
		k := 1.0
		for 1-bursts.CDF(k-1) > threshold {
			k++
		}
		return 1 - distuv.Poisson{Lambda: SharedHosts * n * (background + referenceLoss) / burst}.CDF(k-1)
	}
	for _, background := range []float64{1e-5, 1e-4, 1e-3, 2e-3} {
		n := enoughSegments(background, 2*burst-1, threshold)
		assert.GreaterOrEqual(t, seen(n, background), power, "background %g", background)
		assert.Less(t, seen(n/1.5, background), power, "background %g", background)
	}
	assert.Less(t, enoughSegments(0.05, 5, threshold), math.Inf(1), "a network that loses 5 % may be the usual one")
	assert.True(t, math.IsInf(enoughSegments(0.2, 5, threshold), 1), "nothing stands out of that")
	assert.Less(t, enoughSegments(1e-4, 1, threshold), enoughSegments(1e-4, 5, threshold), "bursts are fewer than losses")
	assert.Less(t, enoughSegments(1e-4, 1, threshold), enoughSegments(1e-4, 1, threshold/1000), "a smaller rate of false alarms asks for more")
}
