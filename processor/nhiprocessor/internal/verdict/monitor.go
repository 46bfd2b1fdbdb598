// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
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

// finding is what one window says of one monitor, before it is steadied.
type finding struct {
	outcome outcome
	cause   string   // of an end or the application, else CauseNone
	names   []string // what is to blame
	lack    Lack     // why it is thin
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
	a       *assembly
	e       *inference.Explanation
	rate    float64
	classes *classes
	ways    []orientation // of the monitor at hand along each class, else 0
	// Segments of hosts at the local and at the remote side of the monitor at hand, and
	// which hosts have any.
	segments [2][]float64
	seen     [2][]int32
}

func newJudgement(a *assembly, e *inference.Explanation, rate float64) *judgement {
	j := &judgement{a: a, e: e, rate: rate, classes: newClasses(a, e), ways: make([]orientation, len(a.problem.Classes))}
	for side := range j.segments {
		j.segments[side] = make([]float64, len(a.problem.Hosts))
	}
	return j
}

// on judges one monitor. Its evidence is every flow along the paths of its own flows, of
// either direction and whether the monitor matches it or not: they cross the same components.
func (j *judgement) on(o *own) finding {
	p := j.a.problem
	var crossed []int32
	local := map[int32]bool{}
	for _, i := range o.rows {
		r := &p.Rows[i]
		if r.Segments == 0 {
			continue
		}
		local[r.Local] = true
		if j.ways[r.Class] == 0 {
			crossed = append(crossed, r.Class)
		}
		if r.Forward {
			j.ways[r.Class] |= forward
		} else {
			j.ways[r.Class] |= backward
		}
	}
	for side := range j.seen {
		for _, h := range j.seen[side] {
			j.segments[side][h] = 0
		}
		j.seen[side] = j.seen[side][:0]
	}
	blamed := make([]loss, len(j.e.Suspects))
	for _, c := range crossed {
		sums, swapped := j.classes.of(c, j.ways[c])
		j.ways[c] = 0
		for i, l := range sums.suspect {
			blamed[i].segments += l.segments
			blamed[i].lost += l.lost
		}
		for side, hosts := range sums.hosts {
			if swapped {
				side = 1 - side
			}
			for _, h := range hosts {
				if j.segments[side][h.host] == 0 {
					j.seen[side] = append(j.seen[side], h.host)
				}
				j.segments[side][h.host] += h.segments
			}
		}
	}

	// What stands out among this monitor's evidence, by the loss that it explains.
	network, end, undetermined := -1, -1, false
	over := func(s int) float64 { return blamed[s].lost - blamed[s].segments*j.e.Background }
	for s := range j.e.Suspects {
		if !j.e.Stands(blamed[s].segments, blamed[s].lost) {
			continue
		}
		switch j.e.Suspects[s].Kind {
		case inference.Undetermined:
			undetermined = true
		case inference.Network:
			if network < 0 || over(s) > over(network) {
				network = s
			}
		default:
			if end < 0 || over(s) > over(end) {
				end = s
			}
		}
	}

	f := finding{outcome: clean, cause: flowattr.CauseNone}
	switch {
	case end >= 0:
		f.cause, f.names = j.endCause(&j.e.Suspects[end], local), j.e.Suspects[end].Names
	case network < 0 && !undetermined && j.rejected(o):
		f.cause = flowattr.CauseApplication
	}
	switch {
	case len(o.rows) == 0:
		return finding{outcome: thin, cause: flowattr.CauseNone, lack: LackNetwork}
	case len(j.seen[0]) < inference.SharedHosts || len(j.seen[1]) < inference.SharedHosts:
		// One end cannot be told from the network, nor from the other end.
		return finding{outcome: thin, cause: flowattr.CauseNone, lack: LackHosts}
	case network >= 0:
		f.outcome = bad
		if end < 0 || over(network) >= over(end) {
			f.names = j.e.Suspects[network].Names
		}
	case undetermined:
		f.outcome, f.lack = thin, LackDistinction
	case j.observed(0) < inference.SharedHosts || j.observed(1) < inference.SharedHosts:
		f.outcome, f.lack = thin, LackSegments
	}
	return f
}

// observed counts the hosts at a side with enough segments to show a fault; hosts with
// fewer count together.
func (j *judgement) observed(side int) (n int) {
	rest := 0.0
	for _, h := range j.seen[side] {
		if s := j.segments[side][h]; s >= j.e.Enough {
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
func (j *judgement) endCause(s *inference.Suspect, local map[int32]bool) string {
	switch {
	case slices.ContainsFunc(s.Hosts, func(h int32) bool { return local[h] }):
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
