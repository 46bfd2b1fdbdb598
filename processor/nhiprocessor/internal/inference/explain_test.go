// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package inference_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/fleet"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/inference"
)

const rate = 1e-4

// suspects lists the explanation as sorted "kind names".
func suspects(e *inference.Explanation) (out []string) {
	for _, s := range e.Suspects {
		out = append(out, fmt.Sprint(s.Kind, " ", strings.Join(s.Names, "+")))
	}
	slices.Sort(out)
	return out
}

// Chance alone is to blame the network in no more than the wanted share of windows, whatever
// the traffic and however bursty the background.
func TestFalseAlarms(t *testing.T) {
	for _, background := range []fleet.Loss{
		{Rate: 1e-5, Burst: 1}, {Rate: 1e-4, Burst: 3}, {Rate: 1e-3, Burst: 1}, {Rate: 1e-3, Burst: 3}, {Rate: 1e-3, Burst: 10},
	} {
		t.Run(fmt.Sprintf("background of %g in bursts of %g", background.Rate, background.Burst), func(t *testing.T) {
			t.Parallel()
			const seeds, each = 40, 50
			network, end, undetermined := 0, 0, 0
			for seed := range uint64(seeds) {
				scale := []float64{0.1, 1, 10}[seed%3]
				f, _ := fleet.ThreeAZs(seed, 3, scale)
				if seed%2 == 0 {
					f, _, _ = fleet.TwoVPCs(seed, 4, scale)
				}
				f.Background = background
				var b inference.Baseline
				for range each {
					e := inference.Explain(fleet.Problem(f.Window()), rate, &b)
					for _, s := range e.Suspects {
						switch s.Kind {
						case inference.Network:
							network++
						case inference.Undetermined:
							undetermined++
						default:
							end++
						}
					}
				}
			}
			// 2,000 windows at a wanted rate of 10⁻⁴: more than two are wrong with a chance of
			// one in a thousand.
			assert.LessOrEqual(t, network, 2, "the network is blamed")
			assert.LessOrEqual(t, end, 2, "an end is blamed")
			assert.LessOrEqual(t, undetermined, each, "something is left undetermined, which costs the verdict of one window in forty")
		})
	}
}

// While nothing is known of the background, the prior has to hold the rate, too, also where
// the background is at its upper end and burstier than assumed.
func TestFalseAlarmsOfFirstWindows(t *testing.T) {
	network, windows := 0, 0
	for seed := range uint64(3000) {
		scale := []float64{0.1, 1, 10}[seed%3]
		f, _ := fleet.ThreeAZs(seed, 3, scale)
		if seed%2 == 0 {
			f, _, _ = fleet.TwoVPCs(seed, 4, scale)
		}
		f.Background = fleet.Loss{Rate: 1e-3, Burst: 10}
		var b inference.Baseline
		for range 2 {
			windows++
			for _, s := range inference.Explain(fleet.Problem(f.Window()), rate, &b).Suspects {
				if s.Kind == inference.Network {
					network++
				}
			}
		}
	}
	assert.LessOrEqual(t, network, windows/1000)
}

// Two hosts at each side cannot be told from the network: nobody is blamed.
func TestWhatCannotBeToldStaysUndetermined(t *testing.T) {
	undetermined := 0
	for seed := range uint64(20) {
		f, _, _ := fleet.TwoVPCs(seed, 2, 5)
		f.Faults = []fleet.Fault{fleet.On("transit_gateway/tgw-1", fleet.Loss{Rate: 0.05, Burst: 1})}
		var b inference.Baseline
		for _, s := range inference.Explain(fleet.Problem(f.Window()), rate, &b).Suspects {
			require.Equal(t, inference.Undetermined, s.Kind, "%v", s.Names)
			undetermined++
		}
	}
	assert.Equal(t, 20, undetermined)
}

func TestTheOrderOfRowsDoesNotMatter(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for seed := range uint64(10) {
		f, clients, _ := fleet.TwoVPCs(seed, 4, 2)
		f.Faults = []fleet.Fault{fleet.On("transit_gateway/tgw-1", fleet.Loss{Rate: 0.03, Burst: 2}), fleet.AtHost(clients[0], fleet.Loss{Rate: 0.05, Burst: 1})}
		p := fleet.Problem(f.Window())
		var b1, b2 inference.Baseline
		want := inference.Explain(p, rate, &b1)
		require.NotEmpty(t, want.Suspects)
		rng.Shuffle(len(p.Rows), func(i, j int) { p.Rows[i], p.Rows[j] = p.Rows[j], p.Rows[i] })
		got := inference.Explain(p, rate, &b2)
		assert.Equal(t, suspects(want), suspects(got))
		for i := range want.Suspects {
			assert.InDelta(t, want.Suspects[i].Confidence, got.Suspects[i].Confidence, 1e-9)
		}
	}
}

func TestBlameIsARowsOwnSuspect(t *testing.T) {
	f, clients, _ := fleet.TwoVPCs(3, 5, 4)
	f.Faults = []fleet.Fault{fleet.On("transit_gateway/tgw-1", fleet.Loss{Rate: 0.03, Burst: 1}), fleet.AtHost(clients[0], fleet.Loss{Rate: 0.05, Burst: 1})}
	p := fleet.Problem(f.Window())
	var b inference.Baseline
	e := inference.Explain(p, rate, &b)
	require.Len(t, e.Suspects, 2)
	seen := map[int32]bool{}
	for i, s := range e.Suspects {
		var n, k float64
		for _, r := range s.Rows {
			assert.Equal(t, int32(i), e.Blame[r])
			assert.False(t, seen[r], "row %d has two suspects", r)
			seen[r] = true
			n += p.Rows[r].Segments
			k += p.Rows[r].Lost
		}
		assert.Equal(t, s.Segments, n)
		assert.Equal(t, s.Lost, k)
		assert.InDelta(t, k/n, s.Rate, 1e-12)
		assert.Greater(t, s.Confidence, 0.5)
		assert.LessOrEqual(t, s.Confidence, 1.0)
	}
	for i, blame := range e.Blame {
		assert.Equal(t, blame >= 0, seen[int32(i)])
	}
	assert.Less(t, e.Background, 1e-3, "the background is that of the rows that nothing is blamed for")
}

func TestAnEmptyOrHopelessProblemHasNoSuspects(t *testing.T) {
	for name, p := range map[string]*inference.Problem{
		"no rows": {},
		"rows without segments": {
			Hosts: []string{"instance/a", "instance/b"}, Components: []string{"subnet/s"}, Classes: []inference.Class{{Components: []int32{0}, Palindrome: true}},
			Rows: []inference.Row{{Local: 0, Remote: 1, Service: -1, Forward: true}},
		},
		"a path without components, all lost": {
			Hosts: []string{"instance/a", "instance/b"}, Classes: []inference.Class{{}},
			Rows: []inference.Row{{Segments: 3, Lost: 3, Local: 0, Remote: 1, Service: -1, Forward: true}},
		},
		"a host that talks to itself": {
			Hosts: []string{"instance/a"}, Components: []string{"subnet/s"}, Classes: []inference.Class{{Components: []int32{0}, Palindrome: true}},
			Rows: []inference.Row{{Segments: 100, Lost: 0, Service: -1, Forward: true}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var b inference.Baseline
			e := inference.Explain(p, rate, &b)
			assert.Empty(t, e.Suspects)
			assert.Len(t, e.Blame, len(p.Rows))
		})
	}
}

// The more is known of a low background, the less evidence is enough to call a host observed.
func TestBaselineSharpens(t *testing.T) {
	f, _, _ := fleet.TwoVPCs(1, 3, 1)
	var b inference.Baseline
	first := inference.Explain(fleet.Problem(f.Window()), rate, &b)
	var last *inference.Explanation
	for range 30 {
		last = inference.Explain(fleet.Problem(f.Window()), rate, &b)
	}
	assert.Less(t, last.Background, first.Background)
	assert.LessOrEqual(t, last.Enough, first.Enough)
	assert.Greater(t, last.Enough, 50.0, "the reference loss of 1.5 % has to show")
}

// A smaller wanted rate of false alarms asks for more evidence.
func TestEnoughEvidenceFollowsFromTheWantedRate(t *testing.T) {
	f, _, _ := fleet.TwoVPCs(1, 3, 1)
	p := fleet.Problem(f.Window())
	before := 0.0
	for _, wanted := range []float64{1e-3, 1e-4, 1e-6, 1e-8} {
		var b inference.Baseline
		e := inference.Explain(p, wanted, &b)
		assert.Greater(t, e.Enough, before, "at a rate of %g", wanted)
		before = e.Enough
	}
}

func TestStrangersAreWeighedAsRivals(t *testing.T) {
	// Hardly any traffic crosses the subnets but not the gateway: it can be either.
	f, _, _ := fleet.TwoVPCs(5, 4, 3)
	for _, flow := range f.Flows {
		if flow.Client.Subnet == flow.Server.Subnet {
			flow.Up, flow.Down = 1, 1
		}
	}
	f.Faults = []fleet.Fault{fleet.On("transit_gateway/tgw-1", fleet.Loss{Rate: 0.03, Burst: 1})}
	var b inference.Baseline
	e := inference.Explain(fleet.Problem(f.Window()), rate, &b)
	require.Len(t, e.Suspects, 1)
	assert.Equal(t, inference.Network, e.Suspects[0].Kind)
	assert.Less(t, e.Suspects[0].Confidence, 0.9)
	require.NotEmpty(t, e.Suspects[0].Alternatives)
	for _, names := range e.Suspects[0].Alternatives {
		assert.NotEqual(t, e.Suspects[0].Names, names, "another explanation")
	}
}
