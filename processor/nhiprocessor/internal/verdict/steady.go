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

// The verdict enters degraded after two bad windows of three, so that one window in which
// chance or a short burst hit several hosts does not raise it, and leaves it after three
// clean ones: a fault that comes and goes every other window is one fault.
const (
	considered = 3
	enter      = 2
	leave      = 3
	// lapse is for how many thin windows in a row a verdict is remembered. After them it
	// is too old to hold.
	lapse = 3
)

// steady turns outcomes into a verdict. Thin windows count neither way.
type steady struct {
	last              [considered]outcome
	degraded          bool
	cleanRun, thinRun int
}

// twice says that a bad outcome is that of several windows together.
func (s *steady) step(o outcome, twice bool) {
	copy(s.last[1:], s.last[:considered-1])
	s.last[0] = o
	switch o {
	case thin:
		if s.thinRun++; s.thinRun >= lapse {
			*s = steady{thinRun: s.thinRun}
		}
		return
	case clean:
		if s.cleanRun++; s.cleanRun >= leave {
			s.degraded = false
		}
	case bad:
		s.cleanRun = 0
		n := 0
		for _, l := range s.last {
			if l == bad {
				n++
			}
		}
		s.degraded = s.degraded || twice || n >= enter
	}
	s.thinRun = 0
}
