// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"maps"
	"slices"
	"time"

	"gonum.org/v1/gonum/mathext"

	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/inference"
)

const (
	// perReset is how many segments a connection that is cut by a restart sends again at most: those
	// that were on the way, an initial window (RFC 6928).
	perReset = 10
	// manyResets is how many times the usual resets a server answers with when it restarts, and how many
	// times those that it gets.
	manyResets = 2
	// restartTime is how long a server restarts at most: the 90 s that systemd gives it to stop and the 90 s
	// to start again (DefaultTimeoutStopSec and DefaultTimeoutStartSec). What resets for longer does not
	// restart. For as long it has to be quiet before its next restart.
	restartTime = 3 * time.Minute
	// restartLevel is how unlikely the resets of some server have to be for the cause to be named. It
	// decides no state.
	restartLevel = 0.01
)

// restarts is what became of the connections to one server.
type restarts struct {
	// As its clients saw it. A server that stops resets its connections, and refuses new ones until it runs
	// again. When a network loses, it is the clients that give up, too.
	ended, rejected, usual float64
	// received is the resets that the server itself got, beyond the usual: of clients that gave up.
	received float64
	over     bool // it does so for longer than a restart takes
}

// rejecting says whether a server refuses and resets far more than it does and than is ordinary; while
// nothing is known of it, than is ordinary.
func (r *restarts) rejecting() bool {
	return r.rejected >= 2 && r.rejected > manyResets*max(r.usual, r.ended*rejectedShare)
}

// restarting says whether that is a restart.
func (r *restarts) restarting() bool {
	return r.rejecting() && !r.over && r.rejected-r.usual > manyResets*r.received
}

// certain says whether that many are not chance.
func (r *restarts) certain(level float64) bool {
	ordinary := max(rejectedShare, manyResets*r.usual/max(r.ended, 1))
	return r.rejected > 0 && ordinary < 1 && mathext.RegIncBeta(r.rejected, r.ended-r.rejected+1, ordinary) <= level
}

// deployments remembers which servers restart, and what the network was blamed for.
type deployments struct {
	running map[string]*rejection // by host, of those that reject or did so lately
	blamed  []string              // components, in the window before
}

// rejection is since when a server rejects, and when it last did: ends of windows.
type rejection struct{ since, last time.Time }

// serverOf is the end that a row's connections were opened to; the local one when that is not known.
func serverOf(r *inference.Row) int32 {
	if r.Role == inference.Client {
		return r.Remote
	}
	return r.Local
}

// excuse puts down to the application what would else be held against the network: loss that
// comes with servers that restart, no more of it than the connections that they cut explain, none
// at the other servers, and none before.
func (d *deployments) excuse(views []*view, a *assembly, rate float64, end time.Time) {
	servers := serversOf(a)
	d.follow(servers, a, end)
	a.restarting = make([]bool, len(servers))
	for h := range servers {
		a.restarting[h] = servers[h].restarting() && servers[h].certain(restartLevel/float64(len(servers)))
	}
	var blamed []string
	for _, v := range views {
		if v.origins != nil {
			continue // of delays
		}
		for i := range v.e.Suspects {
			s := &v.e.Suspects[i]
			if s.Kind != inference.Network {
				continue
			}
			before := slices.ContainsFunc(s.Names, func(name string) bool { return slices.Contains(d.blamed, name) })
			if !before && restarted(v, a, servers, s.Rows, rate) {
				s.Kind = inference.Demand
			} else {
				blamed = append(blamed, s.Names...)
			}
		}
	}
	d.blamed = blamed
}

// follow tells for how long each server has been rejecting.
func (d *deployments) follow(servers []restarts, a *assembly, end time.Time) {
	for h := range servers {
		if !servers[h].rejecting() {
			continue
		}
		name := a.problem.Hosts[h]
		r := d.running[name]
		if r == nil {
			r = &rejection{since: end}
			d.running[name] = r
		}
		r.last = end
		servers[h].over = end.Sub(r.since) > restartTime
	}
	maps.DeleteFunc(d.running, func(_ string, r *rejection) bool { return end.Sub(r.last) >= restartTime })
}

func serversOf(a *assembly) []restarts {
	servers := make([]restarts, len(a.problem.Hosts))
	for i, k := range a.keys {
		row := &a.problem.Rows[i]
		s := &servers[serverOf(row)]
		ended, rejected := endingsOf(a.counts[i])
		usual := float64(historyOf(k).rejected)
		switch row.Role {
		case inference.Client:
			s.ended += float64(ended)
			s.rejected += float64(rejected)
			s.usual += usual
		case inference.Server:
			s.received += max(0, float64(rejected)-usual)
		}
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
	return all.certain(rate) &&
		of.Lost-of.Segments*v.e.Background <= perReset*resets &&
		!v.e.Exceeds(others.Segments, others.Lost, steadyLevel)
}

// endingsOf says how many connections came to an end, and how many of them by a refusal or a reset.
func endingsOf(c *evidence.Counts) (ended, rejected uint64) {
	for _, f := range endings {
		ended += c.N[f]
	}
	return ended, c.N[evidence.FailedRefused] + c.N[evidence.ClosedReset]
}

// learnRejected advances what is usual. While there are far more it follows slowly: a deployment
// is over by then, also one that is going on when nothing is known yet.
func (h *history) learnRejected(c *evidence.Counts) {
	ended, rejected := endingsOf(c)
	if ended == 0 {
		return
	}
	share := max(1/float32(h.load.windows+1), 1.0/loadMemory)
	if float32(rejected) > manyResets*max(h.rejected, rejectedShare*float32(ended)) {
		share = 1.0 / surgeMemory
	}
	h.rejected += (float32(rejected) - h.rejected) * share
}
