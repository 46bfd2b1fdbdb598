// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

// step is a piece of the story: what goes wrong, for how long, and what the monitor has
// to say at its end.
type step struct {
	injected  string
	begin     func(*fleet) ([]*netlab.Injection, error)
	lasts     time.Duration
	state     string
	cause     string
	component string // "": none
}

// loss is what a failing line card or a dirty fibre does: TCP goes on, slower.
const loss = 0.04

// Windows are 5 s. A monitor becomes degraded with the second bad window of three and
// healthy with the third clean one, so that a step that changes the state lasts at least
// four windows: one that is cut in two, three whole ones, and the time to decide.
func story() []step {
	lossy := func(from *netlab.Link) ([]*netlab.Injection, error) {
		i, err := from.Fault(netlab.Loss{Rate: loss}, netlab.Both)
		return []*netlab.Injection{i}, err
	}
	return []step{
		{
			injected: "nothing", lasts: 14 * time.Second,
			state: flowattr.StateHealthy, cause: flowattr.CauseNone,
		},
		{
			injected: "4 % loss on the transit gateway", lasts: 22 * time.Second,
			begin: func(f *fleet) ([]*netlab.Injection, error) { return lossy(f.gateway) },
			state: flowattr.StateDegraded, cause: flowattr.CauseNetwork, component: "transit_gateway/tgw-hub",
		},
		{
			injected: "4 % loss at client-1 only", lasts: 28 * time.Second,
			begin: func(f *fleet) ([]*netlab.Injection, error) { return lossy(f.clients[0].Link()) },
			state: flowattr.StateHealthy, cause: flowattr.CauseLocalHost,
		},
		{
			injected: "nothing", lasts: 18 * time.Second,
			state: flowattr.StateHealthy, cause: flowattr.CauseNone,
		},
	}
}

const row = "%-9s %-33s %9.1f %8d %7d %9.3f   %-9s %-18s %-13s %s\n"

// tell runs the story and compares the last verdict of each step with what it has to be.
func tell(ctx context.Context, f *fleet, c *collector) error {
	fmt.Printf("monitor clients-to-servers, a line per window of 5 s\n\n%-9s %-33s %9s %8s %7s %9s   %-9s %-18s %-13s %s\n",
		"time", "injected", "MB", "retrans.", "timeouts", "RTT ms", "indicator", "state", "cause", "suspected")
	begin := time.Now()
	var wrong []error
	for _, s := range story() {
		last, err := s.play(ctx, f, c, begin)
		if err != nil {
			return err
		}
		if err := s.compare(last); err != nil {
			wrong = append(wrong, err)
			fmt.Printf("  ✗ %v\n\n", err)
		} else {
			fmt.Printf("  ✓ %s: %s, cause %s%s\n\n", s.injected, s.state, s.cause, prefixed(", component ", s.component))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%d of %d verdicts were wrong: %w", len(wrong), len(story()), errors.Join(wrong...))
	}
	fmt.Printf("all verdicts right, in %v\n", time.Since(begin).Round(time.Second))
	return nil
}

// play injects, prints the windows as they come, and gives the last one.
func (s step) play(ctx context.Context, f *fleet, c *collector, begin time.Time) (last verdict, err error) {
	if s.begin != nil {
		faults, err := s.begin(f)
		if err != nil {
			return last, err
		}
		defer func() {
			for _, i := range faults {
				err = errors.Join(err, i.Clear())
			}
		}()
	}
	end := time.After(s.lasts)
	for {
		batches, err := c.batches()
		if err != nil {
			return last, err
		}
		for _, v := range verdicts(batches) {
			v.print(s.injected, begin)
			last = v
		}
		select {
		case <-ctx.Done():
			return last, ctx.Err()
		case err := <-c.done:
			return last, fmt.Errorf("the collector ended: %w", err)
		case <-end:
			return last, nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (v verdict) print(injected string, begin time.Time) {
	rtt := 0.0
	if v.rttSeen > 0 {
		rtt = 1000 * v.rttSum / v.rttSeen
	}
	fmt.Printf(row, fmt.Sprintf("%+.0f s", v.end.Sub(begin).Seconds()), injected, float64(v.bytes)/1e6, v.retrans, v.timeouts, rtt,
		v.indicator, v.state, v.cause, strings.Join(v.components, " "))
}

func (s step) compare(v verdict) error {
	indicator := map[string]string{flowattr.StateHealthy: "0", flowattr.StateDegraded: "1"}[s.state]
	var errs []error
	want := func(what, want, got string) {
		if got != want {
			errs = append(errs, fmt.Errorf("%s: %s is %q, expected %q", s.injected, what, got, want))
		}
	}
	want("state", s.state, v.state)
	want("indicator", indicator, v.indicator)
	want("cause", s.cause, v.cause)
	if s.component != "" && !slices.Contains(v.components, s.component) {
		want("suspected component", s.component, strings.Join(v.components, " "))
	}
	return errors.Join(errs...)
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}
