// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package window

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// base is aligned to windows of a minute.
var base = time.Unix(1_800_000_000, 0)

func at(seconds float64) time.Time { return base.Add(time.Duration(seconds * float64(time.Second))) }

// step is one thing that happens: a point arrives, or a look whether a window is due.
type step struct {
	now   float64 // on the wall clock, seconds after base
	point float64 // its time; for a look 0
	// Expected of a point: its window, counted from base, and placement.
	window    int64
	placement Placement
	// Expected of a look: the windows that are due, counted from base.
	look bool
	due  []int64
}

func point(now, time float64, window int64, p Placement) step {
	return step{now: now, point: time, window: window, placement: p}
}

func look(now float64, due ...int64) step { return step{now: now, look: true, due: due} }

func TestSchedule(t *testing.T) {
	const w, l = time.Minute, 15 * time.Second
	for _, tt := range []struct {
		name      string
		wallClock bool
		steps     []step
	}{
		{"a point at the end of a window belongs to it", false, []step{point(60, 60, 0, OnTime), point(61, 60.001, 1, OnTime)}},
		{"a window is decided once a point is later by the lateness", false, []step{
			point(50, 50, 0, OnTime), look(51), point(74.9, 74.9, 1, OnTime), look(74.9), point(75, 75, 1, OnTime), look(75, 0),
		}},
		{"a replayed stream is decided on its own clock", false, []step{
			point(7200, 50, 0, OnTime), look(7201), point(7201, 80, 1, OnTime), look(7201, 0), point(7202, 140, 2, OnTime), look(7202, 1),
		}},
		{"a silent stream is decided by the wall clock", false, []step{
			point(55, 55, 0, OnTime), look(69), look(74.9), look(75, 0), look(134), look(135, 1),
		}},
		{"a stream that still flows is not silent", false, []step{
			point(55, 55, 0, OnTime), point(80, 56, 0, OnTime), look(81), point(94, 57, 0, OnTime), look(95), look(109, 0),
		}},
		{"a point of a decided window is late and counts in the next", false, []step{
			point(75, 75, 1, OnTime), look(75, 0), point(76, 59, 1, Late), point(76, 61, 1, OnTime),
		}},
		{"points before the first one are taken as long as they are not late", false, []step{
			point(65, 65, 1, OnTime), point(66, 51, 0, OnTime), look(79), point(80, 80, 1, OnTime), look(80, 0),
		}},
		{"a point far ahead of the clock is early and moves nothing", false, []step{
			point(10, 10, 0, OnTime), point(11, 11+75.1, -1, Early), point(11, 1e9, -1, Early), look(12),
			point(12, 12, 0, OnTime),
		}},
		{"a host with a clock ahead within bounds makes nobody else late", false, []step{
			point(50, 50, 0, OnTime), point(50, 124, 2, OnTime), look(50), point(51, 51, 0, OnTime), look(75, 0),
		}},
		{"a point without a time counts in the next window", false, []step{point(70, 0, 1, Undated), point(70, -5, 1, Undated)}},
		{"a gap of an hour is not decided minute by minute", false, []step{
			point(50, 50, 0, OnTime), look(75, 0), point(3650, 3650, 60, OnTime), point(3675, 3675, 61, OnTime), look(3675, 56, 57, 58, 59, 60),
		}},
		{"by the wall clock a point belongs to the window of its arrival", true, []step{
			point(30, -500, 0, OnTime), look(59.9), look(60, 0), point(61, 1e6, 1, OnTime), point(61, 0, 1, OnTime), look(119), look(120, 1),
		}},
		{"by the wall clock a clock that steps back leads to no decided window", true, []step{
			point(130, 130, 2, OnTime), look(180, 2), point(70, 70, 3, OnTime), look(70),
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := New(w, l, tt.wallClock)
			zero := base.UnixNano() / int64(w)
			open := map[int64]bool{}
			for i, st := range tt.steps {
				now := at(st.now)
				if st.look {
					var due []int64
					for {
						lowest, holds := int64(0), false
						for o := range open {
							if !holds || o < lowest {
								lowest, holds = o, true
							}
						}
						index, ok := s.Due(now, lowest, holds)
						if !ok {
							break
						}
						delete(open, index)
						due = append(due, index-zero)
					}
					assert.Equal(t, st.due, due, "step %d, due", i)
					continue
				}
				ns := at(st.point).UnixNano()
				if st.placement == Undated {
					ns = int64(st.point)
				}
				index, placement := s.Place(ns, now)
				assert.Equal(t, st.placement, placement, "step %d, placement", i)
				if placement == OnTime || placement == Late {
					assert.Equal(t, st.window, index-zero, "step %d, window", i)
				}
				next, ok := s.Next()
				require.True(t, ok)
				assert.GreaterOrEqual(t, index, next, "a point is never given a decided window")
				open[index] = true
			}
		})
	}
}

func TestNothingIsDueBeforeTheFirstPoint(t *testing.T) {
	s := New(time.Minute, time.Second, false)
	_, due := s.Due(base, 0, false)
	assert.False(t, due)
	_, ok := s.Next()
	assert.False(t, ok)
}

func TestWindowsMeet(t *testing.T) {
	s := New(5*time.Second, 0, false)
	for i := range int64(10) {
		assert.Equal(t, s.End(i), s.Start(i+1))
		assert.Equal(t, i, s.index(s.Start(i).UnixNano()+1))
		assert.Equal(t, i, s.index(s.End(i).UnixNano()))
	}
}

// A collector starts with a clock that is an hour ahead; then time synchronisation sets it.
func TestAClockThatWasFarAheadAtTheStartStopsNothing(t *testing.T) {
	const hour, l = 3600, 15 * time.Second
	for _, wallClock := range []bool{false, true} {
		s := New(time.Minute, l, wallClock)
		zero := base.UnixNano() / int64(time.Minute)
		require.False(t, s.Reset(at(0)), "nothing to set")
		s.Place(at(hour+30).UnixNano(), at(hour+30))
		require.False(t, s.Reset(at(hour-60)), "a step back by a window is waited for")
		require.True(t, s.Reset(at(30)))
		require.False(t, s.Reset(at(31)), "once")
		index, placement := s.Place(at(31).UnixNano(), at(31))
		assert.Equal(t, OnTime, placement)
		assert.Equal(t, zero, index)
		s.Place(at(80).UnixNano(), at(80))
		index, due := s.Due(at(80), zero, true)
		require.True(t, due, "the window that ended after the step is decided")
		assert.Equal(t, zero, index)
	}
}
