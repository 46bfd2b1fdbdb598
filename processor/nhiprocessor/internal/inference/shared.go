// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package inference

import (
	"cmp"
	"math"
	"slices"
)

// unit is the evidence of one host (or of several with little traffic): units are
// independent of each other unless something that they share is at fault.
type unit struct {
	n, k float64
	host int32
}

// finding is what a test of shared loss says.
type finding uint8

const (
	shared       finding = iota
	contradicted         // others that cross the same are clean
	powerless            // too little evidence either way
)

const (
	// unitBursts is how many bursts of losses a unit is expected to have under the suspicion.
	// Of many units that all suffer alike with five each, the quietest third has half of its
	// share by chance (with one each, nothing), which is well above leastPart.
	unitBursts = 5
	// contradiction is how unlikely the losses of a part that a shared fault would reach have to be
	// few, for the part to contradict: one in a hundred, of some ten parts that are looked at.
	// It decides only whether another explanation is looked for.
	contradiction = 0.01
	// leastPart is the share of the suspected excess that such a part has at least. A fault
	// reaches its parts unequally: of a few connections more or fewer take the one path of
	// many that fails. With eight connections and four paths, three of four hosts have a third
	// of what all have on average.
	leastPart = 1.0 / 3
	// reach is the share of the hosts that a shared fault reaches at least: were the quietest
	// third clean, the others would be a group of hosts with something else in common.
	reach = 2.0 / 3
	// excused is how many hosts at each side are left out, with all that they send and
	// receive: as many as may be faulty at once without being SharedHosts.
	excused = SharedHosts - 1
	// serviceLevel is how unlikely loss on the other ways to a service has to be, to put down to
	// it what one way of several shows, too.
	serviceLevel = 0.05
)

// units gathers rows by the host that key gives; rows without one are left out.
func (s *search) units(rows []int32, key func(*Row) int32) []unit {
	us := s.unitBuffer[:0]
	for _, i := range rows {
		if s.blame[i] >= 0 {
			continue
		}
		r := &s.p.Rows[i]
		h := key(r)
		if h < 0 {
			continue
		}
		at := s.unitOf[h]
		if int(at) >= len(us) || us[at].host != h {
			at = int32(len(us))
			s.unitOf[h] = at
			us = append(us, unit{host: h})
		}
		us[at].n += r.Segments
		us[at].k += r.Lost
	}
	s.unitBuffer = us
	return us
}

// merged joins units with less than least segments, so that each has a chance to show
// loss. The largest come first. What is left over goes to the last one.
func merged(us []unit, least float64) []unit {
	slices.SortFunc(us, func(a, b unit) int { return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.host, b.host)) })
	out := us[:0]
	var thin unit
	for _, u := range us {
		if u.n >= least {
			out = append(out, u)
			continue
		}
		thin.n += u.n
		thin.k += u.k
		thin.host = u.host
		if thin.n >= least {
			out = append(out, thin)
			thin = unit{}
		}
	}
	if thin.n > 0 {
		if len(out) == 0 {
			return append(out, thin)
		}
		out[len(out)-1].n += thin.n
		out[len(out)-1].k += thin.k
	}
	return out
}

// clean says whether a part has too few losses to have been reached by a fault of that rate.
func (s *search) clean(n, k, rate, background, level float64) bool {
	return n > 0 && lossHead(k, n*(background+(rate-background)*leastPart), s.burstiness) <= level
}

// reaches says whether the quietest units are no contradiction: a shared fault reaches at
// least two thirds of them.
func (s *search) reaches(rows []int32, key func(*Row) int32, rate, background float64) bool {
	us := merged(s.units(rows, key), unitBursts*(s.burstiness+1)/2/rate)
	if len(us) < 2 {
		return true
	}
	slices.SortFunc(us, func(a, b unit) int {
		return cmp.Or(cmp.Compare(a.k*b.n, b.k*a.n), cmp.Compare(b.n, a.n), cmp.Compare(a.host, b.host))
	})
	var quiet unit
	for _, u := range us[:max(1, int(math.Round(float64(len(us))*(1-reach))))] {
		quiet.n += u.n
		quiet.k += u.k
	}
	return !s.clean(quiet.n, quiet.k, rate, background, contradiction)
}

// ofNetwork asks whether the loss of a network candidate is shared: by hosts of either side, by
// servers and by clients, and along each of its paths; and whether it outlives the worst hosts.
func (s *search) ofNetwork(c *candidate) finding {
	rate, background := c.k/c.n, s.background(c)
	if !s.alongAllPaths(c, c.rows, rate, background) {
		return contradicted
	}
	if f := s.besideService(c, rate, background); f != shared {
		return f
	}
	f := contradicted
	if s.reachesAllHosts(c.rows, rate, background) && (s.reachesTheQuiet(c.rows, rate, background) || s.dealtByAHash(c, background)) {
		f = s.outlives(c, rate, background)
	}
	if f != shared {
		if some := s.onSomePaths(c, background); some != contradicted {
			f = some
		}
	}
	if f != shared {
		return f
	}
	for _, first := range []bool{true, false} {
		if len(s.units(c.rows, s.side(first))) < SharedHosts {
			return powerless
		}
	}
	if !s.independent(c) {
		return contradicted
	}
	return shared
}

// besideService asks, of a candidate that leads to one service only, whether the other ways to it are clean:
// contradicted when they have loss, too, as it is the service's then, and powerless when they have too
// little to tell.
func (s *search) besideService(c *candidate, rate, background float64) finding {
	service := int32(-1)
	for _, i := range c.rows {
		if s.blame[i] < 0 {
			v := s.p.Rows[i].Service
			if v < 0 || service >= 0 && v != service {
				return shared
			}
			service = v
		}
	}
	if service < 0 {
		return shared
	}
	// Also what is put down to something else already: a service's fault shows at each of its clients.
	n, k := -c.n, -c.k
	for i := range s.p.Rows {
		if r := &s.p.Rows[i]; r.Service == service {
			n += r.Segments
			k += r.Lost
		}
	}
	for _, i := range c.rows {
		if s.blame[i] >= 0 {
			n -= s.p.Rows[i].Segments
			k -= s.p.Rows[i].Lost
		}
	}
	switch {
	case n <= 0:
		return shared
	case lossTail(k, n*background, s.dispersion) <= serviceLevel:
		return contradicted
	case lossHead(k, n*rate, s.burstiness) > contradiction:
		return powerless
	}
	return shared
}

// reachesAll says whether a fault of a candidate reaches all that it should.
func (s *search) reachesAll(c *candidate, rows []int32, rate, background float64) bool {
	return s.alongAllPaths(c, rows, rate, background) && s.reachesAllHosts(rows, rate, background)
}

// alongAllPaths says whether none of a candidate's paths is clean.
func (s *search) alongAllPaths(c *candidate, rows []int32, rate, background float64) bool {
	if len(c.components) > 0 {
		clear(s.paths)
		for _, i := range rows {
			if r := &s.p.Rows[i]; s.blame[i] < 0 {
				p := s.paths[r.Class]
				s.paths[r.Class] = unit{n: p.n + r.Segments, k: p.k + r.Lost}
			}
		}
		// The more paths, the quieter the quietest is by chance.
		level := contradiction / float64(len(s.paths))
		for _, p := range s.paths {
			if s.clean(p.n, p.k, rate, background, level) {
				return false
			}
		}
	}
	return true
}

// reachesAllHosts says whether no third of the hosts at one side, of the servers or of the clients,
// is clean.
func (s *search) reachesAllHosts(rows []int32, rate, background float64) bool {
	for _, key := range [...]func(*Row) int32{s.side(true), s.side(false), (*Row).server, (*Row).client} {
		if !s.reaches(rows, key, rate, background) {
			return false
		}
	}
	return true
}

// outlives says whether the loss outlives its worst hosts. They are taken out one after the
// other, with all that they send and receive: what is left has still to be more than chance
// gives, and no contradiction.
func (s *search) outlives(c *candidate, rate, background float64) finding {
	hosts := s.hostSums
	rows := s.rowBuffer[:0]
	var all unit
	for _, i := range c.rows {
		if s.blame[i] >= 0 {
			continue
		}
		rows = append(rows, i)
		r := &s.p.Rows[i]
		all.n += r.Segments
		all.k += r.Lost
		hosts[r.Local].n += r.Segments
		hosts[r.Local].k += r.Lost
		if r.Remote != r.Local {
			hosts[r.Remote].n += r.Segments
			hosts[r.Remote].k += r.Lost
		}
	}
	s.rowBuffer = rows
	defer func() {
		for _, i := range c.rows {
			hosts[s.p.Rows[i].Local], hosts[s.p.Rows[i].Remote] = unit{}, unit{}
		}
	}()
	found := shared
	var out [2]int // hosts taken out at each side
	for removed := 1; removed <= 2*excused; removed++ {
		worst, most := int32(-1), 0.0
		var at [2]bool
		for _, i := range rows {
			first, second := s.p.sides(&s.p.Rows[i])
			for side, h := range [2]int32{first, second} {
				e := excess(hosts[h].k, hosts[h].n, background)
				switch {
				case out[side] == excused || e <= 0 || e < most || e == most && h > worst:
				case h == worst:
					at[side] = true
				default:
					worst, most, at = h, e, [2]bool{}
					at[side] = true
				}
			}
		}
		if worst < 0 {
			break // no host is left with more than the background
		}
		for side := range at {
			if at[side] {
				out[side]++
			}
		}
		rows = slices.DeleteFunc(rows, func(i int32) bool {
			r := &s.p.Rows[i]
			if r.Local != worst && r.Remote != worst {
				return false
			}
			all.n -= r.Segments
			all.k -= r.Lost
			hosts[r.Local].n -= r.Segments
			hosts[r.Local].k -= r.Lost
			if r.Remote != r.Local {
				hosts[r.Remote].n -= r.Segments
				hosts[r.Remote].k -= r.Lost
			}
			return true
		})
		if s.clean(all.n, all.k, rate, background, contradiction) {
			return contradicted
		}
		level := s.rate
		if removed > 1 {
			level = s.secondLevel
		}
		if removed <= excused && lossTail(all.k, all.n*background, s.dispersion) > level {
			found = powerless
		}
		// A fault of those taken out may have come on top, and may be all that some part has.
		if removed <= excused && all.k > 0 && !s.reachesAll(c, rows, max(min(rate, all.k/all.n), background), background) {
			return contradicted
		}
	}
	return found
}

// ofEnd asks whether the loss of a host or of a service is shared by those who deal with it:
// by two thirds of them, and by more than one.
func (s *search) ofEnd(c *candidate, peer func(*Row) int32) finding {
	rate, background := c.k/c.n, s.background(c)
	if !s.reaches(c.rows, peer, rate, background) {
		return contradicted
	}
	var all, worst unit
	most := -1.0
	for _, u := range s.units(c.rows, peer) {
		all.n += u.n
		all.k += u.k
		if e := excess(u.k, u.n, background); e > most {
			worst, most = u, e
		}
	}
	if lossTail(all.k-worst.k, (all.n-worst.n)*background, s.dispersion) > s.level {
		return contradicted // it may be that one peer; another end, or the network, may explain it
	}
	return shared
}

// excess is the log-likelihood that a rate of their own adds to k losses of n segments over
// the background; 0 when they are no more than that.
func excess(k, n, background float64) float64 {
	if k <= n*background {
		return 0
	}
	return k*math.Log(k/(n*background)) - (k - n*background)
}
