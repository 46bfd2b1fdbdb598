// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/exphist"
)

// Window is the evidence of one window.
type Window struct {
	// Rows are what each key did, in the order in which the keys came. Flows of a host come
	// together, and so did their keys: whoever goes through the rows finds in the processor's
	// caches what the last row left there. In the order of a map, deciding took half as long again.
	Rows []Row
	// Extra holds counts that belong to a monitor but are no evidence of this window:
	// of points that came too late, too early, or past a limit.
	Extra map[string]*Counts
	// RTT holds the round-trip times of each monitor's flows.
	RTT map[string]pmetric.ExponentialHistogramDataPoint

	of map[*Key]*Counts // the rows'
}

// Row is the evidence of one key.
type Row struct {
	Key    *Key
	Counts *Counts
}

// NewWindow makes an empty window.
func NewWindow() *Window {
	return &Window{
		of:    map[*Key]*Counts{},
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
	c := w.of[k]
	if c == nil {
		if len(w.Rows) >= limit {
			return nil
		}
		c = &Counts{}
		w.add(k, c)
	}
	k.window, k.counts = w, c
	return c
}

func (w *Window) add(k *Key, c *Counts) {
	w.of[k] = c
	w.Rows = append(w.Rows, Row{k, c})
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
	for _, r := range o.Rows {
		if mine := w.of[r.Key]; mine != nil {
			mine.Merge(r.Counts)
		} else {
			w.add(r.Key, r.Counts)
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
	for _, r := range w.Rows {
		for _, m := range r.Key.Monitors.Names {
			of(m).MergeSums(r.Counts)
		}
	}
	for m, c := range w.Extra {
		of(m).MergeSums(c)
	}
	return out
}
