// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package window says to which window a point belongs and when a window is decided.
package window // import "github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/window"

import "time"

// Placement says how a point relates to the window it was given.
type Placement uint8

// Placements.
const (
	OnTime  Placement = iota
	Late              // its own window was decided already
	Early             // dated further ahead of the clock than clocks may differ
	Undated           // without a time
)

// minSilence is how long a stream has to pause to count as silent when no lateness is
// allowed for: batches of a busy stream come closer together.
const minSilence = time.Second

// catchUp is how many empty windows are decided in a row when a stream resumes after a
// gap; those before are skipped. It is one more than it takes to forget a verdict, so that
// skipping changes nothing but the number of points that say "no data".
const catchUp = 4

// Schedule places points and decides when windows are due. Windows are aligned to the
// Unix epoch; a window includes its end but not its start, as the interval of a point does.
// The zero value is not ready; use [New]. It is not safe for concurrent use.
type Schedule struct {
	window, lateness time.Duration
	wallClock        bool
	started          bool
	next             int64     // the first window that is not decided
	newest           int64     // newest time seen, in ns
	arrival          time.Time // of the last point
}

// New makes a schedule. With wallClock a point belongs to the window in which it arrives,
// and that is decided at its end; otherwise to the window of its own time, and that is
// decided once lateness has passed on the clock of the points, or, when the stream is
// silent, on the wall clock.
func New(window, lateness time.Duration, wallClock bool) *Schedule {
	return &Schedule{window: window, lateness: lateness, wallClock: wallClock}
}

// index is the window that holds a time: those in (i·window, (i+1)·window].
func (s *Schedule) index(ns int64) int64 {
	if ns <= 0 {
		return 0
	}
	return (ns - 1) / int64(s.window)
}

// Start is when a window begins.
func (s *Schedule) Start(index int64) time.Time { return time.Unix(0, index*int64(s.window)) }

// End is when a window ends.
func (s *Schedule) End(index int64) time.Time { return s.Start(index + 1) }

// Next is the first window that is not decided; ok is false before the first point.
func (s *Schedule) Next() (index int64, ok bool) { return s.next, s.started }

// Place gives the window of a point that is dated at (Unix time in ns) and arrives now.
// A point that is not on time is given a window that is still open, for what has to be
// counted somewhere.
//
// How far a point may be dated ahead is one window and the lateness, and it never moves
// the schedule past the wall clock: a single host with a wrong clock would otherwise make
// everybody else late.
func (s *Schedule) Place(at int64, now time.Time) (int64, Placement) {
	s.arrival = now
	wall := now.UnixNano()
	if s.wallClock {
		s.start(s.index(wall))
		return max(s.next, s.index(wall)), OnTime
	}
	switch {
	case at <= 0:
		s.start(s.index(wall))
		return s.next, Undated
	case at > wall+int64(s.window+s.lateness):
		s.start(s.index(wall))
		return s.next, Early
	}
	// Others may be behind by the lateness when the first point arrives.
	s.start(s.index(at - int64(s.lateness)))
	s.newest = max(s.newest, min(at, wall))
	i := s.index(at)
	if i < s.next {
		return s.next, Late
	}
	return i, OnTime
}

func (s *Schedule) start(index int64) {
	if !s.started {
		s.started, s.next = true, index
	}
}

// Reset begins anew when the clock was set back so far that the next window lies ahead of it by
// more than points may be dated ahead: a collector that was started with a clock far ahead
// would otherwise decide nothing until the time that it showed. What is held then belongs to
// the window that Next gives.
func (s *Schedule) Reset(now time.Time) bool {
	wall := now.UnixNano()
	if !s.started || s.Start(s.next).UnixNano() <= wall+int64(s.window+s.lateness) {
		return false
	}
	s.next = s.index(wall - int64(s.lateness))
	if s.wallClock {
		s.next = s.index(wall)
	}
	s.newest, s.arrival = min(s.newest, wall), now
	return true
}

// Due gives the next window to be decided, if one is due now, and counts it as decided.
// lowest is the lowest window that holds data, if any does: empty windows before it are
// skipped when there are many.
func (s *Schedule) Due(now time.Time, lowest int64, holds bool) (index int64, due bool) {
	if !s.started {
		return 0, false
	}
	last := s.lastDue(now)
	if last < s.next {
		return 0, false
	}
	resume := last
	if holds {
		resume = min(resume, lowest)
	}
	s.next = max(s.next, resume-catchUp)
	index = s.next
	s.next++
	return index, true
}

// lastDue is the last window that is due now.
func (s *Schedule) lastDue(now time.Time) int64 {
	wall := now.UnixNano()
	if s.wallClock {
		return wall/int64(s.window) - 1
	}
	lateness := int64(s.lateness)
	last := (s.newest-lateness)/int64(s.window) - 1
	if now.Sub(s.arrival) >= max(s.lateness, minSilence) {
		last = max(last, (wall-lateness)/int64(s.window)-1)
	}
	return last
}
