// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/otel-flowmonitor/flowmonitor/test/kernels/plan"
)

// result is what the console of a kernel told.
type result struct {
	release  string
	boot     int // seconds, as the kernel counts them
	jobs     []jobResult
	problems []string
	features []feature
	done     bool
}

type jobResult struct {
	name                    string
	status                  int
	seconds                 float64
	passed, failed, skipped []string // tests
}

// feature is what a test found out about the kernel.
type feature struct{ name, found string }

const notEnded = -1

// parseConsole reads a console to its end. Lines of the kernel may stand between those of
// the tests.
func parseConsole(r io.Reader) (result, error) {
	var res result
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20) // a verifier's log may be one line
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\r")
		if words, ok := strings.CutPrefix(line, plan.Mark+" "); ok {
			kind, words, _ := strings.Cut(words, " ")
			if err := res.mark(kind, words); err != nil {
				return res, fmt.Errorf("the guest's line %q: %w", line, err)
			}
			continue
		}
		if i := strings.Index(line, "Kernel panic"); i >= 0 {
			res.problems = append(res.problems, line[i:])
		}
		res.test(line)
	}
	return res, lines.Err()
}

func (r *result) mark(kind, words string) (err error) {
	f := strings.Fields(words)
	need := map[string]int{plan.Booted: 2, plan.Running: 1, plan.Ended: 3}[kind]
	if len(f) < need {
		return fmt.Errorf("has %d words instead of %d", len(f), need)
	}
	switch kind {
	case plan.Booted:
		r.release = f[0]
		r.boot, err = strconv.Atoi(f[1])
	case plan.Running:
		r.jobs = append(r.jobs, jobResult{name: f[0], status: notEnded})
	case plan.Ended:
		if len(r.jobs) == 0 {
			return fmt.Errorf("no job was running")
		}
		j := &r.jobs[len(r.jobs)-1]
		if j.status, err = strconv.Atoi(f[1]); err == nil {
			j.seconds, err = strconv.ParseFloat(f[2], 64)
		}
	case plan.Feature:
		name, found, _ := strings.Cut(words, ": ")
		r.features = append(r.features, feature{name, found})
	case plan.Problem:
		r.problems = append(r.problems, words)
	case plan.Done:
		r.done = true
	default:
		return fmt.Errorf("no such kind")
	}
	return err
}

// test notes a verdict of a whole test; those of its parts are indented.
func (r *result) test(line string) {
	if len(r.jobs) == 0 {
		return
	}
	j := &r.jobs[len(r.jobs)-1]
	for verdict, list := range map[string]*[]string{"--- PASS: ": &j.passed, "--- FAIL: ": &j.failed, "--- SKIP: ": &j.skipped} {
		if name, ok := strings.CutPrefix(line, verdict); ok {
			name, _, _ = strings.Cut(name, " ")
			*list = append(*list, name)
		}
	}
}

// faults are the reasons for which a kernel has not passed.
func (r *result) faults(jobs []plan.Job) []string {
	faults := slices.Clone(r.problems)
	if r.release == "" {
		return append(faults, "it has not booted")
	}
	for _, j := range jobs {
		i := slices.IndexFunc(r.jobs, func(d jobResult) bool { return d.name == j.Name })
		if i < 0 {
			faults = append(faults, j.Name+": was not run")
			continue
		}
		d := r.jobs[i]
		switch {
		case d.status == notEnded:
			faults = append(faults, j.Name+": has not ended")
		case d.status != 0:
			faults = append(faults, fmt.Sprintf("%s: exit status %d", j.Name, d.status))
		}
		for _, name := range d.failed {
			faults = append(faults, j.Name+": "+name+" failed")
		}
		for _, name := range d.skipped {
			faults = append(faults, j.Name+": "+name+" was skipped")
		}
		if j.Tests && d.status == 0 && len(d.passed) == 0 {
			faults = append(faults, j.Name+": no test was run")
		}
	}
	if !r.done {
		faults = append(faults, "the guest has not come to its end")
	}
	return faults
}
