// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

// outcome is what one window says of one monitor.
type outcome uint8

const (
	thin  outcome = iota // too little evidence
	clean                // no network fault
	bad                  // a network fault
)

// The verdict enters degraded with the second bad window of three, so that one window in which
// chance or a short burst hit several hosts does not raise it, and leaves it when none of three
// was bad: a fault that comes and goes every other window is one fault. A window with too little
// evidence is no bad one.
const (
	considered = 3
	enter      = 2
)

// steady turns outcomes into a verdict.
type steady struct {
	last     [considered]outcome
	degraded bool
}

// twice says that a bad outcome is that of several windows together.
func (s *steady) step(o outcome, twice bool) {
	copy(s.last[1:], s.last[:considered-1])
	s.last[0] = o
	n := 0
	for _, l := range s.last {
		if l == bad {
			n++
		}
	}
	s.degraded = n >= enter || s.degraded && n > 0 || o == bad && twice
}
