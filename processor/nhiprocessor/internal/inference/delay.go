// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package inference

const (
	// expectedSlow is the share of pairs of hosts that are slow while nothing is wrong: those
	// whose round-trip time is further from its baseline than it usually is.
	expectedSlow = 0.02
	// expectedPairs is what that expectation is worth, in pairs.
	expectedPairs = 50
	// delayDispersion is for pairs that are slow together by chance: of one pair both ends and
	// both roles may be judged, and a busy host makes several wait.
	delayDispersion = 2
	// slowShare is how many of the pairs that cross a component have to be slow beyond the
	// expected: half. A longer way is longer for all that take it.
	slowShare = 0.5
)

// ReviewDelay is ExplainDelay for several windows together, in each of which a pair counts. Chance has to be
// rarer, as one such finding suffices for a verdict.
func ReviewDelay(p *Problem, falseAlarms float64) *Explanation {
	return ExplainDelay(p, falseAlarms/reviewed)
}

// ExplainDelay finds what is to blame for slow pairs of hosts. Of a row, Segments is 1 and Lost
// says whether the pair is slow.
func ExplainDelay(p *Problem, falseAlarms float64) *Explanation {
	return explain(p, newCandidates(p), nil, falseAlarms, expectedPairs, expectedPairs*expectedSlow, 0, delayDispersion, delayDispersion, matter{excess: slowShare, ratio: minRatio})
}
