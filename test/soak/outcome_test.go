// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package soak

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/rounds"
)

// outcome is what a run has shown.
type outcome struct {
	began      time.Time
	length     time.Duration
	cycles     int
	apps       map[string]netlab.Report
	processes  []*history
	routines   []string
	rounds     int // that agents have made
	points     int
	retrans    int64
	kernel     int64 // retransmissions by /proc/net/snmp of the hosts
	kills      int
	killed     int     // rounds that were in a killed gateway
	refused    int     // points of rounds that found no room in a queue
	said       float64 // points that the gateways said were lost
	again      int
	refusals   int // requests that the backend refused
	verdicts   map[string]int
	unenriched int
}

// killSlack is how long before a kill a round may have ended that was in the gateway then: it waits for the next one a
// second, and flowlimit's round_timeout at most; and how long it may take to get there.
const killSlack = 4 * time.Second

// account holds what the backend has against what the agents have sent. What is missing was in a gateway that was
// killed, or its gateway says that it was refused.
func (o *outcome) account(t *testing.T, f *faults) {
	t.Helper()
	var missing map[rounds.Key]int
	settled := time.Now() // rounds of the idle hosts go on
	unexplained := func() (n int) {
		o.killed, o.refused = 0, 0
		missing = f.backend.Missing(f.witness)
		perKill := map[[2]int]int{}
		hostsOf := map[string]int{}
		for key, points := range missing {
			if _, ok := hostsOf[key.Host]; !ok {
				hostsOf[key.Host] = len(hostsOf)
			}
			end := key.End.AsTime()
			if end.After(settled) {
				continue
			}
			kill := -1
			for i, at := range f.kills {
				if end.After(at.Add(-killSlack)) && end.Before(at) {
					kill = i
				}
			}
			full := false
			for _, span := range f.full {
				full = full || end.After(span[0].Add(-killSlack)) && end.Before(span[1])
			}
			switch {
			case kill >= 0:
				perKill[[2]int{kill, hostsOf[key.Host]}]++
				o.killed++
			case full:
				o.refused += points
			default:
				n++
			}
		}
		for _, rounds := range perKill {
			if rounds > heldRounds {
				n++
			}
		}
		return n
	}
	ok := assert.Eventually(t, func() bool { return unexplained() == 0 && float64(o.refused) == f.lostNow(t) }, patience, 200*time.Millisecond,
		"every point is at the backend, was in a gateway that was killed, or is counted as lost")
	if !ok {
		t.Logf("%d rounds were in a killed gateway, %d points found no room, %v by the gateways", o.killed, o.refused, f.lostNow(t))
		for key, points := range missing {
			t.Logf("%s, round of %s: %d points missing", key.Host, key.End.AsTime().Format(time.TimeOnly), points)
		}
		for _, at := range f.kills {
			t.Logf("killed at %s", at.UTC().Format(time.TimeOnly))
		}
		for _, span := range f.full {
			t.Logf("disk full from %s to %s", span[0].UTC().Format(time.TimeOnly), span[1].UTC().Format(time.TimeOnly))
		}
	}
	o.said, o.kills = f.lostNow(t), len(f.kills)
	require.Equal(t, o.cycles, len(f.kills))

	// What is there of a round is what the agent sent: point by point the same sums.
	sent, got := f.witness.Rounds(), f.backend.Rounds()
	for key, r := range sent {
		o.rounds++
		o.points += r.Points
		o.retrans += r.Sums[flowattr.MetricRetransmissions]
		if _, lost := missing[key]; lost {
			continue
		}
		if there, ok := got[key]; ok { // else it is one of the idle hosts' last
			assert.Equal(t, r.Sums, there.Sums, "%s, round of %v", key.Host, key.End.AsTime())
		}
	}
	for key := range got {
		assert.Contains(t, sent, key, "a round that no agent has made")
	}
	noted := f.backend.Noted()
	o.again, o.refusals, o.verdicts, o.unenriched = noted.Again, noted.Refused, noted.States, noted.Nowhere
	assert.Zero(t, o.unenriched, "points without a place, though the topology is known")
	assert.NotZero(t, o.refusals, "the backend was down")
	assert.NotZero(t, o.said, "the disk was full")
	assert.NotEmpty(t, o.verdicts)
}

// retransmitted is what the kernel has counted in a host's network (RetransSegs of RFC 4022).
func retransmitted(t *testing.T, n *netlab.Node) (segments int64) {
	t.Helper()
	var table []byte
	require.NoError(t, n.Do(func() (err error) {
		table, err = os.ReadFile("/proc/thread-self/net/snmp")
		return err
	}))
	var names []string
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if fields[0] != "Tcp:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		_, err := fmt.Sscan(fields[slices.Index(names, "RetransSegs")], &segments)
		require.NoError(t, err)
		return segments
	}
	t.Fatal("no Tcp: in /proc/net/snmp")
	return 0
}

// retransmissions holds the agent's count against the kernel's, in which are the connections of the agent itself.
// Those cross no link that loses, and one packet in a thousand of a busy machine is late.
func (o *outcome) retransmissions(t *testing.T, host string, kernel, agent int64) {
	t.Helper()
	o.kernel += kernel
	assert.LessOrEqual(t, agent, kernel, "%s: retransmissions", host)
	assert.GreaterOrEqual(t, agent, kernel-kernel/50-10, "%s: retransmissions", host)
}

// goroutines ends all collectors, and then as many new ones after some rounds, and compares how many goroutines they had.
func (o *outcome) goroutines(t *testing.T, f *faults) {
	t.Helper()
	aged := map[string]int{}
	for name, p := range f.running() {
		f.forget(name)
		aged[name] = p.Abort(t)
	}
	f.start(t)
	l := startLoad(t, f.fleet)
	f.caughtUp(t)
	l.end(t)
	for name, p := range f.running() {
		f.forget(name)
		young := p.Abort(t)
		assert.InDelta(t, young, aged[name], mayVary, "%s: goroutines at the end, and of one that has just started", name)
		o.routines = append(o.routines, fmt.Sprintf("| %s | %d | %d |", name, young, aged[name]))
	}
}

// flat holds each process's later usage against its earlier.
func (o *outcome) flat(t *testing.T) {
	t.Helper()
	for _, h := range o.processes {
		if h.life() < 20*time.Second {
			continue // it was killed, or had just replaced one that was
		}
		name := fmt.Sprintf("%s (%d)", h.host, h.pid)
		later, bound := h.later(), mayGrow
		if h.life() < fledged {
			bound = mayGrowYoung
		}
		assert.LessOrEqual(t, h.growth(anon), float64(bound), "%s: memory gained", name)
		early, late := later[:len(later)/3], later[2*len(later)/3:]
		assert.LessOrEqual(t, most(late, fds), most(early, fds)+mayVary, "%s: descriptors", name)
		assert.LessOrEqual(t, most(late, threads), most(early, threads)+mayVary, "%s: threads", name)
	}
}

func (o *outcome) String() string {
	var b strings.Builder
	app := sumOf(o.apps)
	fmt.Fprintf(&b, "%s, %v, %d times all faults; %s, %d CPUs.\n\n", o.began.UTC().Format(time.DateOnly), o.length.Round(time.Second), o.cycles, runtime.Version(), runtime.NumCPU())
	fmt.Fprintf(&b, "| what | |\n| --- | --- |\n")
	fmt.Fprintf(&b, "| connections of the applications: attempted, opened, failed | %d, %d, %d |\n", app.Attempted, app.Opened, app.Failed)
	fmt.Fprintf(&b, "| bytes written and read by the clients | %d, %d |\n", app.Written, app.Read)
	fmt.Fprintf(&b, "| the same by the agents | equal |\n")
	fmt.Fprintf(&b, "| segments retransmitted, by the agents; by the kernel of the hosts, which counts the agents' own connections too | %d; %d |\n", o.retrans, o.kernel)
	fmt.Fprintf(&b, "| rounds of the agents, points in them | %d, %d |\n", o.rounds, o.points)
	fmt.Fprintf(&b, "| rounds that a killed gateway took with it: of %d kills, at most %d each | %d |\n", o.kills, heldRounds*len(o.apps)+heldRounds, o.killed)
	fmt.Fprintf(&b, "| points that found no room in the queue; the same as the gateways counted them | %d, %.0f |\n", o.refused, o.said)
	fmt.Fprintf(&b, "| all other points at the backend, values equal | yes |\n")
	fmt.Fprintf(&b, "| points that came twice | %d |\n", o.again)
	fmt.Fprintf(&b, "| requests that the backend refused | %d |\n", o.refusals)
	fmt.Fprintf(&b, "| points without a place | %d |\n", o.unenriched)
	fmt.Fprintf(&b, "\n| process | lived | samples | anonymous memory, mean of the later three quarters | gained, by regression | largest | with mapped files, largest | descriptors: early, late | threads: early, late | CPU |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, h := range o.processes {
		if h.life() < 20*time.Second {
			continue
		}
		later := h.later()
		early, late := later[:len(later)/3], later[2*len(later)/3:]
		fmt.Fprintf(&b, "| %s | %v | %d | %.1f MiB | %+.1f MiB | %.1f MiB | %.1f MiB | %d, %d | %d, %d | %.1f %% |\n", h.host, h.life().Round(time.Second), len(h.samples),
			mean(later, anon)/(1<<20), h.growth(anon)/(1<<20), float64(most(h.samples, anon))/(1<<20), float64(most(h.samples, rss))/(1<<20),
			most(early, fds), most(late, fds), most(early, threads), most(late, threads), 100*h.cpu.Seconds()/h.life().Seconds())
	}
	fmt.Fprintf(&b, "\n| goroutines of | one that has just started | one at the end |\n| --- | --- | --- |\n%s\n", strings.Join(o.routines, "\n"))
	return b.String()
}

const begin, end = "<!-- soak -->\n", "<!-- end soak -->"

// write puts the outcome into a document, between its marks.
func (o *outcome) write(path string, failed bool) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, more := strings.Cut(rest, end)
	if !ok || !more {
		return fmt.Errorf("%s: no %q … %q", path, begin, end)
	}
	said := o.String()
	if failed {
		said = "**This run has failed.**\n\n" + said
	}
	return os.WriteFile(path, []byte(before+begin+said+end+after), 0o644)
}
