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

// likelihoodThreshold is what a likelihood ratio (of two rates against one) has to exceed
// so that chance exceeds it at the given rate: half the quantile of χ² with one degree of
// freedom, by Wilks' theorem; twice the rate because only excess counts, not lack.
func likelihoodThreshold(rate float64) float64 {
	return distuv.ChiSquared{K: 1}.Quantile(1-2*rate) / 2
}

// windowLevel is how often chance may make a single window look bad, so that it makes a monitor
// degraded no more often than wanted. A verdict takes two bad windows of three, of which chance
// makes three pairs, and lasts for at least three windows: 9 α² = rate. A third of that α is
// left for windows that are not independent and for a dispersion that is estimated.
func windowLevel(falseAlarms float64) float64 { return math.Sqrt(falseAlarms) / 9 }

const (
	// referenceLoss is the fault that enough evidence would have shown. With it, the average
	// congestion window √(1.5/p) (Mathis et al. 1997) is 12 segments, hardly more than what a
	// connection begins with (ten, RFC 6928).
	referenceLoss = 0.01
	// standsOut is how many times the background the reference fault is at least: the faults
	// that are promised to be found are so far above it.
	standsOut = 5
	// power is the chance with which it would have been seen.
	power = 0.9
)

// enoughSegments is how many segments each of the SharedHosts at a side has to send and receive in
// a window so that the reference loss would be noticed, at a level that chance reaches no more
// often than threshold. It is the minimum of evidence for calling something healthy.
//
// Losses come in bursts; what is counted here is bursts, which are independent: by geometric
// length, a dispersion of D is a mean length of (D+1)/2.
func enoughSegments(background, dispersion, threshold float64) float64 {
	reference := max(referenceLoss, standsOut*background)
	if reference > 0.5 {
		return math.Inf(1) // nothing works
	}
	for bursts := 1.0; bursts < 1e5; bursts *= 1.05 {
		by := bursts * background / reference // chance
		// The fewest bursts that are noticed.
		k := float64(1 + sort.Search(int(10+2*bursts), func(k int) bool { return lossTail(float64(k+1), by, 1) <= threshold }))
		if lossTail(k, by+bursts, 1) >= power {
			return bursts / SharedHosts * (dispersion + 1) / 2 / reference
		}
	}
	return math.Inf(1)
}
