// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/inference"
)

// A receiver that does not read closes its window, and the kernel of the sender measures for how long
// it waited for that. Unlike loss and delay it says by itself at which end the fault is; it only
// has to be enough to matter, and not how these two always are.
const (
	// slowReading is the share of the time in which senders had something to send that they waited
	// for a receiver: half, so that reading holds them up more than all else together.
	slowReading = 0.5
	// leastSending is the time that is judged at least, in s: the smallest retransmission timeout of
	// Linux (TCP_RTO_MIN). Less is no more than one lost acknowledgement.
	leastSending = 0.2
	// manyReaders is the share of a side's receivers from which on they are slow for something
	// that they have in common, their application: as many as share a fault (inference's reach).
	manyReaders = 2.0 / 3
)

// waiting is for how long those who send to somebody had something to send, and for how
// much of that they waited for a receiver that is slower than usual, in s.
type waiting struct{ sending, waited float64 }

func (w *waiting) add(o waiting) {
	w.sending += o.sending
	w.waited += o.waited
}

func (w waiting) slow() bool { return w.sending >= leastSending && w.waited >= slowReading*w.sending }

// waits reads off how long the sender of each row waited; nil when no receiver tells.
func waits(a *assembly) []waiting {
	var out []waiting
	for i, c := range a.counts {
		all, waited := c.Sending()
		if all == 0 {
			continue
		}
		if out == nil {
			out = make([]waiting, len(a.counts))
		}
		h := historyOf(a.keys[i])
		w := waiting{sending: float64(all) / evidence.TimeUnits, waited: float64(waited) / evidence.TimeUnits}
		share := w.waited / w.sending
		// What is usual for these two, a video that is watched for instance, is nobody's fault.
		if h.sending >= judgedAfter && float64(h.waited) >= slowReading {
			w.waited = 0
		}
		out[i] = w
		h.learnWaiting(share)
	}
	return out
}

// learnWaiting advances the usual share of the time that a sender waits. Like that of the
// round-trip time, it follows a lasting change by half in eight hours.
func (h *history) learnWaiting(share float64) {
	follow := max(1/float32(h.sending+1), drift)
	if h.sending >= judgedAfter && share >= slowReading && h.waited < slowReading {
		follow = drift
	}
	h.waited += (float32(share) - h.waited) * follow
	if h.sending < settledAfter {
		h.sending++
	}
}

// readers finds who reads slowly what the flows along the paths of the monitor at hand bring: one
// host, or so many that it is the application. The cause is none when nobody does.
func (j *judgement) readers() (cause string, names []string) {
	if j.a.waits == nil {
		return flowattr.CauseNone, nil
	}
	worst, at := waiting{}, int32(-1)
	for side := range j.seen {
		receivers, slow := 0, 0
		for _, h := range j.seen[side] {
			w := j.waits[side][h]
			if w.sending < leastSending {
				continue
			}
			receivers++
			if !w.slow() {
				continue
			}
			slow++
			if w.waited > worst.waited || w.waited == worst.waited && h < at {
				worst, at = w, h
				cause = flowattr.CauseRemoteHost
				if side == 0 {
					cause = flowattr.CauseLocalHost
				}
			}
		}
		if slow >= inference.SharedHosts && float64(slow) >= manyReaders*float64(receivers) {
			return flowattr.CauseApplication, nil
		}
	}
	if at < 0 {
		return flowattr.CauseNone, nil
	}
	return cause, []string{j.a.problem.Hosts[at]}
}
