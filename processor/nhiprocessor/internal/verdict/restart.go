// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"gonum.org/v1/gonum/mathext"

	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/inference"
)

const (
	// perReset is how many segments a connection that is cut by a restart sends again at most: those
	// that were on the way, an initial window (RFC 6928).
	perReset = 10
	// manyResets is how many times the usual resets a server answers with when it restarts.
	manyResets = 2
)

// endings of connections to one server.
type restarts struct {
	ended, rejected, usual float64
	segments, lost         float64
}

// restarting says whether the server refuses and resets far more than it does and than is ordinary.
func (r *restarts) restarting() bool {
	return r.rejected >= 2 && r.rejected > manyResets*max(r.usual, r.ended*rejectedShare)
}

// excuseRestarts puts down to the application what would else be held against the network: loss that
// comes with resets, no more of it than those explain, and none at the servers without.
func excuseRestarts(v *view, a *assembly, rate float64) {
	for i := range v.e.Suspects {
		s := &v.e.Suspects[i]
		if s.Kind == inference.Network && restarted(v, a, s.Rows, rate) {
			s.Kind = inference.Demand
		}
	}
}

func restarted(v *view, a *assembly, rows []int32, rate float64) bool {
	servers := map[int32]*restarts{}
	for _, row := range rows {
		i := v.origin(row)
		r := &a.problem.Rows[i]
		server := r.Local // of flows whose role is not known: each end by itself
		if r.Role == inference.Client {
			server = r.Remote
		}
		of := servers[server]
		if of == nil {
			of = &restarts{}
			servers[server] = of
		}
		ended, rejected := endingsOf(a.counts[i])
		h := historyOf(a.keys[i])
		if h.load.windows < judgedAfter {
			return false // what is usual is not known
		}
		of.ended += float64(ended)
		of.rejected += float64(rejected)
		of.usual += float64(h.rejected)
		of.segments += r.Segments
		of.lost += r.Lost
	}
	var all, others restarts
	for _, s := range servers {
		if !s.restarting() {
			others.segments += s.segments
			others.lost += s.lost
			continue
		}
		all.ended += s.ended
		all.rejected += s.rejected
		all.usual += s.usual
		all.segments += s.segments
		all.lost += s.lost
	}
	ordinary := max(rejectedShare, manyResets*all.usual/max(all.ended, 1))
	switch {
	case all.rejected == 0 || ordinary >= 1,
		mathext.RegIncBeta(all.rejected, all.ended-all.rejected+1, ordinary) > rate, // that many by chance
		all.lost-all.segments*v.e.Background > perReset*(all.rejected-all.usual),
		v.e.Exceeds(others.segments, others.lost, steadyLevel):
		return false
	}
	return true
}

// endingsOf says how many connections came to an end, and how many of them by a refusal or a reset.
func endingsOf(c *evidence.Counts) (ended, rejected uint64) {
	for _, f := range endings {
		ended += c.N[f]
	}
	return ended, c.N[evidence.FailedRefused] + c.N[evidence.ClosedReset]
}

// learnRejected advances what is usual. While there are far more it follows slowly: a deployment
// is over by then.
func (h *history) learnRejected(c *evidence.Counts) {
	ended, rejected := endingsOf(c)
	if ended == 0 {
		return
	}
	share := max(1/float32(h.load.windows+1), 1.0/loadMemory)
	if h.load.windows >= judgedAfter && float32(rejected) > manyResets*max(h.rejected, rejectedShare*float32(ended)) {
		share = 1.0 / surgeMemory
	}
	h.rejected += (float32(rejected) - h.rejected) * share
}
