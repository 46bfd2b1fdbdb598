// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package inference

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/gonum/mathext"
)

// A component may be several equal-cost paths of which one is bad. Each connection takes one of
// them, by a hash of its addresses and ports, and keeps it (RFC 2992). With many connections between
// two hosts all pairs have their share of the loss; with one or two, some pairs have all of it and the others
// none, so that hosts are clean by chance. What tells that from hosts that are at fault: the bad pairs
// are of many hosts, which have clean pairs as well, and no more hosts are spared than a hash spares.

const (
	// mostPaths is how many equal-cost paths are reckoned with, of which one is bad: sixteen, the default
	// width of a group in switches of a data center. Fewer pairs than that share are no path.
	mostPaths = 16
	// clearLevel is how unlikely so few losses of a pair have to be for it to count as clean: one in twenty.
	// It is how the bad and the clean pairs lie that counts, and not a single one.
	clearLevel = 0.05
)

// hostPair is what two hosts sent to each other across a candidate.
type hostPair struct {
	hosts     [2]int32
	n, k      [2]float64 // by the end that sent
	seen      [2]float64 // connections that sent, by the end that observed; 0 when not told
	hits      [2]float64 // of those, the ones that retransmitted
	active    float64    // as the end that saw more of them did, for either end sees the same ones
	hit       float64
	draws     float64 // of a path
	enough    bool    // to tell
	bad, good bool
}

// pairs gathers the rows of a candidate by the hosts at their two sides.
func (s *search) pairs(c *candidate) []hostPair {
	index := newNumbering(len(c.rows) / 2)
	var out []hostPair
	for _, i := range c.rows {
		if s.blame[i] >= 0 {
			continue
		}
		r := &s.p.Rows[i]
		first, second := s.p.sides(r)
		if (r.Class < 0 || s.p.Classes[r.Class].Palindrome) && first > second {
			first, second = second, first
		}
		at, known := index.of(uint64(uint32(first))<<32|uint64(uint32(second)), int32(len(out)))
		if !known {
			out = append(out, hostPair{hosts: [2]int32{first, second}})
		}
		p, end := &out[at], 0
		if r.Local != first {
			end = 1
		}
		p.n[end] += r.Segments
		p.k[end] += r.Lost
		p.seen[end] += float64(r.Active)
		p.hits[end] += float64(r.Retransmitting)
	}
	for i := range out {
		p := &out[i]
		p.active = max(p.seen[0], p.seen[1])
		p.hit = min(max(p.hits[0], p.hits[1]), p.active)
	}
	return out
}

// dealt is what the pairs of a candidate show: which of them lose, and which are clean.
type dealt struct {
	pairs             []hostPair
	of                map[int32]*dealings
	enough, bad, good int     // pairs that have enough to tell
	share             float64 // of a bad pair's connections, that take the bad path
}

// deal tells the pairs of a candidate that lose from those that are clean. Of those that lose fewer than
// SharedHosts, none is told to be clean.
func (s *search) deal(c *candidate, background float64) (d dealt) {
	d.pairs = s.pairs(c)
	rate := aboveAverage(d.pairs, c.k/c.n)
	least := unitBursts * (s.burstiness + 1) / 2 / rate
	for i := range d.pairs {
		p := &d.pairs[i]
		p.enough = p.n[0]+p.n[1] >= least
		if !p.enough {
			continue
		}
		d.enough++
		for end, n := range p.n {
			if n > 0 && p.k[end] >= n*c.k/c.n && lossTail(p.k[end], n*background, s.dispersion) <= contradiction {
				p.bad = true
			}
		}
		if p.bad {
			d.bad++
		}
	}
	if d.bad < SharedHosts {
		return d
	}
	d.share = draws(d.pairs)
	for i := range d.pairs {
		p := &d.pairs[i]
		if p.bad || !p.enough {
			continue
		}
		part := min(leastPart, 1/p.draws)
		p.good = lossHead(p.k[0]+p.k[1], (p.n[0]+p.n[1])*(background+(rate-background)*part), s.burstiness) <= clearLevel
		if p.good {
			d.good++
		}
	}
	d.of = byHost(d.pairs)
	return d
}

// byHash says whether the pairs that lose are rather those that a hash picked than those of some hosts.
func (d *dealt) byHash() bool {
	return d.bad >= SharedHosts && d.good >= SharedHosts && hostsExplain(d.pairs, d.of) <= 0
}

// dealtByAHash says that of a candidate whose quiet hosts have no loss among each other: they may be
// spared by chance where pairs take one path each.
func (s *search) dealtByAHash(c *candidate, background float64) bool {
	if s.matter != lossMatters {
		return false
	}
	d := s.deal(c, background)
	return d.byHash()
}

// onSomePaths says whether the loss of a network candidate is that of some of the paths behind it:
// shared when it is, powerless when too many pairs have too little to tell.
func (s *search) onSomePaths(c *candidate, background float64) finding {
	if s.matter != lossMatters || c.n <= 0 {
		return contradicted // a slow pair says nothing alone
	}
	d := s.deal(c, background)
	// Pairs that are neither say that it is something else.
	judged := float64(d.bad + d.good)
	if d.bad < SharedHosts || d.good < SharedHosts || judged < reach*float64(d.enough) || float64(d.bad)*mostPaths < judged {
		return contradicted
	}
	if matching(d.pairs, d.of) < SharedHosts || !sparedByAHash(d.pairs, d.of, d.share) {
		return contradicted
	}
	switch {
	case !d.byHash():
		return contradicted
	case judged < reach*float64(len(d.pairs)):
		return powerless
	}
	return shared
}

// aboveAverage is the rate of the pairs that lose more than all do together.
func aboveAverage(pairs []hostPair, average float64) float64 {
	var above unit
	for i := range pairs {
		p := &pairs[i]
		if n, k := p.n[0]+p.n[1], p.k[0]+p.k[1]; k > average*n {
			above.n += n
			above.k += k
		}
	}
	if above.n == 0 {
		return average
	}
	return above.k / above.n
}

// draws says how many paths the connections of each pair were dealt, and how likely each was the bad
// one. Where nearly all connections of a bad pair retransmit, their path goes by the addresses alone, and is one.
func draws(pairs []hostPair) (share float64) {
	var hit, active float64
	for i := range pairs {
		if p := &pairs[i]; p.bad {
			hit += p.hit
			active += p.active
		}
	}
	if active > 0 {
		share = hit / active
	}
	for i := range pairs {
		pairs[i].draws = max(pairs[i].active*(1-share), 1)
	}
	return share
}

// dealings is what the pairs of one host at one side are.
type dealings struct {
	side          int
	bad           int
	pairs         []int32
	left, badLeft int // that no host at fault explains yet
	draws         float64
}

func byHost(pairs []hostPair) map[int32]*dealings {
	of := map[int32]*dealings{}
	for i := range pairs {
		p := &pairs[i]
		if !p.bad && !p.good {
			continue
		}
		for side, h := range p.hosts {
			d := of[h]
			if d == nil {
				d = &dealings{side: side}
				of[h] = d
			}
			d.pairs = append(d.pairs, int32(i))
			d.left++
			d.draws += p.draws
			if p.bad {
				d.bad++
				d.badLeft++
			}
		}
	}
	return of
}

// sparedByAHash says whether no more hosts of a side have not one bad pair than connections that
// are spread by chance leave.
func sparedByAHash(pairs []hostPair, of map[int32]*dealings, share float64) bool {
	var hit, all float64
	for i := range pairs {
		p := &pairs[i]
		if p.bad {
			hit += max(p.draws*share, 1)
		}
		if p.bad || p.good {
			all += p.draws
		}
	}
	var expected [2]float64
	var spared [2]int
	for _, d := range of {
		expected[d.side] += math.Pow(1-min(hit/all, 1), d.draws)
		if d.bad == 0 {
			spared[d.side]++
		}
	}
	for side, n := range spared {
		if n > 0 && mathext.GammaIncReg(float64(n), expected[side]) <= contradiction {
			return false
		}
	}
	return true
}

// matching counts bad pairs of which no two have a host in common. As many hosts at least would have to
// be at fault at once to explain the bad pairs (König 1931).
func matching(pairs []hostPair, of map[int32]*dealings) (n int) {
	var bad []*hostPair
	for i := range pairs {
		if p := &pairs[i]; p.bad {
			bad = append(bad, p)
		}
	}
	// Hosts with few bad pairs first: those with many find another one.
	degree := func(p *hostPair) int { return of[p.hosts[0]].bad + of[p.hosts[1]].bad }
	slices.SortFunc(bad, func(a, b *hostPair) int {
		return cmp.Or(cmp.Compare(degree(a), degree(b)), cmp.Compare(a.hosts[0], b.hosts[0]), cmp.Compare(a.hosts[1], b.hosts[1]))
	})
	taken := map[int32]bool{}
	for _, p := range bad {
		if !taken[p.hosts[0]] && !taken[p.hosts[1]] {
			taken[p.hosts[0]], taken[p.hosts[1]] = true, true
			n++
		}
	}
	return n
}

// hostsExplain says how much likelier the bad pairs are when some hosts are at fault than when a hash
// picked them, as a logarithm: by the lengths in which either tells which pairs are bad (Rissanen 1978).
// A hash takes as much as the pairs' entropy; hosts take that of which hosts it is, those of the pairs with
// and without them, and two more rates, each half the logarithm of the pairs. Hosts are added one by one, the
// best first.
func hostsExplain(pairs []hostPair, of map[int32]*dealings) float64 {
	hosts := make([]int32, 0, len(of))
	for h := range of {
		hosts = append(hosts, h)
	}
	slices.Sort(hosts)
	var bad, all float64
	for i := range pairs {
		switch p := &pairs[i]; {
		case p.bad:
			bad++
			all++
		case p.good:
			all++
		}
	}
	hash := entropy(bad, all)
	best := hash
	var with, badWith float64 // pairs of the hosts that were added
	added, done := map[int32]bool{}, make([]bool, len(pairs))
	for n := 1; n <= min(len(hosts), maxSuspects); n++ {
		next, least := int32(-1), math.Inf(1)
		for _, h := range hosts {
			if added[h] {
				continue
			}
			d := of[h]
			w, b := with+float64(d.left), badWith+float64(d.badLeft)
			if l := entropy(b, w) + entropy(bad-b, all-w); l < least {
				next, least = h, l
			}
		}
		added[next] = true
		with += float64(of[next].left)
		badWith += float64(of[next].badLeft)
		for _, i := range of[next].pairs {
			if done[i] {
				continue
			}
			done[i] = true
			for _, h := range pairs[i].hosts {
				of[h].left--
				if pairs[i].bad {
					of[h].badLeft--
				}
			}
		}
		best = min(best, least+entropy(float64(n), float64(len(hosts))))
	}
	return hash - best - math.Log(all)
}

// entropy is that of which k of n are meant, in nats.
func entropy(k, n float64) float64 {
	if k <= 0 || k >= n {
		return 0
	}
	return -k*math.Log(k/n) - (n-k)*math.Log(1-k/n)
}
