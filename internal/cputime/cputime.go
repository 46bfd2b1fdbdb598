// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package cputime measures what work costs in processor time, the garbage collector's
// included, which other work on the same machine changes less than it changes the wall
// clock. It is for benchmarks.
package cputime // import "github.com/otel-flowmonitor/flowmonitor/internal/cputime"

import (
	"slices"
	"testing"
	"time"
)

// Stopwatch adds up the processor time of the parts of a benchmark that are measured. The
// zero Stopwatch has measured nothing.
type Stopwatch struct {
	begin time.Duration
	laps  []lap
}

type lap struct {
	used time.Duration
	n    int
}

// Start begins a lap.
func (s *Stopwatch) Start() { s.begin = used() }

// Stop ends a lap of n operations.
func (s *Stopwatch) Stop(n int) { s.laps = append(s.laps, lap{used() - s.begin, n}) }

// Report writes the mean processor time of an operation, that of the median lap, and that of
// the tenth of the laps that were fastest: on a machine with other work, the latter is the
// closest to what the code costs, as what disturbs only ever adds.
func (s *Stopwatch) Report(b *testing.B, unit string) {
	var sum time.Duration
	n := 0
	for _, l := range s.laps {
		sum, n = sum+l.used, n+l.n
	}
	if n == 0 {
		return
	}
	each := s.sorted()
	b.ReportMetric(float64(sum)/float64(n), "cpu-ns/"+unit)
	b.ReportMetric(each[len(each)/2], "median-cpu-ns/"+unit)
	b.ReportMetric(each[len(each)/10], "p10-cpu-ns/"+unit)
}

// Ratio gives how many times as long an operation of s takes as one of another, in the
// median laps of both. It means something when the two were measured in turns.
func (s *Stopwatch) Ratio(to *Stopwatch) float64 {
	own, other := s.sorted(), to.sorted()
	if len(own) == 0 || len(other) == 0 {
		return 0
	}
	return own[len(own)/2] / other[len(other)/2]
}

// sorted gives the nanoseconds of an operation in each lap.
func (s *Stopwatch) sorted() []float64 {
	each := make([]float64, 0, len(s.laps))
	for _, l := range s.laps {
		each = append(each, float64(l.used)/float64(l.n))
	}
	slices.Sort(each)
	return each
}
