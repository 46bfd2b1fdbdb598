// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package inference

import (
	"cmp"
	"slices"
)

// quietHalf is the share of the traffic of each side whose hosts a shared fault reaches, too, in what they send
// to each other. With hosts at fault at both sides, no host is clean: it deals with some of those. What those
// that are at fault nowhere send to each other is, as long as they are half.
const quietHalf = 0.5

// reachesTheQuiet says whether what the quieter half of the hosts at one side and that at the other
// sent to each other is no contradiction.
func (s *search) reachesTheQuiet(rows []int32, rate, background float64) bool {
	var quiet [2]map[int32]bool
	for side, first := range [2]bool{true, false} {
		us := s.units(rows, s.side(first))
		// Hosts that sent too little to show loss are not quiet for that: each has one loss more, among as
		// many segments as that takes.
		noisy := func(u unit) float64 { return (u.k + 1) / (u.n + 1/rate) }
		slices.SortFunc(us, func(a, b unit) int { return cmp.Or(cmp.Compare(noisy(a), noisy(b)), cmp.Compare(a.host, b.host)) })
		all := 0.0
		for _, u := range us {
			all += u.n
		}
		quiet[side] = make(map[int32]bool, len(us))
		n := 0.0
		for _, u := range us {
			if n += u.n; n > quietHalf*all {
				break
			}
			quiet[side][u.host] = true
		}
	}
	var among unit
	for _, i := range rows {
		r := &s.p.Rows[i]
		if first, second := s.p.sides(r); s.blame[i] < 0 && quiet[0][first] && quiet[1][second] {
			among.n += r.Segments
			among.k += r.Lost
		}
	}
	return !s.clean(among.n, among.k, rate, background, contradiction)
}
