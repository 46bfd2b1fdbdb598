// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/inference"
)

// past is the losses of the window before, in case that two windows together tell more than
// either alone.
type past struct {
	keys     []*evidence.Key
	rows     []inference.Row
	doubtful bool
}

// both gives the window at hand, as its rows are limited, together with the one before it, nil when there is none.
func (p *past) both(a *assembly, now *inference.Problem) *view {
	if len(p.keys) == 0 {
		return nil
	}
	before := make(map[*evidence.Key]int32, len(p.keys))
	for i, k := range p.keys {
		before[k] = int32(i)
	}
	q := *now
	q.Rows = make([]inference.Row, len(a.keys))
	for i, k := range a.keys {
		q.Rows[i] = now.Rows[i]
		if at, known := before[k]; known {
			q.Rows[i].Segments += p.rows[at].Segments
			q.Rows[i].Lost += p.rows[at].Lost
			// A connection that lasts is in both.
			q.Rows[i].Active = max(q.Rows[i].Active, p.rows[at].Active)
			q.Rows[i].Retransmitting = max(q.Rows[i].Retransmitting, p.rows[at].Retransmitting)
		}
	}
	return &view{problem: &q, byClass: a.byClass}
}

// inBoth is the share of the suspected excess that each of the two windows has to have by
// itself: three fifths of an even share. What only one of them shows is that one's.
const inBoth = 0.3

// keepLasting takes back what only one of the two windows shows.
func keepLasting(v *view, last *inference.Problem) {
	for i := range v.e.Suspects {
		s := &v.e.Suspects[i]
		var n, k, nowN, nowK float64
		for _, r := range s.Rows {
			n += v.problem.Rows[r].Segments
			k += v.problem.Rows[r].Lost
			nowN += last.Rows[r].Segments
			nowK += last.Rows[r].Lost
		}
		b := v.e.Background
		whole, now := k-n*b, nowK-nowN*b
		if now < inBoth*whole || whole-now < inBoth*whole {
			s.Kind = inference.Undetermined
		}
	}
}
