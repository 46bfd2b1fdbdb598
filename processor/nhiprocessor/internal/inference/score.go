// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package inference

import (
	"math"
)

// background is the rate that is expected of the rows of c: that of the rows that do not cross it,
// or what they usually lose, when that is more.
func (s *search) background(c *candidate) float64 {
	return max(s.others(c), s.usualRate(c))
}

// others is the rate of the rows that do not cross c, or of the quietest hosts once they are looked for.
func (s *search) others(c *candidate) float64 {
	if s.quiet > 0 {
		return min(s.elsewhere(c), s.quiet)
	}
	return s.elsewhere(c)
}

// elsewhere is the rate of the rows that do not cross c.
func (s *search) elsewhere(c *candidate) float64 {
	return (s.k - s.over - (c.k - c.over) + s.priorK) / (s.n - c.n + s.priorN)
}

// usualRate is what the rows of c lost in earlier windows, each along its own paths.
func (s *search) usualRate(c *candidate) float64 {
	if len(s.usuals) == 0 {
		return 0
	}
	s.cs.sumUsual(s.p, s.usuals, s.blame)
	if c.usual <= 0 || c.n <= 0 {
		return 0
	}
	return c.usual / c.n
}

// score is the log-likelihood ratio of two rates, one for the rows of c and one for the
// others, against one rate for all, in units of the dispersion; 0 when the excess does not
// matter.
func (s *search) score(c *candidate) float64 {
	if c.k < 1 || c.n <= 0 {
		return 0
	}
	rate := c.k / c.n
	if others := s.others(c); rate-others < s.matter.excess || rate < s.matter.ratio*others {
		return 0
	}
	background := s.background(c)
	if rate-background < s.matter.excess || rate < s.matter.ratio*background {
		return 0
	}
	if s.quiet > 0 {
		return excess(c.k, c.n, background) / s.dispersion
	}
	elsewhere, k, n := s.elsewhere(c), s.k-s.over+c.over+s.priorK, s.n+s.priorN
	ratio := c.k*math.Log(rate) + (k-c.k)*math.Log(elsewhere) - k*math.Log(k/n)
	if background > elsewhere {
		// It has to be more than elsewhere, and more than usual.
		ratio = min(ratio, excess(c.k, c.n, background))
	}
	return ratio / s.dispersion
}
