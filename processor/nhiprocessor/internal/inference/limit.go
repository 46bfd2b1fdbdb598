// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package inference

import "slices"

// largestShare is the part of a window that one row makes at most, of its segments and of the losses
// of its background: a twentieth. A backup between two hosts may be more segments than all else, but
// they are one connection's, and say no more of the network than those of any other; a row that loses
// nothing then lowers the background by a twentieth, and one that loses all doubles it. Of less than
// forty rows, a row makes twice its even share.
const (
	largestShare = 0.05
	evenShares   = 2
	// limitPasses bounds the search for that limit. A row of all segments comes down by twentyfold with
	// each pass: four are enough for one of 10⁵ times the others.
	limitPasses = 16
)

// limit is the largest value that a row may have so that none is more than its share of what all
// have then, and at least least: of its losses, or of its segments.
func limit(rows []Row, least float64, losses bool) float64 {
	share := max(largestShare, evenShares/float64(len(rows)))
	most, sum := 0.0, 0.0
	for i := range rows {
		v := rows[i].of(losses)
		most = max(most, v)
		sum += v
	}
	at := most
	for range limitPasses {
		next := max(share*sum, least)
		if next >= 0.995*at {
			break
		}
		at, sum = next, 0
		for i := range rows {
			sum += min(rows[i].of(losses), at)
		}
	}
	return at
}

func (r *Row) of(losses bool) float64 {
	if losses {
		return r.Lost
	}
	return r.Segments
}

// Limited gives the problem with no row having more than its share of all segments, and its losses in
// proportion. It is p itself, or a copy with rows of its own.
func Limited(p *Problem) *Problem {
	at := limit(p.Rows, 0, false)
	if !slices.ContainsFunc(p.Rows, func(r Row) bool { return r.Segments > at }) {
		return p
	}
	q := *p
	q.Rows = slices.Clone(p.Rows)
	for i := range q.Rows {
		if r := &q.Rows[i]; r.Segments > at {
			r.Lost *= at / r.Segments
			r.Segments = at
		}
	}
	return &q
}

// mostLost is the losses of a row that count in the background. Few losses are not limited: chance
// makes them one row's.
func mostLost(rows []Row) float64 {
	return limit(rows, priorLosses, true)
}
