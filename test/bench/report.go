// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// report is all that a run found: the file of -json.
type report struct {
	When    time.Time
	Machine string
	Kernel  string
	Short   bool
	Took    map[string]string // by bench
	Figures []figure
}

// figure is one number and where it comes from.
type figure struct {
	Bench string
	What  string
	Unit  string  `json:",omitempty"`
	Value float64 // the median of the samples, or an estimate from them

	// Low and High are the quartiles of the samples, or of an estimate the bounds that it is
	// on the right side of with 95 % each.
	Low, High float64
	Estimate  bool
	Samples   []float64

	// Target holds if Value (or the bound that it is for) is below Most, or above Least.
	Target *target `json:",omitempty"`
}

// target is what a figure is to reach.
type target struct {
	Most, Least float64 // one of them is set
	Bound       bool    // it is for the bound, High or Low, and not for the value
	Noisy       bool    // other work on the machine decides too: a short run does not fail by it
}

func atMost(v float64) *target       { return &target{Most: v} }
func boundAtMost(v float64) *target  { return &target{Most: v, Bound: true, Noisy: true} }
func boundAtLeast(v float64) *target { return &target{Least: v, Bound: true, Noisy: true} }

func (t *target) noisy() *target { t.Noisy = true; return t }

// met says whether the figure reaches its target. Of a figure without one it is true.
func (f *figure) met() bool { return f.metWithin(1) }

// metWithin allows the figure to miss its target by a factor.
func (f *figure) metWithin(slack float64) bool {
	switch {
	case f.Target == nil:
		return true
	case f.Target.Least > 0:
		v := f.Value
		if f.Target.Bound {
			v = f.Low
		}
		return v*slack >= f.Target.Least
	}
	v := f.Value
	if f.Target.Bound {
		v = f.High
	}
	return v <= f.Target.Most*slack
}

// measurement is one bench at work.
type measurement struct {
	ctx    context.Context
	short  bool
	bench  string
	report *report
}

// pick is how often, how many or how long: in a full run, and in a short one.
func pick[T any](m *measurement, full, short T) T {
	if m.short {
		return short
	}
	return full
}

// samples adds a figure: the median, with the quartiles as its spread.
func (m *measurement) samples(what, unit string, samples []float64, t *target) {
	m.add(figure{
		What: what, Unit: unit, Value: median(samples),
		Low: quantile(samples, 0.25), High: quantile(samples, 0.75),
		Samples: samples, Target: t,
	})
}

// ratio adds a figure: with over without, from pairs, as an estimator finds it.
func (m *measurement) ratio(what string, with, without []float64, estimate func(with, without []float64) ratio, t *target) {
	r := estimate(with, without)
	ratios := make([]float64, len(with))
	for i := range with {
		ratios[i] = with[i] / without[i]
	}
	m.add(figure{What: what, Value: r.estimate, Low: r.low, High: r.high, Estimate: true, Samples: ratios, Target: t})
}

func (m *measurement) add(f figure) {
	f.Bench = m.bench
	m.report.Figures = append(m.report.Figures, f)
	fmt.Printf("%-14s %-90s %s\n", f.Bench, f.What, f.line())
}

func newReport(short bool) *report {
	return &report{
		When: time.Now().UTC().Truncate(time.Second), Machine: machine(), Kernel: kernel(),
		Short: short, Took: map[string]string{},
	}
}

func (r *report) write(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// shortSlack is by what factor two samples of BPF time may be wrong.
const shortSlack = 1.6

// missed is an error that names the targets that were not reached. A short run has too few
// samples to judge by those that other work on the machine moves, and judges coarsely by the rest.
func (r *report) missed() error {
	var errs []error
	for _, f := range r.Figures {
		met := f.met()
		if r.Short && f.Target != nil {
			met = f.Target.Noisy || f.metWithin(shortSlack)
		}
		if !met {
			errs = append(errs, fmt.Errorf("%s: %s: %s", f.Bench, f.What, f.line()))
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("targets not reached:\n%w", errors.Join(errs...))
	}
	return nil
}

// machine says what the figures were taken on.
func machine() string {
	model, memory := "", ""
	lines("/proc/cpuinfo", func(key, value string) {
		if key == "model name" {
			model = value
		}
	})
	lines("/proc/meminfo", func(key, value string) {
		if key == "MemTotal" {
			var kb int
			_, _ = fmt.Sscanf(value, "%d kB", &kb)
			memory = fmt.Sprintf("%d GiB", (kb+1<<19)>>20)
		}
	})
	return fmt.Sprintf("%d × %s, %s", runtime.NumCPU(), model, memory)
}

func lines(path string, each func(key, value string)) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		key, value, _ := strings.Cut(s.Text(), ":")
		each(strings.TrimSpace(key), strings.TrimSpace(value))
	}
}

// kernel is the release without what a distributor adds.
func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	release, _, _ := strings.Cut(unix.ByteSliceToString(u.Release[:]), "-")
	return "Linux " + release
}
