// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Command evalnhi measures the accuracy of the nhi processor: see docs/health-accuracy.md.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/accuracy"
)

func main() {
	kind := flag.String("network", "az_pair", "kind of the network's fault")
	other := flag.String("other", "host_interface", "kind of the other fault")
	loss := flag.Float64("loss", 0.005, "share of segments lost by a fault")
	noise := flag.Float64("noise", 0, "background; a fifth of the fault when 0")
	burst := flag.Float64("burst", 3, "mean length of a burst")
	segments := flag.Float64("segments", 40000, "a window, through the faulty component")
	hosts := flag.Int("hosts", 24, "hosts with a collector")
	azs := flag.Int("azs", 3, "availability zones")
	vpcs := flag.Int("vpcs", 2, "VPCs")
	peers := flag.Int("peers", 0, "that a host talks to; 0: all")
	tail := flag.Float64("tail", 0, "Pareto exponent of flow sizes; 0: equal")
	lazy := flag.Float64("lazy", 0, "share of hosts that are mostly silent")
	tiered := flag.Bool("tiered", false, "one tier in each subnet")
	services := flag.Bool("services", false, "with services")
	even := flag.Bool("even", false, "as many hosts in each subnet")
	ramp := flag.Int("ramp", 0, "windows over which a fault grows")
	clean := flag.Int("clean", 12, "windows of each clean part")
	faulty := flag.Int("fault", 12, "windows of each fault")
	first := flag.Int("first", 1, "first seed")
	seeds := flag.Int("seeds", 20, "how many seeds")
	verbose := flag.Bool("v", false, "list what is wrong")
	table := flag.Bool("table", false, "the whole table, instead of one cell")
	scale := flag.Int("scale", 1, "of the table: divide the number of seeds by this")
	rows := flag.String("rows", "", "of the table: only rows whose name contains this")
	into := flag.String("into", "", "of the table: the document to write it into, between its marks")
	trace := flag.String("trace", "", "score this directory, instead of a cell")
	write := flag.String("write", "", "write the cell to this directory as a trace, instead of scoring it")
	flag.Parse()
	switch {
	case *table:
		var chosen []accuracy.Row
		for _, r := range accuracy.Table(*scale) {
			if strings.Contains(r.Name, *rows) {
				chosen = append(chosen, r)
			}
		}
		var watch func(int, uint64, string, *accuracy.Truth, accuracy.Answer)
		if *verbose {
			watch = func(cell int, seed uint64, monitor string, t *accuracy.Truth, a accuracy.Answer) {
				if t.Wrong(a) {
					fmt.Fprintln(os.Stderr, "cell", cell, "seed", seed, monitor, t.Kind, t.SinceOnset, t.SinceEnd, t.Components, a)
				}
			}
		}
		var out bytes.Buffer
		if _, err := accuracy.WriteTable(io.MultiWriter(os.Stdout, &out), chosen, watch); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if *into != "" {
			setup := fmt.Sprintf("Measured on %s with `SCALE=%d`, Go %s, %d CPUs, %.0f CPU-minutes.\n\n", time.Now().UTC().Format("2006-01-02"), *scale,
				strings.TrimPrefix(runtime.Version(), "go"), runtime.NumCPU(), cpuTime().Minutes())
			if err := replace(*into, setup+out.String()); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
		return
	case *trace != "":
		if err := score(*trace); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if *noise == 0 {
		*noise = *loss / 5
	}
	c := accuracy.Cell{
		Shape:   accuracy.Shape{Hosts: *hosts, AZs: *azs, VPCs: *vpcs, Peers: *peers, Tail: *tail, Lazy: *lazy, Tiered: *tiered, Services: *services, Even: *even},
		Network: accuracy.Kind(*kind), Other: accuracy.Kind(*other), Loss: *loss, Burst: *burst, Segments: *segments,
		Noise: accuracy.Noise{Rate: *noise, Burst: *burst}, Ramp: *ramp,
	}
	if *write != "" {
		if err := accuracy.WriteTrace(*write, c, accuracy.Plan{Clean: *clean, Fault: *faulty}, uint64(*first)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	began := time.Now()
	scores := accuracy.Run(c, accuracy.Plan{Clean: *clean, Fault: *faulty}, *first, *seeds, []accuracy.Maker{
		accuracy.NewNHI,
		func() accuracy.Method { return accuracy.NewVoting(0.01, 0.5) },
		func() accuracy.Method { return accuracy.NewThreshold(0.003) },
	}, func(seed uint64, monitor string, t *accuracy.Truth, a accuracy.Answer) {
		if t.Wrong(a) && *verbose {
			fmt.Println(seed, monitor, t.Kind, t.SinceOnset, t.SinceEnd, t.Components, a)
		}
	})
	print(scores)
	fmt.Println(time.Since(began).Round(time.Millisecond))
}

// Marks of the place in a document where the table belongs.
const (
	opening = "<!-- table -->\n"
	closing = "<!-- end table -->\n"
)

// replace puts the table into a document.
func replace(path, table string) error {
	document, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	from, to := bytes.Index(document, []byte(opening)), bytes.Index(document, []byte(closing))
	if from < 0 || to < from {
		return fmt.Errorf("%s: no %q followed by %q to write the table between", path, opening, closing)
	}
	return os.WriteFile(path, slices.Concat(document[:from+len(opening)], []byte(table), document[to:]), 0o644)
}

// cpuTime is the processor time that this process took.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// score scores a trace, with the other methods as they are tuned for the table.
func score(dir string) error {
	fmt.Fprintln(os.Stderr, "tuning voting and threshold, half a minute")
	t, err := accuracy.Tune()
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "playing", dir)
	scores, err := accuracy.ScoreTrace(dir, nhiprocessor.NewFactory(), []accuracy.Maker{t.Voting, t.Threshold})
	if err != nil {
		return err
	}
	print(scores)
	return nil
}

// print writes the scores, one method a line, and below them how often faults that are not the network's were
// held against it, and how often nhi named the right cause.
func print(scores []*accuracy.Score) {
	methods := []string{"nhi", "voting", "threshold"}
	share := func(s accuracy.Share) string {
		if s.Of == 0 {
			return "-"
		}
		return fmt.Sprintf("%.4f (%d of %d)", s.Rate(), s.Hits, s.Of)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "method\trecall\tat least\tprecision\tcomponent\tnames\tclean: degraded\tclean: judged\tbelow the minimum: insufficient\tdetected in 2\tcleared in 4")
	for i, s := range scores {
		names := "-"
		if s.Component.Of > 0 {
			names = fmt.Sprintf("%.2f", float64(s.Set)/float64(s.Component.Of))
		}
		fmt.Fprintf(w, "%s\t%s\t%.4f\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", methods[i], share(s.Recall), s.Recall.Lower(), share(s.Precision()), share(s.Component), names,
			share(s.Clean), share(s.Judged), share(s.Below), share(accuracy.Within(s.Detected, 2)), share(accuracy.Within(s.Cleared, 4)))
	}
	_ = w.Flush()
	fmt.Printf("\neligible windows in which nhi says insufficient_data: %d\nfull windows until nhi detected a fault, 0 to 10 and never: %v; until it was clear: %v\n", scores[0].Insufficient.Hits, scores[0].Detected, scores[0].Cleared)
	kinds := map[accuracy.Kind]bool{}
	for _, s := range scores {
		for k := range s.Other {
			kinds[k] = true
		}
	}
	if len(kinds) == 0 {
		return
	}
	fmt.Println()
	w = tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "other fault\tdegraded: nhi\tvoting\tthreshold\tnhi: right cause\tof those it names")
	of := func(m map[accuracy.Kind]*accuracy.Share, k accuracy.Kind) string {
		if m[k] == nil {
			return "-"
		}
		return share(*m[k])
	}
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		fmt.Fprint(w, k)
		for _, s := range scores {
			fmt.Fprint(w, "\t", of(s.Other, k))
		}
		fmt.Fprintln(w, "\t"+of(scores[0].Cause, k)+"\t"+of(scores[0].Named, k))
	}
	_ = w.Flush()
}
