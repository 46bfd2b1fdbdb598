// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package inference

import (
	"cmp"
	"slices"
)

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
		case a.n*rate < unitBursts*(s.burstiness+1)/2: // says nothing
		case a.k >= a.n*rate/2 && lossTail(a.k, a.n*max(s.priorK/s.priorN, usualOf(s.usuals, at.class)), s.dispersion) <= ownLevel:
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
	var all unit
	for _, i := range rows {
		all.n += s.p.Rows[i].Segments
		all.k += s.p.Rows[i].Lost
	}
	return lossTail(all.k, all.n*background, s.dispersion) <= s.secondLevel
}
