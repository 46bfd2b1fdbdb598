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
	assert.Equal(t, 1.0, binomialTail(5, 0, 0.1))
	assert.Equal(t, 0.0, binomialTail(5, 6, 0.9))
	assert.Equal(t, 0.0, binomialTail(5, 1, 0))
	assert.Equal(t, 1.0, binomialTail(5, 5, 1))
	assert.InEpsilon(t, 0.001, binomialTail(3, 3, 0.1), 1e-9)
	assert.InEpsilon(t, 3*0.01*0.9+0.001, binomialTail(3, 2, 0.1), 1e-9)
	// Normal quantile of 1 − 10⁻⁴ is 3.719; half its square.
	assert.InDelta(t, 3.719*3.719/2, likelihoodThreshold(1e-4), 1e-3)
}

// What counts as enough would really be noticed, and hardly less would not.
func TestEnoughSegmentsShowTheReferenceLoss(t *testing.T) {
	const threshold = 1e-5
	level := math.Cbrt(threshold)
	seen := func(n, background float64) float64 {
		k := 1.0
		for lossTail(k, n*background, priorDispersion) > level {
			k++
		}
		return lossTail(k, n*referenceLoss, 1)
	}
	for _, background := range []float64{1e-5, 1e-4, 1e-3, 3e-3} {
		n := enoughSegments(background, priorDispersion, threshold)
		assert.GreaterOrEqual(t, seen(n, background), power, "background %g", background)
		assert.Less(t, seen(n/1.3, background), power, "background %g", background)
	}
	assert.True(t, math.IsInf(enoughSegments(referenceLoss, priorDispersion, threshold), 1), "it drowns in the background")
}
