// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package accuracy

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Seeds of the table start here: no fleet of these seeds is looked at while the method is worked on.
const tableSeed = 20_000

// Row is a line of the table: several cells scored together.
type Row struct {
	Name  string
	Cells []Cell
	Seeds int // of each cell
	Plan  Plan
}

// shapes are the fleets of up to 30 hosts that cells take in turn.
var shapes = []Shape{
	{Hosts: 24, AZs: 3, VPCs: 2, Tail: 1.5, Services: true},
	{Hosts: 30, AZs: 3, VPCs: 2, Tail: 1.2, Lazy: 0.1, Services: true},
	{Hosts: 20, AZs: 4, VPCs: 1, Even: true, Services: true},
	{Hosts: 30, AZs: 3, VPCs: 2, Tiered: true, Tail: 2, Services: true},
	{Hosts: 28, AZs: 2, VPCs: 3, Tail: 1.5, Services: true},
}

// volume is how many segments a window a cell needs on average, so that its busiest monitors
// have what makes a window eligible: several monitors share a component, and three effective hosts at each side
// want five bursts each.
func volume(least, loss, burst float64) float64 {
	return max(1.5*least, 12*5*burst/loss)
}

// cells makes one cell of each kind, with other faults and shapes in turn.
func cells(kinds []Kind, loss, burst, noise, least float64, turn int) (out []Cell) {
	for i, k := range kinds {
		shape := shapes[(i+turn)%len(shapes)]
		if (k == Gateway || k == Endpoint) && shape.VPCs == 1 {
			shape = shapes[0]
		}
		// What many monitors and subnets share is divided among them.
		share := 1.0
		if k == Gateway || k == Subnet || k == OnePath || k == Several {
			share = 3
		}
		out = append(out, Cell{
			Shape: shape, Network: k, Other: OtherKinds[(i+3*turn)%len(OtherKinds)], Loss: loss, Burst: burst,
			Segments: share * volume(least, loss, burst), Noise: Noise{Rate: noise, Burst: burst},
		})
	}
	return out
}

// Healthy flows that lose unlike: of nine in ten, the worst twelve times what the best does, and within a
// zone a tenth of what is lost between VPCs.
const (
	unlikePairs      = 0.75
	unlikeCategories = 10
)

// fewLoss is lost on one path of four where pairs have one or two connections: each pair by itself has to
// show whether it is on that path, with the segments that fleets of that size have.
const fewLoss = 0.025

// lossKinds are the network's faults that lose segments.
var lossKinds = []Kind{AZPair, Gateway, Subnet, Endpoint, OnePath, Direction}

// large gives the cells of a large fleet.
func large(hosts, azs, vpcs, peers int, segments float64) (out []Cell) {
	for i, k := range []Kind{AZPair, Gateway, Subnet, Delay25} {
		out = append(out, Cell{
			Shape:   Shape{Hosts: hosts, AZs: azs, VPCs: vpcs, Peers: peers, Tail: 1.3, Lazy: 0.2, Services: true},
			Network: k, Other: []Kind{HostInterface, Service, FlashTier, Shaping}[i], Loss: 0.005, Burst: 3,
			Segments: segments, Noise: Noise{Rate: 0.001, Burst: 3},
		})
	}
	return out
}

// Table is all rows. scale divides the number of seeds: 1 is the full table.
func Table(scale int) (rows []Row) {
	add := func(name string, seeds int, plan Plan, c ...Cell) {
		rows = append(rows, Row{Name: name, Cells: c, Seeds: max(1, seeds/scale), Plan: plan})
	}
	for i, burst := range []float64{1, 3, 10} {
		add(fmt.Sprintf("0.5 %%, background 0.1 %%, bursts of %g", burst), 16, DefaultPlan, cells(lossKinds, 0.005, burst, 0.001, 10_000, i)...)
	}
	for i, loss := range []float64{0.01, 0.05} {
		add(fmt.Sprintf("%g %%, background a fifth, bursts of 3", 100*loss), 8, DefaultPlan, cells(lossKinds, loss, 3, loss/5, 10_000, i+3)...)
	}
	for i, burst := range []float64{1, 3, 10} {
		add(fmt.Sprintf("0.1 %%, background 0.02 %%, bursts of %g", burst), 6, DefaultPlan, cells(lossKinds, 0.001, burst, 0.0002, 1_000_000, i)...)
	}
	add("delay + 25 %", 110, DefaultPlan, cells([]Kind{Delay25}, 0.005, 3, 0.001, 10_000, 0)...)
	add("delay + 100 %", 60, DefaultPlan, cells([]Kind{Delay100}, 0.005, 3, 0.001, 10_000, 1)...)
	slow := cells([]Kind{Delay100}, 0.005, 3, 0.001, 10_000, 0)
	slow[0].Ramp = 40
	add("delay + 100 %, growing over 40 windows", 8, Plan{Clean: 12, Fault: 52}, slow...)
	ramp := cells([]Kind{AZPair}, 0.01, 3, 0.001, 10_000, 0)
	ramp[0].Ramp, ramp[0].Segments = 40, 60_000
	add("1 %, growing over 40 windows", 8, Plan{Clean: 12, Fault: 52}, ramp...)
	add("5 %, background 1 % (ten times what is assumed)", 8, DefaultPlan, cells(lossKinds, 0.05, 3, 0.01, 10_000, 1)...)
	timedOut := cells(lossKinds, 0.01, 3, 0.001, 10_000, 2)
	for i := range timedOut {
		timedOut[i].Resets = 0.3
	}
	add("1 %, and 30 % of the connections time out", 8, DefaultPlan, timedOut...)
	loaded := cells(lossKinds, 0.005, 3, 0.001, 10_000, 4)
	for i := range loaded {
		loaded[i].Load = 1.5
	}
	add("0.5 %, with half as much traffic again", 8, DefaultPlan, loaded...)
	add("0.5 %, at several components at once", 16, DefaultPlan, cells([]Kind{Several, Several, Several}, 0.005, 3, 0.001, 10_000, 0)...)
	add("delay + 100 %, at several components at once", 16, DefaultPlan, cells([]Kind{SlowMany, SlowMany, SlowMany}, 0.005, 3, 0.001, 10_000, 1)...)
	many := make([]Cell, 0, len(shapes))
	for _, shape := range shapes {
		many = append(many, Cell{Shape: shape, Other: SeveralHosts, Loss: 0.02, Burst: 3, Segments: 40_000, Noise: Noise{Rate: 0.001, Burst: 3}})
	}
	add("2 %, at three hosts of ten", 10, DefaultPlan, many...)
	var crowds []Cell
	for i, times := range []float64{2.5, 3, 4, 5.5, 8} {
		for _, other := range []Kind{FlashTier, FlashCrowd} {
			crowds = append(crowds, Cell{
				Shape: shapes[i], Other: other, Loss: 0.02, Burst: 3, Crowd: times,
				Segments: 40_000, Noise: Noise{Rate: 0.001, Burst: 3},
			})
		}
	}
	add("2 %, in a crowd of 2.5 to 8 times the usual traffic", 8, DefaultPlan, crowds...)
	for i, burst := range []float64{1, 3, 10} {
		c := Cell{Shape: shapes[i], Burst: burst, Segments: 40_000, Noise: Noise{Rate: 0.001, Burst: burst}}
		c.Shape.Lazy = 0.2
		add(fmt.Sprintf("clean, background 0.1 %%, bursts of %g", burst), 40, DefaultPlan, c)
	}
	for _, n := range []int{1, 2} {
		few := cells([]Kind{OnePath, OnePath, OnePath}, fewLoss, 3, 0.001, 10_000, n)
		for i := range few {
			few[i].Shape.Conns, few[i].Segments = n, 200_000
		}
		add(fmt.Sprintf("one path of four, %g %%, %d connection(s) a pair", 100*fewLoss, n), 12, DefaultPlan, few...)
	}
	unlike := cells(lossKinds, 0.005, 3, 0.001, 10_000, 2)
	for i := range unlike {
		unlike[i].Noise.Pairs, unlike[i].Noise.Categories = unlikePairs, unlikeCategories
	}
	add("0.5 %, pairs and categories lose unlike", 8, DefaultPlan, unlike...)
	var clean []Cell
	for i, s := range shapes {
		s.Replication, s.Elephant = []float64{0, 20, 0, 20, 0}[i], []float64{0, 0, 5, 5, 1}[i]
		clean = append(clean, Cell{Shape: s, Segments: 40_000, Noise: Noise{Rate: 0.001, Burst: 3, Pairs: unlikePairs, Categories: unlikeCategories}})
	}
	add("clean, pairs and categories lose unlike, heavy pairs and subnets", 16, DefaultPlan, clean...)
	add("200 hosts, 0.5 %", 7, DefaultPlan, large(200, 4, 2, 20, 400_000)...)
	add("2,000 hosts, 0.5 %", 3, DefaultPlan, large(2000, 6, 4, 8, 4_000_000)...)
	return rows
}

// Play plays a row.
func (r Row) Play(makers []Maker, watch func(cell int, seed uint64, monitor string, t *Truth, a Answer)) []*Score {
	out := make([]*Score, len(makers))
	for i := range out {
		out[i] = NewScore()
	}
	for i, c := range r.Cells {
		for m, s := range Run(c, r.Plan, tableSeed+1000*i, r.Seeds, makers, func(seed uint64, monitor string, t *Truth, a Answer) {
			if watch != nil {
				watch(i, seed, monitor, t, a)
			}
		}) {
			out[m].add(s)
		}
	}
	return out
}

// WriteTable plays the rows and writes them as they are done.
func WriteTable(w io.Writer, rows []Row, watch func(cell int, seed uint64, monitor string, t *Truth, a Answer)) (total *Score, err error) {
	began := time.Now()
	t, err := Tune()
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(w, "Baselines tuned on seeds from %d: voting with a share of %g and %g of the flows, threshold %g %%. Table seeds from %d.\n\n",
		calibrationSeed, t.Share, t.VoteRatio, 100*t.Ratio, tableSeed)
	fmt.Fprintln(w, "| row | recall | precision | component (names) | other faults: degraded | clean: degraded | detected ≤ 2 | cleared ≤ 4 | F1 | voting F1 (others, clean) | threshold F1 (others, clean) |")
	fmt.Fprintln(w, "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	total = NewScore()
	for _, r := range rows {
		s := r.Play([]Maker{NewNHI, t.Voting, t.Threshold}, watch)
		total.add(s[0])
		other := func(s *Score) string {
			return fmt.Sprintf("%s (%s, %s)", number(s.F1()), number(s.AllOther().Rate()), number(s.Clean.Rate()))
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", r.Name, s[0].Recall.atLeast(), s[0].Precision().atLeast(),
			component(s[0]), s[0].AllOther().atMost(), s[0].Clean.atMost(), Within(s[0].Detected, 2).atLeast(), Within(s[0].Cleared, 4).atLeast(),
			number(s[0].F1()), other(s[1]), other(s[2]))
	}
	fmt.Fprintln(w, "\n| network fault | recall |")
	fmt.Fprintln(w, "| --- | --- |")
	for _, k := range NetworkKinds {
		fmt.Fprintf(w, "| `%s` | %s |\n", k, of(total.Network, k).atLeast())
	}
	fmt.Fprintln(w, "\n| other fault | degraded | a right cause is named, of windows that are judged | of those that name a cause |")
	fmt.Fprintln(w, "| --- | --- | --- | --- |")
	for _, k := range append(slices.Clone(OtherKinds), SeveralHosts) {
		fmt.Fprintf(w, "| `%s` | %s | %s | %s |\n", k, of(total.Other, k).atMost(), of(total.Cause, k).atLeast(), of(total.Named, k).atLeast())
	}
	fmt.Fprintf(w, "\nAll: recall %s, precision %s, component %s, other faults %s, clean %s; of windows below the minimum %s are insufficient_data, of clean windows %s are judged. Full windows until detected: %v, until cleared: %v. %s.\n",
		total.Recall.atLeast(), total.Precision().atLeast(), component(total), total.AllOther().atMost(), total.Clean.atMost(),
		number(total.Below.Rate()), number(total.Judged.Rate()), total.Detected, total.Cleared, time.Since(began).Round(time.Second))
	return total, nil
}

func component(s *Score) string {
	if s.Component.Of == 0 {
		return "—"
	}
	return fmt.Sprintf("%s (%.2f)", s.Component.atLeast(), float64(s.Set)/float64(s.Component.Of))
}

// number writes a share with the digits that it has.
func number(x float64) string {
	out := strings.TrimRight(fmt.Sprintf("%.5f", x), "0")
	return strings.TrimSuffix(out, ".")
}

func (s Share) atLeast() string {
	if s.Of == 0 {
		return "—"
	}
	return fmt.Sprintf("%s ≥ %s (%d)", number(s.Rate()), number(s.Lower()), s.Of)
}

func (s Share) atMost() string {
	if s.Of == 0 {
		return "—"
	}
	return fmt.Sprintf("%s ≤ %s (%d)", number(s.Rate()), number(s.Upper()), s.Of)
}
