// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package inference

import (
	"cmp"
	"math"
	"slices"
)

// cleanLevel is how unlikely a lack of loss has to be for a part of the rows to count as
// clean. Small, because the worst hosts were taken out before, which leaves fewer losses than
// chance would.
const cleanLevel = 0.01

// clean says whether k losses of n segments are too few for the rate, and no more than
// the background gives.
func (s *search) clean(k, n, rate, background, level float64) bool {
	return lossHead(k, n*rate, s.dispersion) <= level && lossTail(k, n*background, s.dispersion) > s.rate
}

// survives says whether a network candidate still explains the loss without its worst
// hosts. They are taken out one after the other, with all that they send and receive, as long
// as they are fewer than a shared fault needs. If what is left is then clean (as a whole, on
// one of the paths, or for most hosts at one side), those hosts were the reason, or another
// component was.
func (s *search) survives(c *candidate, required int) bool {
	background := s.background(c)
	rows := make([]int32, 0, len(c.rows))
	for _, i := range c.rows {
		if s.blame[i] < 0 {
			rows = append(rows, i)
		}
	}
	rate := c.k / c.n
	type sum struct{ n, k float64 }
	hosts := make([]sum, len(s.p.Hosts))
	out := make([]bool, len(s.p.Hosts))
	paths := map[int32]sum{}
	for removed := 0; ; {
		clear(hosts)
		clear(paths)
		var all sum
		for _, i := range rows {
			r := &s.p.Rows[i]
			all.n += r.Segments
			all.k += r.Lost
			path := paths[r.Class]
			paths[r.Class] = sum{path.n + r.Segments, path.k + r.Lost}
			hosts[r.Local].n += r.Segments
			hosts[r.Local].k += r.Lost
			if r.Remote != r.Local {
				hosts[r.Remote].n += r.Segments
				hosts[r.Remote].k += r.Lost
			}
		}
		if s.clean(all.k, all.n, rate, background, cleanLevel) {
			return false
		}
		if all.k > 0 {
			rate = all.k / all.n // a fault of those taken out may have come on top
		}
		for _, p := range paths {
			if s.clean(p.k, p.n, rate, background, cleanLevel/float64(len(paths))) {
				return false
			}
		}
		for _, first := range []bool{true, false} {
			if s.mostClean(rows, first, rate, background) {
				return false
			}
		}
		if len(rows) == 0 {
			return false // fewer hosts than a shared fault needs have a part in all of it
		}
		if removed >= required-1 {
			return s.survivesBothEnds(c)
		}
		// In large fleets several at a time: an eighth of what is out already.
		for range min(max(1, removed/8), required-1-removed) {
			worst, most := -1, 0.0
			for h := range hosts {
				if g := excess(hosts[h].k, hosts[h].n, background); g > most && !out[h] {
					worst, most = h, g
				}
			}
			if worst < 0 {
				return true // no host is left with more than the background
			}
			out[worst] = true
			removed++
		}
		rows = slices.DeleteFunc(rows, func(i int32) bool { return out[s.p.Rows[i].Local] || out[s.p.Rows[i].Remote] })
	}
}

// survivesBothEnds takes out the worst hosts of both sides at once, one fewer at each than a
// shared fault needs: bad ends at both sides explain more rows together than either alone.
func (s *search) survivesBothEnds(c *candidate) bool {
	background, rate := s.background(c), c.k/c.n
	var worst [2][]unit
	for side, first := range []bool{true, false} {
		us := slices.Clone(s.units(c.rows, s.side(first)))
		slices.SortFunc(us, func(a, b unit) int {
			return cmp.Or(cmp.Compare(excess(b.k, b.n, background), excess(a.k, a.n, background)), cmp.Compare(a.host, b.host))
		})
		worst[side] = us[:min(SharedHosts-1, len(us))]
	}
	var n, k float64
	for _, i := range c.rows {
		if s.blame[i] >= 0 {
			continue
		}
		a, b := s.p.sides(&s.p.Rows[i])
		is := func(side int, h int32) bool {
			return slices.ContainsFunc(worst[side], func(u unit) bool { return u.host == h })
		}
		if !is(0, a) && !is(1, b) {
			n += s.p.Rows[i].Segments
			k += s.p.Rows[i].Lost
		}
	}
	return !s.clean(k, n, rate, background, cleanLevel)
}

// ownLevel is how unlikely losses of a host apart from the candidate have to be, on each of
// its paths and with half of its peers there, for the host to count as one that loses
// wherever it sends. They are compared with the expected background: that of this window holds
// the losses of such hosts.
const ownLevel = 0.01

// independent says whether the loss is shared by hosts that have no loss of their own. A
// host that loses on each path apart from the candidate loses on the candidate's, too; it says
// nothing about the candidate.
func (s *search) independent(c *candidate) bool {
	rate, background := c.k/c.n, s.background(c)
	inside := make(map[int32]bool, len(c.rows))
	concerned := make([]bool, len(s.p.Hosts))
	for _, i := range c.rows {
		inside[i] = true
		concerned[s.p.Rows[i].Local], concerned[s.p.Rows[i].Remote] = true, true
	}
	type where struct{ host, class int32 }
	apart := map[where][]unit{} // by peer
	for i := range s.p.Rows {
		r := &s.p.Rows[i]
		if s.blame[i] >= 0 || inside[int32(i)] {
			continue
		}
		for _, ends := range [2][2]int32{{r.Local, r.Remote}, {r.Remote, r.Local}} {
			if !concerned[ends[0]] {
				continue
			}
			at := where{ends[0], r.Class}
			us := apart[at]
			k := slices.IndexFunc(us, func(u unit) bool { return u.host == ends[1] })
			if k < 0 {
				k, us = len(us), append(us, unit{host: ends[1]})
			}
			us[k].n += r.Segments
			us[k].k += r.Lost
			apart[at] = us
		}
	}
	lossy, quiet := map[int32]bool{}, map[int32]bool{}
	for at, us := range apart {
		// Loss with fewer than half of the peers may be theirs.
		slices.SortFunc(us, func(a, b unit) int { return cmp.Compare(b.k/b.n, a.k/a.n) })
		var a unit
		for _, u := range us[len(us)/2:] {
			a.n += u.n
			a.k += u.k
		}
		switch {
		case a.n*rate < unitLosses: // says nothing
		case a.k >= a.n*rate/2 && lossTail(a.k, a.n*s.priorK/s.priorN, s.dispersion) <= ownLevel:
			lossy[at.host] = true
		default:
			quiet[at.host] = true
		}
	}
	var rows []int32
	for _, i := range c.rows {
		l, r := s.p.Rows[i].Local, s.p.Rows[i].Remote
		if s.blame[i] < 0 && !(lossy[l] && !quiet[l]) && !(lossy[r] && !quiet[r]) {
			rows = append(rows, i)
		}
	}
	for _, first := range []bool{true, false} {
		us := merged(s.units(rows, s.side(first)), unitLosses/rate)
		if len(us) == 0 || s.test(us, rate, background, s.rate, 1) == contradicted {
			return false
		}
	}
	return true
}

// mostClean says whether more than half of the hosts at one side are clean together.
func (s *search) mostClean(rows []int32, first bool, rate, background float64) bool {
	us := merged(s.units(rows, s.side(first)), unitLosses/rate)
	slices.SortFunc(us, func(a, b unit) int { return cmp.Compare(a.k/a.n, b.k/b.n) })
	if len(us) < 2 {
		return false
	}
	var n, k float64
	for _, u := range us[:len(us)/2+1] {
		n += u.n
		k += u.k
	}
	return s.clean(k, n, rate, background, cleanLevel)
}

// excess is the log-likelihood that a rate of their own adds to k losses of n segments over
// the background; 0 when they are no more than that.
func excess(k, n, background float64) float64 {
	if k <= n*background {
		return 0
	}
	return k*math.Log(k/(n*background)) - (k - n*background)
}
