// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// quantile gives the value below which a share of the samples lies, interpolated.
func quantile(samples []float64, share float64) float64 {
	sorted := slices.Sorted(slices.Values(samples))
	return stat.Quantile(share, stat.LinInterp, sorted, nil)
}

func median(samples []float64) float64 {
	sorted := slices.Sorted(slices.Values(samples))
	n := len(sorted)
	if n == 0 {
		return math.NaN()
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// confidence of each bound, one-sided: with 95 % the ratio is above low, and with 95 % below high.
const confidence = 0.95

// ratio is an estimate from pairs of samples.
type ratio struct{ estimate, low, high float64 }

// ratioOf estimates with/without from interleaved pairs: Student's t on the logarithms of
// their ratios, which treats a/b and b/a alike. The estimate is the geometric mean.
func ratioOf(with, without []float64) ratio {
	logs := make([]float64, len(with))
	for i := range with {
		logs[i] = math.Log(with[i] / without[i])
	}
	mean, deviation := stat.MeanStdDev(logs, nil)
	n := float64(len(logs))
	if n < 2 {
		return ratio{math.Exp(mean), math.NaN(), math.NaN()}
	}
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: n - 1}.Quantile(confidence)
	half := t * stat.StdErr(deviation, n)
	return ratio{math.Exp(mean), math.Exp(mean - half), math.Exp(mean + half)}
}

// resamples are enough that the bounds of two runs differ in the third digit only.
const resamples = 10_000

// medianRatioOf estimates with/without from interleaved pairs where now and then one of them
// is far off, because something else on the machine got in its way: the median of their
// ratios, with bounds from a bootstrap over the pairs (percentiles; the same in each run).
func medianRatioOf(with, without []float64) ratio {
	ratios := make([]float64, len(with))
	for i := range with {
		ratios[i] = with[i] / without[i]
	}
	random := rand.New(rand.NewPCG(1, 2))
	medians, drawn := make([]float64, resamples), make([]float64, len(ratios))
	for i := range medians {
		for j := range drawn {
			drawn[j] = ratios[random.IntN(len(ratios))]
		}
		medians[i] = median(drawn)
	}
	return ratio{median(ratios), quantile(medians, 1-confidence), quantile(medians, confidence)}
}

// line fits y = offset + slope·x by least squares; r2 is how much of y's variance it explains.
func line(x, y []float64) (offset, slope, r2 float64) {
	offset, slope = stat.LinearRegression(x, y, nil, false)
	return offset, slope, stat.RSquared(x, y, nil, offset, slope)
}
