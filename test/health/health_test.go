// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package health

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
)

const (
	// window is short, so that all scenarios fit into a test: two rounds of the receivers, whose
	// shortest interval is a second.
	window = 2 * time.Second
	// Of the windows that lie wholly in one condition, those that are scored for latency only, as
	// docs/health-accuracy.md defines it: the verdict is steadied over some windows.
	settleIn  = 2
	settleOut = 4
	// leastSegments is what has to cross the gateway in a window for the verdict on it to count.
	leastSegments = 20_000
	// decided is how long after its end the verdict on a window is there: lateness, a round of
	// the receivers, and what the machine is late by.
	decided = 4 * time.Second
	// cleanWindows come before the first fault: a round-trip time is judged by from the third on.
	cleanWindows = 5
	// faultWindows and healWindows are how long a scenario and what follows it last.
	faultWindows = settleIn + 3
	healWindows  = settleOut + 1
)

// TestVerdictsOnRealPacketsAreRight runs scenarios against a collector that plays six hosts. With
// FLOWMONITOR_HEALTH_RUNS=10 it is all of them so many times, and a table for the document
// FLOWMONITOR_HEALTH_INTO. FLOWMONITOR_HEALTH_SCENARIO picks one by its name, and FLOWMONITOR_HEALTH_TRACE
// names a file that gets every flow point, to play them again.
func TestVerdictsOnRealPacketsAreRight(t *testing.T) {
	runs, all := 1, false
	if s := os.Getenv("FLOWMONITOR_HEALTH_RUNS"); s != "" {
		var err error
		runs, err = strconv.Atoi(s)
		require.NoError(t, err)
		all = true
	}
	f := newFleet(t)
	p := collector.Start(t, configuration(t, f))
	f.startTraffic(t)
	began := time.Now()
	wait(began.Add((cleanWindows + 1) * window))
	var score scores
	score.note(scenario{name: "nothing", state: flowattr.StateHealthy, causes: none}, began.Add(window), time.Now(), 0)
	for range runs {
		for _, s := range scenarios {
			if !all && !s.short || !strings.Contains(s.name, os.Getenv("FLOWMONITOR_HEALTH_SCENARIO")) {
				continue
			}
			end := s.begin(t, f)
			from := time.Now()
			wait(from.Add((faultWindows + 1) * window))
			score.note(s, from, time.Now(), settleIn)
			end()
			from = time.Now()
			wait(from.Add((healWindows + 1) * window))
			score.note(scenario{name: "after " + s.name, state: flowattr.StateHealthy, causes: none}, from, time.Now(), settleOut)
		}
		time.Sleep(decided)
		score.judge(t, verdicts(t, p))
	}
	p.Stop(t)
	t.Log("\n" + score.table())
	if into := os.Getenv("FLOWMONITOR_HEALTH_INTO"); into != "" {
		require.NoError(t, score.write(into))
	}
}

func wait(until time.Time) { time.Sleep(time.Until(until)) }

// score is how often a scenario was judged right.
type score struct {
	name, injected             string
	runs, right                int // conditions, and those of which every scored window was right
	windows, rightWindows      int
	said                       map[string]int
	leastSegments, allSegments int
	detected                   []int // windows until it was first right
}

type scores struct {
	all  []*score
	open []condition
}

// condition is what held between two times. Of its windows the first ones are not scored.
type condition struct {
	scenario
	from, to time.Time
	settle   int
}

func (s *scores) of(name string) *score {
	for _, known := range s.all {
		if known.name == name {
			return known
		}
	}
	s.all = append(s.all, &score{name: name, said: map[string]int{}})
	return s.all[len(s.all)-1]
}

func (s *scores) note(what scenario, from, to time.Time, settle int) {
	s.open = append(s.open, condition{what, from, to, settle})
}

// judge scores the conditions that were noted since the last call.
func (s *scores) judge(t *testing.T, said []verdict) {
	t.Helper()
	for i := range s.open {
		s.of(s.open[i].name).condition(t, &s.open[i], said)
	}
	s.open = nil
}

func (s *score) condition(t *testing.T, c *condition, said []verdict) {
	t.Helper()
	s.injected = c.injected
	s.runs++
	n, scored, wrong := 0, 0, 0
	for _, v := range said {
		if v.end.Add(-window).Before(c.from) || v.end.After(c.to) {
			continue
		}
		problem := c.wrong(v)
		if n++; problem == "" && len(s.detected) < s.runs {
			s.detected = append(s.detected, n)
		}
		if n <= c.settle {
			continue
		}
		if v.segments < leastSegments {
			t.Logf("%s, window %d: only %d segments crossed the gateway: not scored", c.name, n, v.segments)
			continue
		}
		scored++
		s.windows++
		s.said[v.state+", "+v.cause]++
		if s.leastSegments == 0 || v.segments < s.leastSegments {
			s.leastSegments = v.segments
		}
		s.allSegments += v.segments
		if problem == "" {
			s.rightWindows++
			continue
		}
		wrong++
		t.Errorf("%s, window %d: %s: %v", c.name, n, problem, v)
	}
	if scored == 0 {
		t.Errorf("%s: %d windows, none to be scored", c.name, n)
	} else if wrong == 0 {
		s.right++
	}
	if len(s.detected) < s.runs {
		s.detected = append(s.detected, n+1)
	}
}

// wrong says what of a verdict is not as it has to be.
func (s *scenario) wrong(v verdict) string {
	var problems []string
	if v.state != s.state {
		problems = append(problems, fmt.Sprintf("state is %s, not %s", v.state, s.state))
	}
	if want := map[string]float64{flowattr.StateHealthy: 0, flowattr.StateDegraded: 1}[s.state]; v.indicator != want {
		problems = append(problems, fmt.Sprintf("indicator is %v, not %v", v.indicator, want))
	}
	if !slices.Contains(s.causes, v.cause) {
		problems = append(problems, fmt.Sprintf("cause is %s, not of %v", v.cause, s.causes))
	}
	if s.component != "" && !slices.Contains(v.suspected, s.component) {
		problems = append(problems, s.component+" is not suspected")
	}
	return strings.Join(problems, "; ")
}

// configuration is that of a collector which plays all hosts, as the demo's. With retransmit_type
// it is told which segments the peer had already: on a busy machine some are sent again that were only late.
func configuration(t *testing.T, f *fleet) string {
	topology, err := filepath.Abs("../../examples/demo/topology.yaml")
	require.NoError(t, err)
	var receivers strings.Builder
	var names []string
	for _, h := range f.hosts() {
		name := "sockops/" + h.Name()
		names = append(names, name)
		fmt.Fprintf(&receivers, "  %s: {collection_interval: 1s, jitter: 0s, detail: [limits, retransmit_type], cgroup_path: %q, resource: {host.id: i-%s}}\n", name, h.CgroupPath(), h.Name())
	}
	trace, traceFile := "", ""
	if to := os.Getenv("FLOWMONITOR_HEALTH_TRACE"); to != "" {
		traceFile = fmt.Sprintf("  file/trace: {path: %q}\n", to)
		trace = fmt.Sprintf("    metrics/trace: {receivers: [%s], processors: [flowmonitor], exporters: [file/trace]}\n", strings.Join(names, ", "))
	}
	return fmt.Sprintf(`
receivers:
%s
processors:
  flowmonitor:
    topology: {file: {path: %q}}
    monitors:
      - name: clients-to-servers
        local: [{type: subnet, id: subnet-clients}]
        remote: [{type: subnet, id: subnet-servers}]
  nhi: {window: %v, lateness: 1s}
  filter:
    error_mode: ignore
    metrics:
      metric: ['not IsMatch(name, "^flow\\.(monitor|component)\\.") and name != "flow.tcp.segments.sent"']
exporters:
  file: {path: {{output}}, flush_interval: 100ms}
%sextensions:
  health_check: {endpoint: {{health}}}
service:
  extensions: [health_check]
  telemetry: {metrics: {level: none}}
  pipelines:
    metrics: {receivers: [%s], processors: [flowmonitor, nhi, filter], exporters: [file]}
%s`, receivers.String(), topology, window, traceFile, strings.Join(names, ", "), trace)
}
