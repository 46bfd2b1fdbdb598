// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package verdict_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/cputime"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/verdict"
)

// BenchmarkDecideAtScale decides windows of 10,000 components and 1,000 monitors: 6,600 hosts in 3,300
// subnets behind attachments of their own, each of which talks to eight others, both ends observed.
func BenchmarkDecideAtScale(b *testing.B) {
	for _, faulty := range []bool{false, true} {
		b.Run(map[bool]string{false: "clean", true: "one faulty gateway"}[faulty], func(b *testing.B) {
			const sites, monitors, peers, gateways = 3300, 1000, 8, 20
			rng := rand.New(rand.NewPCG(1, 1))
			table := evidence.NewTable(evidence.Limits{Flows: 1 << 20, Components: 1 << 16, Monitors: monitors})
			w := evidence.NewWindow()
			add := func(from, to int, role evidence.Role, segments int) {
				a, z := from/2, to/2
				path := []string{fmt.Sprint("subnet/", a), fmt.Sprint("transit_gateway_attachment/", a)}
				gateway := (a%gateways + z%gateways) % gateways
				if a != z {
					path = append(path, fmt.Sprint("transit_gateway/", gateway), fmt.Sprint("transit_gateway_attachment/", z),
						fmt.Sprint("vpc/", min(a, z)%3300), fmt.Sprint("subnet/", z))
				}
				key, _, refusal := table.Lookup(&evidence.Identity{
					LocalHost: fmt.Sprint("i-", from), RemoteHost: fmt.Sprint("i-", to), Category: flowattr.CategoryInterVPC, Role: role,
					LocalVPC: fmt.Sprint("vpc-", a), RemoteVPC: fmt.Sprint("vpc-", z), Path: path, Monitors: []string{fmt.Sprint("m", a%monitors)},
				})
				require.Equal(b, evidence.Accepted, refusal)
				c := w.Row(key, math.MaxInt)
				c.Add(evidence.Segments, uint64(segments))
				rate := 2e-4
				if faulty && a != z && gateway == 7 {
					rate = 0.02
				}
				for range segments {
					if rng.Float64() < rate {
						c.Add(evidence.Retransmitted, 1)
					}
				}
				c.AddTimes(40, uint64(segments/2))
			}
			for from := range 2 * sites {
				for range peers {
					to := rng.IntN(2 * sites)
					if to == from {
						continue
					}
					add(from, to, evidence.RoleClient, 100)
					add(to, from, evidence.RoleServer, 200)
				}
			}
			_, components := table.Sizes()
			j := verdict.NewJudge(verdict.Config{FalseAlarmRate: 1e-4, Memory: time.Hour, Monitors: monitors})
			end := time.Unix(1_800_000_000, 0)
			for range 4 {
				end = end.Add(time.Minute)
				j.Decide(w, end)
			}
			b.ReportAllocs()
			// How long a decision takes is the time of its own thread, without those of the garbage collector.
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			var own []time.Duration
			var watch cputime.Stopwatch
			for b.Loop() {
				watch.Start()
				began := cputime.Thread()
				end = end.Add(time.Minute)
				if d := j.Decide(w, end); len(d.Monitors) != monitors {
					b.Fatal(len(d.Monitors))
				}
				own = append(own, cputime.Thread()-began)
				watch.Stop(1)
			}
			slices.Sort(own)
			b.ReportMetric(float64(own[len(own)/2].Nanoseconds()), "median-thread-ns/window")
			b.ReportMetric(float64(own[len(own)/10].Nanoseconds()), "p10-thread-ns/window")
			b.ReportMetric(float64(components), "components")
			b.ReportMetric(float64(len(w.Rows)), "rows")
			watch.Report(b, "window")
		})
	}
}
