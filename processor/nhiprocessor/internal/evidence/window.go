// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/exphist"
)

// Window is the evidence of one window.
type Window struct {
	// Rows hold what each key did.
	Rows map[*Key]*Counts
	// Extra holds counts that belong to a monitor but are no evidence of this window:
	// of points that came too late, too early, or past a limit.
	Extra map[string]*Counts
	// RTT holds the round-trip times of each monitor's flows.
	RTT map[string]pmetric.ExponentialHistogramDataPoint
}

// NewWindow makes an empty window.
func NewWindow() *Window {
	return &Window{
		Rows:  map[*Key]*Counts{},
		Extra: map[string]*Counts{},
		RTT:   map[string]pmetric.ExponentialHistogramDataPoint{},
	}
}

// Row gives the counts of a key, or nil when the window holds limit keys already and
// this is not one of them.
func (w *Window) Row(k *Key, limit int) *Counts {
	if k.window == w {
		return k.counts
	}
	c := w.Rows[k]
	if c == nil {
		if len(w.Rows) >= limit {
			return nil
		}
		c = &Counts{}
		w.Rows[k] = c
	}
	k.window, k.counts = w, c
	return c
}

// ExtraOf gives a monitor's counts beside the evidence.
func (w *Window) ExtraOf(monitor string) *Counts {
	c := w.Extra[monitor]
	if c == nil {
		c = &Counts{}
		w.Extra[monitor] = c
	}
	return c
}

// AddRTT adds a histogram of round-trip times to a monitor. h is not kept.
func (w *Window) AddRTT(monitor string, h pmetric.ExponentialHistogramDataPoint) {
	sum, ok := w.RTT[monitor]
	if !ok {
		sum = pmetric.NewExponentialHistogramDataPoint()
		w.RTT[monitor] = sum
	}
	exphist.Add(sum, h)
}

// Merge adds the evidence of o, whose keys come from the same table. o is not to be used
// afterwards.
func (w *Window) Merge(o *Window) {
	for k, c := range o.Rows {
		if mine := w.Rows[k]; mine != nil {
			mine.Merge(c)
		} else {
			w.Rows[k] = c
		}
	}
	for m, c := range o.Extra {
		w.ExtraOf(m).Merge(c)
	}
	for m, h := range o.RTT {
		w.AddRTT(m, h)
	}
}

// Release lets go of the evidence: keys may still remember a window that was decided.
func (w *Window) Release() { *w = Window{} }

// Totals sums up what belongs to each monitor: evidence and extra.
func (w *Window) Totals() map[string]*Counts {
	out := make(map[string]*Counts, len(w.Extra))
	of := func(monitor string) *Counts {
		c := out[monitor]
		if c == nil {
			c = &Counts{}
			out[monitor] = c
		}
		return c
	}
	for k, c := range w.Rows {
		for _, m := range k.Monitors.Names {
			of(m).MergeSums(c)
		}
	}
	for m, c := range w.Extra {
		of(m).MergeSums(c)
	}
	return out
}
