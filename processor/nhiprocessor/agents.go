// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nhiprocessor

import "github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"

// agent is who writes points, a resource. It writes all that moved in each of its rounds, so that what a
// point tells of happened since the round before, although the stream of the point may have been
// silent for longer and begins where it ended then. An agent is never silent itself while it works: the
// points that it sends are on a connection that it counts, too.
type agent struct{ before, last int64 } // ends of its rounds, Unix ns; 0: not heard

// heard is told of a point and gives the time that it may tell of, 0 when that is not known: what
// is first heard, without a start, or out of order.
func (a *agent) heard(start, end int64) int64 {
	if a == nil || end <= 0 {
		return 0
	}
	if end > a.last {
		a.before, a.last = a.last, end
	}
	if start <= 0 || end < a.last || a.before == 0 {
		return 0
	}
	return end - max(start, a.before)
}

// agents are those that were heard in the last windows, at most as many as there may be flows.
type agents map[evidence.Series]*agent

func (as agents) of(resource evidence.Series, limit int) *agent {
	a := as[resource]
	if a == nil && len(as) < limit {
		a = &agent{}
		as[resource] = a
	}
	return a
}

// forget drops those that were last heard before a time.
func (as agents) forget(before int64) {
	for r, a := range as {
		if a.last < before {
			delete(as, r)
		}
	}
}

// since says how many told of a time after this one, in Unix ns.
func (as agents) since(at int64) (n int) {
	for _, a := range as {
		if a.last > at {
			n++
		}
	}
	return n
}
