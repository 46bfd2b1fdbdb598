// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/gonum/mathext"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/inference"
)

// rejectedShare is the share of connections that end refused or reset which is still
// ordinary: health checks and browsers reset what they no longer need. One in twenty is seen
// by the users of a service. The cause it leads to never touches the indicator.
const rejectedShare = 0.05

// endRatio is how many times the background an end loses that is named as the cause. Healthy hosts differ
// by more than healthy paths do, which many of them share: three is halfway, by the ratio, between what those
// differ by (1.75) and the smallest fault that is promised to be found (six times a background of a fifth).
const endRatio = 3

// finding is what one window says of one monitor, before it is steadied.
type finding struct {
	outcome      outcome
	cause        string     // of an end or the application, else CauseNone
	names        []string   // what is to blame
	lack         Lack       // why it is thin
	alternatives [][]string // that were nearly as likely
	network      []string   // what is to blame of the network, of a bad window
	twice        bool       // bad in this window and those before it together
}

// Lack says what a verdict lacks: the reason of insufficient_data.
type Lack uint8

// Reasons of insufficient_data.
const (
	Nothing         Lack = iota // the verdict stands
	LackFlows                   // the monitor was silent
	LackNetwork                 // none of its flows is within the provider's network and resolved
	LackHosts                   // fewer than three hosts at a side
	LackSegments                // too few segments to have shown a fault
	LackDistinction             // loss that cannot be put down to an end or to the network
	Lacks
)

func (l Lack) String() string {
	return [Lacks]string{"", "silent", "no_evidence", "hosts", "segments", "undetermined"}[l]
}

// judgement is the state of judging all monitors of one window.
type judgement struct {
	a     *assembly
	where *sides
	e     *inference.Explanation // of the losses of this window
	rate  float64
	views []*view
	// Segments of hosts at the local and at the remote side of the monitor at hand, and
	// which hosts have any.
	segments [2][]float64
	waits    [2][]waiting // of those who send to them
	refused  [2][]uint64  // connections to them
	seen     [2][]int32
}

// newJudgement takes the views in which something may be to blame; the first one is that of
// the losses of this window.
func newJudgement(where *sides, rate float64, views []*view) *judgement {
	j := &judgement{a: where.a, where: where, e: views[0].e, rate: rate, views: views}
	hosts := len(where.problem.Hosts)
	for side := range j.segments {
		j.segments[side] = make([]float64, hosts)
		j.waits[side] = make([]waiting, hosts)
		j.refused[side] = make([]uint64, hosts)
	}
	return j
}

// on judges one monitor. Its evidence is every flow along the paths of its own flows, of
// either direction and whether the monitor matches it or not: they cross the same components.
func (j *judgement) on(o *own) finding {
	j.expose(o)
	if len(o.rows) == 0 {
		return finding{outcome: thin, cause: flowattr.CauseNone, lack: LackNetwork}
	}
	if len(j.seen[0]) < inference.SharedHosts || len(j.seen[1]) < inference.SharedHosts {
		// One end cannot be told from the network, nor from the other end.
		return finding{outcome: thin, cause: flowattr.CauseNone, lack: LackHosts}
	}
	f := finding{outcome: clean, cause: flowattr.CauseNone}
	// A delay that cannot be told is one as long as nothing tells what it is: no end, no crowd, and no
	// longer look at it.
	undetermined, slow, explained, demand := false, false, false, false
	var minor *inference.Suspect
	for i, v := range j.views {
		if v.e.Windows > 1 && explained {
			continue // this window by itself says what it is; the one before may have been another
		}
		s := standingIn(v, o)
		if i == 0 {
			undetermined, explained = s.undetermined, (s.end != nil || s.demand) && !s.undetermined
		}
		if v.origins != nil {
			slow = s.undetermined
		}
		demand = demand || s.demand
		if s.end != nil && named(s.end, v) && f.cause == flowattr.CauseNone {
			f.cause, f.names, f.alternatives = j.endCause(s.end, o), s.end.Names, s.end.Alternatives
		}
		minor = cmp.Or(minor, s.minor)
		if s.network != nil {
			f.outcome, f.twice = bad, v.e.Windows > 1
			if s.end == nil || s.networkFirst {
				f.names = s.network.Names
			}
			f.network, f.alternatives = s.network.Names, s.network.Alternatives
			return f
		}
	}
	switch {
	case undetermined, slow && f.cause == flowattr.CauseNone && !demand:
		f.outcome, f.lack = thin, LackDistinction
	case j.observed(0) < inference.SharedHosts || j.observed(1) < inference.SharedHosts:
		f.outcome, f.lack = thin, LackSegments
	case f.cause == flowattr.CauseNone && (demand || j.rejected(o) || j.restarting(o)):
		f.cause = flowattr.CauseApplication
	case f.cause == flowattr.CauseNone && minor != nil:
		f.cause, f.names, f.alternatives = j.endCause(minor, o), minor.Names, minor.Alternatives
	case f.cause == flowattr.CauseNone:
		f.cause, f.names = j.readers()
	}
	return f
}

// expose sums up which hosts sent and received how much along the classes that a monitor crosses.
func (j *judgement) expose(o *own) {
	for side := range j.seen {
		for _, h := range j.seen[side] {
			j.segments[side][h] = 0
			j.waits[side][h] = waiting{}
			j.refused[side][h] = 0
		}
		j.seen[side] = j.seen[side][:0]
	}
	for _, c := range o.crossed {
		sums, swapped := j.where.of(c)
		for side, hosts := range sums {
			if swapped {
				side = 1 - side
			}
			for _, h := range hosts {
				if j.segments[side][h.host] == 0 {
					j.seen[side] = append(j.seen[side], h.host)
				}
				j.segments[side][h.host] += h.segments
				j.waits[side][h.host].add(h.waiting)
				j.refused[side][h.host] += h.refused
			}
		}
	}
}

// standing is what stands out among a monitor's evidence, of each kind what explains most.
type standing struct {
	network, end *inference.Suspect
	minor        *inference.Suspect // the end that explains most of those that are named, though it is little
	networkFirst bool               // the network explains more
	undetermined bool               // what cannot be told is more than what an end explains
	demand       bool               // more traffic than the way bears
}

func standingIn(v *view, o *own) (out standing) {
	if len(v.e.Suspects) == 0 {
		return out
	}
	blamed := make([]loss, len(v.e.Suspects))
	for _, c := range o.crossed {
		for i, l := range v.blame(c.class) {
			blamed[i].segments += l.segments
			blamed[i].lost += l.lost
		}
	}
	network, end, minor, unclear := 0.0, 0.0, 0.0, 0.0
	for i := range v.e.Suspects {
		s := &v.e.Suspects[i]
		over := blamed[i].lost - blamed[i].segments*v.e.Background
		if isEnd(s) && over > minor && named(s, v) && blamed[i].of(s.Rate, v.e.Background) {
			out.minor, minor = s, over
		}
		if !v.e.Stands(blamed[i].segments, blamed[i].lost) {
			continue
		}
		switch s.Kind {
		case inference.Undetermined:
			unclear += over
		case inference.Demand:
			out.demand = true
		case inference.Network:
			if out.network == nil || over > network {
				out.network, network = s, over
			}
		default:
			if out.end == nil || over > end {
				out.end, end = s, over
			}
		}
	}
	out.networkFirst = network >= end
	out.undetermined = unclear > end
	return out
}

func isEnd(s *inference.Suspect) bool { return s.Kind == inference.Host || s.Kind == inference.Service }

// named says whether an end loses enough to be named.
func named(s *inference.Suspect, v *view) bool { return s.Rate >= endRatio*v.e.Background }

// of says whether the losses are likelier at a rate than at the background: an end that is known to lose
// from all that deals with it is to blame for what a monitor's flows lose there, however few they are.
func (l loss) of(rate, background float64) bool {
	return l.lost*math.Log(rate/background) > l.segments*(rate-background)
}

// leastRefused is how many refusals a host is observed by: ten answers that came through leave no
// more than a chance of one in three for a loss of a tenth.
const leastRefused = 10

// observed counts the hosts at a side with enough segments to show a fault; hosts with
// fewer count together. A host that refuses connections is observed: its answers came through, and
// why there is nothing else from it is known.
func (j *judgement) observed(side int) (n int) {
	rest := 0.0
	for _, h := range j.seen[side] {
		if s := j.segments[side][h]; s >= j.e.Enough || j.refused[side][h] >= leastRefused {
			n++
		} else {
			rest += s
		}
	}
	if math.IsInf(j.e.Enough, 1) {
		return 0
	}
	return n + int(min(rest/j.e.Enough, inference.SharedHosts))
}

// endCause says which end a suspect is, as the monitor sees it. A host that the monitor
// has as a local one is local, also where it is a remote one of other flows.
func (j *judgement) endCause(s *inference.Suspect, o *own) string {
	local := func(i int32) bool {
		r := &j.a.problem.Rows[i]
		return r.Segments > 0 && slices.Contains(s.Hosts, r.Local)
	}
	switch {
	case slices.ContainsFunc(o.rows, local):
		return flowattr.CauseLocalHost
	case s.Service:
		return flowattr.CauseRemoteService // also one that has a single address
	}
	return flowattr.CauseRemoteHost
}

// rejected says whether more connections were refused or reset than is ordinary, by a
// binomial tail.
func (j *judgement) rejected(o *own) bool {
	n, x := float64(o.ended), float64(o.rejected)
	return x > n*rejectedShare && mathext.RegIncBeta(x, n-x+1, rejectedShare) <= j.rate
}

// restarting says whether a server that the monitor's flows are opened to, or that it has, restarts.
func (j *judgement) restarting(o *own) bool {
	return slices.ContainsFunc(o.rows, func(i int32) bool { return j.a.restarting[serverOf(&j.a.problem.Rows[i])] })
}
