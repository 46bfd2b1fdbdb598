// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package inference

import (
	"math"
	"sort"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"
)

// lossTail is the chance of k or more losses where mean are expected. Losses come in
// bursts: the count is negative binomial with a variance of dispersion times the mean, which
// is what a Poisson number of bursts of logarithmic length gives. Counts of several rows
// with one dispersion add up to the same distribution.
func lossTail(k, mean, dispersion float64) float64 {
	switch {
	case k <= 0:
		return 1
	case mean <= 0:
		return 0
	case dispersion <= 1:
		return mathext.GammaIncReg(k, mean)
	}
	return mathext.RegIncBeta(k, mean/(dispersion-1), 1-1/dispersion)
}

// lossHead is the chance of k or fewer losses.
func lossHead(k, mean, dispersion float64) float64 { return 1 - lossTail(k+1, mean, dispersion) }

// binomialTail is the chance that r or more of m independent events happen, each with
// chance p.
func binomialTail(m, r int, p float64) float64 {
	switch {
	case r <= 0 || p >= 1:
		return 1
	case r > m || p <= 0:
		return 0
	}
	return mathext.RegIncBeta(float64(r), float64(m-r+1), p)
}

// likelihoodThreshold is what a likelihood ratio (of two rates against one) has to exceed
// so that chance exceeds it at the given rate: half the quantile of χ² with one degree of
// freedom, by Wilks' theorem; twice the rate because only excess counts, not lack.
func likelihoodThreshold(rate float64) float64 {
	return distuv.ChiSquared{K: 1}.Quantile(1-2*rate) / 2
}

const (
	// referenceLoss is the fault that enough evidence would have shown: with it, the average
	// congestion window √(1.5/p) (Mathis et al. 1997) is the initial window of ten segments
	// (RFC 6928), so that no connection grows beyond what it began with.
	referenceLoss = 0.015
	// power is the chance with which it would have been seen at one host.
	power = 0.9
)

// enoughSegments is how many segments a host has to send and receive in a window so that
// the reference loss would be noticed there, at a level that three hosts reach together by
// chance no more often than threshold. It is the minimum of evidence for calling something
// healthy.
func enoughSegments(background, dispersion, threshold float64) float64 {
	if background > referenceLoss/2 {
		return math.Inf(1) // it would drown
	}
	level := math.Cbrt(threshold) // of one host of three
	for n := 1 / referenceLoss; n < 1e7; n *= 1.1 {
		// The fewest losses that are noticed among n.
		most := math.Ceil(n)
		k := float64(1 + sort.Search(int(most), func(k int) bool { return lossTail(float64(k+1), n*background, dispersion) <= level }))
		if lossTail(k, n*referenceLoss, 1) >= power {
			return n
		}
	}
	return math.Inf(1)
}
