// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command bench measures what flow monitor's kernel side and receiver cost, each figure as
// docs/benchmarks.md describes it, and holds the figures against their targets.
//
//	bench -json out/bench.json            measure everything: about 20 minutes
//	bench -short -json out/bench.json     see that it still works, and the figures that noise does not touch: a minute
//	bench -run bulk,connection            some of it
//	bench -render out/bench.json -into docs/benchmarks.md
//
// It needs root, a kernel with BTF and cgroup2, iperf3, and the built collector.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/otel-flowmonitor/flowmonitor/test/bench/load"
)

// benches in the order of the report.
var benches = []bench{
	{"share", "Share of the machine's CPU time during iperf3", share},
	{"bulk", "BPF time per GB", bulk},
	{"connection", "BPF time per short connection", connection},
	{"application", "What applications notice", application},
	{"harvest", "Harvest", harvest},
	{"slab", "Kernel memory a socket", slab},
	{"memory", "Memory of the collector", memory},
	{"round", "CPU time of a round", round},
}

type bench struct {
	name  string
	title string
	run   func(*measurement) error
}

func main() {
	load.Main()
	if err := command(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func command(args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	short := flags.Bool("short", false, "as little as shows that all still works")
	bare := flags.Bool("bare", false, "leave out what the receiver does only when asked to")
	only := flags.String("run", "", "names of benches, separated by commas: "+names())
	out := flags.String("json", "", "write the figures to this file")
	render := flags.String("render", "", "do not measure: take the figures of this file")
	into := flags.String("into", "", "put the tables between the marks of this Markdown file")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *render != "" {
		return renderInto(*render, *into)
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if *bare {
		theOptions = nil
	}
	report, err := measure(ctx, chosen, *short)
	if *out != "" {
		err = errors.Join(err, report.write(*out))
	}
	if err != nil {
		return err
	}
	return report.missed()
}

func names() string {
	var all []string
	for _, b := range benches {
		all = append(all, b.name)
	}
	return strings.Join(all, ", ")
}

func choose(only string) ([]bench, error) {
	if only == "" {
		return benches, nil
	}
	var chosen []bench
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(benches, func(b bench) bool { return b.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no bench %q: there are %s", name, names())
		}
		chosen = append(chosen, benches[i])
	}
	return chosen, nil
}

// measure runs benches one after the other; an error of one does not stop the others.
func measure(ctx context.Context, chosen []bench, short bool) (*report, error) {
	r := newReport(short)
	var errs []error
	for _, b := range chosen {
		began := time.Now()
		m := &measurement{ctx: ctx, short: short, bench: b.name, report: r}
		err := b.run(m)
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", b.name, err))
		}
		r.Took[b.name] = time.Since(began).Round(time.Second).String()
		fmt.Printf("%-14s took %s\n", b.name, r.Took[b.name])
	}
	return r, errors.Join(errs...)
}
