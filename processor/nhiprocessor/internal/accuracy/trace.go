// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package accuracy

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric"
)

// A trace is a directory with what a fleet's collectors wrote and with the truth:
//
//	points.jsonl  OTLP JSON, one ExportMetricsServiceRequest a line, as the file exporter writes
//	truth.json    a [TraceTruth]
const (
	pointsFile = "points.jsonl"
	truthFile  = "truth.json"
)

// TraceTruth is what is true of a trace.
type TraceTruth struct {
	WindowSeconds int           `json:"window_seconds"`
	Windows       []TraceWindow `json:"windows"` // in their order, without gaps
}

// check says what of the windows cannot be scored: the processor's are aligned to the length of a window, since
// 1970, and a truth of others would be compared with nothing.
func (t *TraceTruth) check() (err error) {
	length := int64(t.WindowSeconds) * int64(time.Second)
	for i, w := range t.Windows {
		if w.End%length != 0 {
			err = errors.Join(err, fmt.Errorf("window %d: 'end_unix_nano' %d is not aligned to 'window_seconds' (%d): set it to a multiple of it, such as %d",
				i, w.End, t.WindowSeconds, (w.End/length+1)*length))
		} else if i > 0 && t.Windows[i-1].End%length == 0 && w.End != t.Windows[i-1].End+length {
			err = errors.Join(err, fmt.Errorf("window %d: 'end_unix_nano' %d does not follow on that of the window before (%d): list every window in order, without gaps",
				i, w.End, t.Windows[i-1].End))
		}
	}
	return err
}

// TraceWindow is what is true of one window. Monitors that are not named are clean, and scored.
type TraceWindow struct {
	End      int64                  `json:"end_unix_nano"`
	Monitors map[string]*TraceState `json:"monitors,omitempty"`
}

// TraceState is what is true of one monitor in one window.
type TraceState struct {
	Kind       string   `json:"kind,omitempty"`        // of the fault; "" is clean
	Network    bool     `json:"network,omitempty"`     // the fault is the network's: degraded is right
	Eligible   bool     `json:"eligible,omitempty"`    // there is enough evidence of the network's fault
	Unscored   bool     `json:"unscored,omitempty"`    // for latency only
	SinceOnset int      `json:"since_onset,omitempty"` // full windows of the fault, from 1
	SinceEnd   int      `json:"since_end,omitempty"`   // full windows since a fault ended, from 1
	Components []string `json:"components,omitempty"`  // at fault, as "type/id"
	Causes     []string `json:"causes,omitempty"`      // that are right
}

// truth gives the scorer's form.
func (s *TraceState) truth() *Truth {
	if s == nil {
		return &Truth{Scored: true}
	}
	return &Truth{
		Kind: Kind(s.Kind), network: &s.Network, Scored: !s.Unscored, Eligible: s.Eligible,
		SinceOnset: s.SinceOnset, SinceEnd: s.SinceEnd, Components: s.Components, Causes: s.Causes,
	}
}

func (t *Truth) state() *TraceState {
	if t.Kind == "" && t.Scored && t.SinceEnd == 0 {
		return nil
	}
	return &TraceState{
		Kind: string(t.Kind), Network: t.Network(), Eligible: t.Eligible, Unscored: !t.Scored || t.Unclear,
		SinceOnset: t.SinceOnset, SinceEnd: t.SinceEnd, Components: t.Components, Causes: t.Causes,
	}
}

// traceStart is when the first window of a written trace begins: in the past, as everything
// that is replayed is.
var traceStart = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

// recorder is a method that writes what it sees.
type recorder struct {
	out   *bufio.Writer
	index int
	err   error
}

func (r *recorder) Decide(window []Observed) map[string]Answer {
	start := traceStart.Add(time.Duration(r.index) * time.Minute)
	r.index++
	line, err := (&pmetric.JSONMarshaler{}).MarshalMetrics(points(window, start, start.Add(time.Minute)))
	if err == nil {
		_, err = r.out.Write(append(line, '\n'))
	}
	if r.err == nil {
		r.err = err
	}
	return nil
}

// WriteTrace plays a cell and writes it to a directory.
func WriteTrace(dir string, c Cell, plan Plan, seed uint64) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, pointsFile))
	if err != nil {
		return err
	}
	defer f.Close()
	r := &recorder{out: bufio.NewWriterSize(f, 1<<20)}
	truth := TraceTruth{WindowSeconds: 60}
	play(c, plan, seed, []Method{r}, func(monitor string, t *Truth, _ []Answer) {
		end := traceStart.Add(time.Duration(r.index) * time.Minute).UnixNano()
		if n := len(truth.Windows); n == 0 || truth.Windows[n-1].End != end {
			truth.Windows = append(truth.Windows, TraceWindow{End: end, Monitors: map[string]*TraceState{}})
		}
		if s := t.state(); s != nil {
			truth.Windows[len(truth.Windows)-1].Monitors[monitor] = s
		}
	})
	if r.err != nil {
		return fmt.Errorf("write %s: %w", f.Name(), r.err)
	}
	if err := r.out.Flush(); err != nil {
		return fmt.Errorf("write %s: %w", f.Name(), err)
	}
	data, err := json.Marshal(&truth)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, truthFile), data, 0o644)
}

// heard says which monitors should have a verdict and are never spoken of: most likely their names are others in
// the points.
func (t *TraceTruth) heard(said map[int64]map[string]Answer) error {
	known := map[string]bool{}
	for _, answers := range said {
		for name := range answers {
			known[name] = true
		}
	}
	missing := map[string]bool{}
	for _, w := range t.Windows {
		for name, s := range w.Monitors {
			if s != nil && s.Eligible && !known[name] {
				missing[name] = true
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("eligible windows of monitors that no point names: %q; the points name %q", slices.Sorted(maps.Keys(missing)), slices.Sorted(maps.Keys(known)))
}
