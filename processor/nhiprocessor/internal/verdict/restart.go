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

// restarts is what became of the connections to one server, and what is lost with it.
type restarts struct {
	ended, rejected, usual float64
	known                  bool // what is usual
}

// restarting says whether a server refuses and resets far more than it does and than is ordinary.
func (r *restarts) restarting() bool {
	return r.known && r.rejected >= 2 && r.rejected > manyResets*max(r.usual, r.ended*rejectedShare)
}

// serverOf is the end that a row's connections were opened to; the local one when that is not known.
func serverOf(r *inference.Row) int32 {
	if r.Role == inference.Client {
		return r.Remote
	}
	return r.Local
}

// excuseRestarts puts down to the application what would else be held against the network: loss that
// comes with servers that restart, no more of it than the connections that they cut explain, and none
// at the other servers.
func excuseRestarts(views []*view, a *assembly, rate float64) {
	var servers []restarts
	for _, v := range views {
		if v.origins != nil {
			continue // of delays
		}
		for i := range v.e.Suspects {
			s := &v.e.Suspects[i]
			if s.Kind != inference.Network {
				continue
			}
			if servers == nil {
				servers = serversOf(a)
			}
			if restarted(v, a, servers, s.Rows, rate) {
				s.Kind = inference.Demand
			}
		}
	}
}

func serversOf(a *assembly) []restarts {
	servers := make([]restarts, len(a.problem.Hosts))
	for i, k := range a.keys {
		s := &servers[serverOf(&a.problem.Rows[i])]
		ended, rejected := endingsOf(a.counts[i])
		s.ended += float64(ended)
		s.rejected += float64(rejected)
		h := historyOf(k)
		s.usual += float64(h.rejected)
		s.known = s.known || h.load.windows >= judgedAfter
	}
	return servers
}

func restarted(v *view, a *assembly, servers []restarts, rows []int32, rate float64) bool {
	var of, others inference.Row // the rows of restarting servers, and those of the others
	var all restarts             // of the restarting servers, also elsewhere
	counted := map[int32]bool{}
	resets := 0.0 // beyond the usual, along these rows
	for _, row := range rows {
		i := v.origin(row)
		r := &a.problem.Rows[i]
		at := serverOf(r)
		server := &servers[at]
		if !server.restarting() {
			others.Segments += r.Segments
			others.Lost += r.Lost
			continue
		}
		of.Segments += r.Segments
		of.Lost += r.Lost
		_, rejected := endingsOf(a.counts[i])
		resets += float64(rejected) - float64(historyOf(a.keys[i]).rejected)
		if !counted[at] {
			counted[at] = true
			all.ended += server.ended
			all.rejected += server.rejected
			all.usual += server.usual
		}
	}
	ordinary := max(rejectedShare, manyResets*all.usual/max(all.ended, 1))
	switch {
	case all.rejected == 0, ordinary >= 1,
		mathext.RegIncBeta(all.rejected, all.ended-all.rejected+1, ordinary) > rate, // that many by chance
		of.Lost-of.Segments*v.e.Background > perReset*resets,
		v.e.Exceeds(others.Segments, others.Lost, steadyLevel):
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
