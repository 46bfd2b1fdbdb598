// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package verdict_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/fleet"
)

// Loss on all that crosses the gateway is the network's, unless it comes with far more traffic than usual,
// which those who take no part in it do not lose of. Each pair's traffic varies from window to window.
func TestLossThatComesWithACrowdIsItsOwn(t *testing.T) {
	crosses := func(f *fleet.Flow) bool { return slices.Contains(f.Components, tgw) }
	const (
		degraded    = flowattr.StateDegraded + " " + flowattr.CauseNetwork
		application = flowattr.StateHealthy + " " + flowattr.CauseApplication
	)
	for _, tt := range []struct {
		name string
		vary float64 // of the logarithm of a pair's traffic
		load func(f *fleet.Flow, client int) float64
		want string
		rest int // clients that begin with the fault
	}{
		{"two and a half times the traffic is a crowd", 0.3, func(*fleet.Flow, int) float64 { return 2.5 }, application, 0},
		{"three times the traffic is a crowd", 0.3, func(*fleet.Flow, int) float64 { return 3 }, application, 0},
		{"four times the traffic of pairs that vary much is a crowd", 0.5, func(*fleet.Flow, int) float64 { return 4 }, application, 0},
		{"eight times the traffic is a crowd", 0.3, func(*fleet.Flow, int) float64 { return 8 }, application, 0},
		{"half as much traffic again is no crowd", 0.3, func(*fleet.Flow, int) float64 { return 1.5 }, degraded, 0},
		{"the usual traffic of pairs that vary much is no crowd", 0.6, func(*fleet.Flow, int) float64 { return 1 }, degraded, 0},
		{"one client of six with eight times its traffic is no crowd of the others", 0.3, func(_ *fleet.Flow, client int) float64 {
			if client == 0 {
				return 8
			}
			return 1
		}, degraded, 0},
		{"many new clients are no crowd of the others that lose, too", 0.3, func(*fleet.Flow, int) float64 { return 1 }, degraded, 12},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const seeds, known, windows = 10, 20, 12
			wrong, judged := 0, 0
			for seed := range uint64(seeds) {
				f, clients, servers := fleet.TwoVPCs(seed, 6, 10)
				rng := rand.New(rand.NewPCG(seed, 2))
				type traffic struct{ up, down float64 }
				usual := map[*fleet.Flow]traffic{}
				for _, flow := range f.Flows {
					usual[flow] = traffic{flow.Up, flow.Down}
				}
				vary := func(load func(*fleet.Flow) float64) {
					for _, flow := range f.Flows {
						x := load(flow) * math.Exp(tt.vary*rng.NormFloat64())
						flow.Up, flow.Down = x*usual[flow].up, x*usual[flow].down
					}
				}
				c := newCourt()
				for range known {
					vary(func(*fleet.Flow) float64 { return 1 })
					require.NotEqual(t, flowattr.StateDegraded, of(t, c.decide(f.Window()), "web").State)
				}
				if tt.rest > 0 {
					f.Connect(f.AddHosts(tt.rest, "new", "vpc-a", "subnet-a", "az1"), servers, 600, 3000, []string{"web"}, tgw)
					for _, flow := range f.Flows {
						if _, is := usual[flow]; !is {
							usual[flow] = traffic{flow.Up, flow.Down}
						}
					}
				}
				f.Faults = []fleet.Fault{fleet.On(tgw, fleet.Loss{Rate: 0.02, Burst: 3})}
				for i := range windows {
					vary(func(flow *fleet.Flow) float64 {
						if !crosses(flow) {
							return 1
						}
						return tt.load(flow, slices.Index(clients, flow.Client))
					})
					m := of(t, c.decide(f.Window()), "web")
					if i < 2 {
						continue
					}
					judged++
					if m.State+" "+m.Cause != tt.want {
						wrong++
					}
				}
			}
			// The seeds are fixed: one in fifty may be off, by chance.
			assert.LessOrEqual(t, wrong, judged/50, "of %d", judged)
		})
	}
}
