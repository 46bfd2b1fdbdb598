// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package accuracy

import (
	"errors"
	"fmt"
)

// calibrationSeed is from where on the fleets are on which the other methods are tuned.
const calibrationSeed = 9_000

// Tuned are the other methods with the settings that have the best F1 on fleets of their own.
type Tuned struct {
	Share, VoteRatio, Ratio float64
	Voting, Threshold       Maker
}

// grid is the values of a setting that are tried, in their order. A setting that is best at an edge may
// be better beyond, but where the edge is the setting's own bound.
type grid struct {
	name                       string
	values                     []float64
	lowestIsBound, highIsBound bool
}

// The grids. 007 takes a share of 1 % of the votes; a share of 0 blames everything that has a vote, and is the
// setting's bound. The ratio of flows that have to have voted is between 0 and 1. A threshold of 0 is
// exceeded by every loss; from a loss of a fifth on hardly anything works.
var (
	shares = grid{name: "voting, share of the votes", lowestIsBound: true,
		values: []float64{0, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4}}
	voteRatios = grid{name: "voting, share of the flows", lowestIsBound: true, highIsBound: true,
		values: []float64{0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1}}
	thresholds = grid{name: "threshold", lowestIsBound: true,
		values: []float64{0, 0.0005, 0.001, 0.0012, 0.0015, 0.002, 0.0025, 0.003, 0.0035, 0.004, 0.0045, 0.005, 0.006, 0.007, 0.008, 0.01, 0.02, 0.05, 0.2}}
)

// inside says that the best value is none that a wider grid may better.
func (g *grid) inside(best float64) error {
	low, high := g.values[0], g.values[len(g.values)-1]
	if best == low && !g.lowestIsBound || best == high && !g.highIsBound {
		return fmt.Errorf("tune %s: the best value %g is on the edge of what was tried (%g to %g): widen it", g.name, best, low, high)
	}
	return nil
}

// Tune looks for the best settings of the other methods. It is an error when one is on the edge of its
// grid, so that a better one may be beyond.
func Tune() (Tuned, error) {
	var t Tuned
	var makers []Maker
	type setting struct {
		voting       bool
		share, ratio float64
	}
	var settings []setting
	for _, share := range shares.values {
		for _, ratio := range voteRatios.values {
			settings = append(settings, setting{true, share, ratio})
			makers = append(makers, func() Method { return NewVoting(share, ratio) })
		}
	}
	for _, ratio := range thresholds.values {
		settings = append(settings, setting{false, 0, ratio})
		makers = append(makers, func() Method { return NewThreshold(ratio) })
	}
	sums := make([]*Score, len(makers))
	for i := range sums {
		sums[i] = NewScore()
	}
	for i, c := range cells(lossKinds, 0.005, 3, 0.001, 10_000, 0) {
		for m, s := range Run(c, DefaultPlan, calibrationSeed+100*i, 2, makers, nil) {
			sums[m].add(s)
		}
	}
	bestVoting, bestThreshold := -1.0, -1.0
	for i, s := range sums {
		switch f1, at := s.F1(), settings[i]; {
		case at.voting && f1 > bestVoting:
			bestVoting, t.Share, t.VoteRatio = f1, at.share, at.ratio
		case !at.voting && f1 > bestThreshold:
			bestThreshold, t.Ratio = f1, at.ratio
		}
	}
	t.Voting = func() Method { return NewVoting(t.Share, t.VoteRatio) }
	t.Threshold = func() Method { return NewThreshold(t.Ratio) }
	return t, errors.Join(shares.inside(t.Share), voteRatios.inside(t.VoteRatio), thresholds.inside(t.Ratio))
}
