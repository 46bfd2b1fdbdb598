// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package accuracy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/accuracy"
)

// small is a fleet on which a run takes a tenth of a second.
var small = accuracy.Shape{Hosts: 20, AZs: 2, VPCs: 2, Tail: 1.5, Services: true}

// The short form of make eval-nhi: every kind of fault on fleets that the table does not
// use. The targets hold here, too, up to what so few windows can show.
func TestTheVerdictsAreRight(t *testing.T) {
	total := accuracy.NewScore()
	for i, kind := range accuracy.NetworkKinds {
		c := accuracy.Cell{
			Shape: small, Network: kind, Other: accuracy.OtherKinds[i%len(accuracy.OtherKinds)], Loss: 0.005, Burst: 3, Segments: 120_000,
			Noise: accuracy.Noise{Rate: 0.001, Burst: 3},
		}
		if i%2 == 1 {
			c.Shape.Tiered = true
		}
		s := accuracy.Run(c, accuracy.DefaultPlan, 500+10*i, 3, []accuracy.Maker{accuracy.NewNHI}, nil)[0]
		assert.Positive(t, s.Recall.Of+s.Below.Of, kind)
		total.Recall.Add(s.Recall)
		total.Component.Add(s.Component)
		total.Clean.Add(s.Clean)
		other := s.AllOther()
		assert.Positive(t, other.Of, c.Other)
		assert.Zero(t, other.Hits, "%s sets the indicator", c.Other)
	}
	require.Greater(t, total.Recall.Of, 200, "there are windows to tell by")
	assert.GreaterOrEqual(t, total.Recall.Rate(), 0.98)
	assert.GreaterOrEqual(t, total.Component.Rate(), 0.97)
	assert.Zero(t, total.Clean.Hits)
}

// Healthy paths lose unlike, and some pairs have more to say than all others: neither is a fault, and
// faults are found beside.
func TestWhatHealthyPathsDifferByIsNoFault(t *testing.T) {
	noise := accuracy.Noise{Rate: 0.001, Burst: 3, Pairs: 0.75, Categories: 10}
	for name, shape := range map[string]accuracy.Shape{
		"pairs and categories lose unlike":                    {},
		"and one flow within a subnet is five times all else": {Elephant: 5},
		"and subnets replicate":                               {Replication: 20},
		"and both":                                            {Elephant: 5, Replication: 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := accuracy.Cell{Shape: small, Network: accuracy.AZPair, Other: accuracy.HostInterface, Loss: 0.01, Burst: 3, Segments: 120_000, Noise: noise}
			c.Shape.Elephant, c.Shape.Replication = shape.Elephant, shape.Replication
			s := accuracy.Run(c, accuracy.DefaultPlan, 700, 4, []accuracy.Maker{accuracy.NewNHI}, nil)[0]
			assert.Greater(t, s.Clean.Of, 500)
			assert.Zero(t, s.Clean.Hits, "clean windows are degraded")
			other := s.AllOther()
			assert.Zero(t, other.Hits)
			assert.Greater(t, s.Recall.Of, 20)
			assert.GreaterOrEqual(t, s.Recall.Rate(), 0.99)
		})
	}
}

// Hosts at fault at both sides leave no host clean, for all deal with some of them. Without traffic that stays on its
// side, it is what the others send to each other that shows it.
func TestSeveralHostsAreNotTheNetwork(t *testing.T) {
	for _, hosts := range []int{12, 20, 28} {
		t.Run(fmt.Sprint(hosts, " hosts"), func(t *testing.T) {
			t.Parallel()
			c := accuracy.Cell{
				Shape: accuracy.Shape{Hosts: hosts, AZs: 2, VPCs: 1, Even: true}, Network: accuracy.AZPair, Other: accuracy.SeveralHosts,
				Loss: 0.02, Burst: 3, Segments: 120_000, Noise: accuracy.Noise{Rate: 0.0005, Burst: 3},
			}
			s := accuracy.Run(c, accuracy.DefaultPlan, 1000, 8, []accuracy.Maker{accuracy.NewNHI}, nil)[0]
			other := s.AllOther()
			assert.Greater(t, other.Of, 200)
			assert.Zero(t, other.Hits)
			assert.Greater(t, s.Recall.Of, 100)
			assert.GreaterOrEqual(t, s.Recall.Rate(), 0.99)
		})
	}
}

// absurd plays windows in some of which one row is what cannot be.
type absurd struct {
	accuracy.Method
	window int
	make   func(o *accuracy.Observed)
}

func (a *absurd) Decide(window []accuracy.Observed) map[string]accuracy.Answer {
	if a.window++; a.window == 6 || a.window == 17 || a.window == 30 {
		window = slices.Clone(window)
		for i := range window {
			if window[i].Segments > 0 && window[i].Flow.Server.Service == "" {
				a.make(&window[i])
				break
			}
		}
	}
	return a.Method.Decide(window)
}

func TestOneAbsurdRowPoisonsNothing(t *testing.T) {
	for name, change := range map[string]func(o *accuracy.Observed){
		"segments":                   func(o *accuracy.Observed) { o.Segments = 1 << 50 },
		"segments that a link bears": func(o *accuracy.Observed) { o.Segments = 1 << 36 },
		"all of them lost":           func(o *accuracy.Observed) { o.Segments, o.Lost = 1<<36, 1<<36 },
		"half of them lost":          func(o *accuracy.Observed) { o.Segments, o.Lost = 1<<50, 1<<49 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := accuracy.Cell{
				Shape: small, Network: accuracy.AZPair, Other: accuracy.HostInterface, Loss: 0.01, Burst: 3, Segments: 120_000,
				Noise: accuracy.Noise{Rate: 0.0005, Burst: 3},
			}
			with := func() accuracy.Method { return &absurd{Method: accuracy.NewNHI(), make: change} }
			s := accuracy.Run(c, accuracy.DefaultPlan, 800, 3, []accuracy.Maker{with, accuracy.NewNHI}, nil)
			assert.Zero(t, s[0].Clean.Hits, "clean windows are degraded")
			other := s[0].AllOther()
			assert.Zero(t, other.Hits)
			assert.Greater(t, s[0].Recall.Of, 20)
			assert.GreaterOrEqual(t, s[0].Recall.Rate(), s[1].Recall.Rate()-0.1, "one window of ten has the absurd row")
			assert.GreaterOrEqual(t, s[0].Judged.Rate(), s[1].Judged.Rate()-0.05)
		})
	}
}

// Where two hosts have one connection, one bad path of four is some pairs of hosts, and the others are
// clean: still the network's, and no host's. Faults of hosts stay theirs.
func TestOneBadPathOfFewConnectionsIsTheNetworks(t *testing.T) {
	for _, conns := range []int{1, 2} {
		for i, other := range []accuracy.Kind{accuracy.HostInterface, accuracy.Receiver, accuracy.FlashTier} {
			t.Run(fmt.Sprintf("%d connection(s), then %s", conns, other), func(t *testing.T) {
				t.Parallel()
				c := accuracy.Cell{
					Shape:   accuracy.Shape{Hosts: 16, AZs: 2, VPCs: 1, Even: true, Conns: conns},
					Network: accuracy.OnePath, Other: other, Loss: 0.025, Burst: 3, Segments: 120_000, Noise: accuracy.Noise{Rate: 0.0005, Burst: 3},
				}
				s := accuracy.Run(c, accuracy.DefaultPlan, 900+10*i, 6, []accuracy.Maker{accuracy.NewNHI}, nil)[0]
				assert.Greater(t, s.Recall.Of, 20)
				assert.GreaterOrEqual(t, s.Recall.Rate(), 0.9)
				assert.Zero(t, s.Clean.Hits)
				others := s.AllOther()
				assert.Zero(t, others.Hits, "%s sets the indicator", other)
			})
		}
	}
}

// The published methods do worse on the same windows, so that the scorer can tell.
func TestTheBaselinesAreTold(t *testing.T) {
	c := accuracy.Cell{
		Shape: small, Network: accuracy.AZPair, Other: accuracy.HostInterface, Loss: 0.02, Burst: 3, Segments: 60_000,
		Noise: accuracy.Noise{Rate: 0.001, Burst: 3},
	}
	s := accuracy.Run(c, accuracy.DefaultPlan, 600, 3, []accuracy.Maker{
		accuracy.NewNHI, func() accuracy.Method { return accuracy.NewThreshold(0.003) }, func() accuracy.Method { return accuracy.NewVoting(0.02, 0.4) },
	}, nil)
	assert.Greater(t, s[1].AllOther().Hits, s[0].AllOther().Hits, "a ratio does not tell a host from the network")
	assert.Greater(t, s[0].F1(), s[1].F1())
	assert.Greater(t, s[0].F1(), s[2].F1())
}

// A written trace, played through the processor itself, has the score of the simulator's own run.
func TestATraceHasTheScoreOfItsRun(t *testing.T) {
	c := accuracy.Cell{
		Shape: accuracy.Shape{Hosts: 8, AZs: 2, VPCs: 1, Even: true}, Network: accuracy.AZPair, Other: accuracy.HostInterface,
		Loss: 0.02, Burst: 1, Segments: 30_000, Noise: accuracy.Noise{Rate: 0.001, Burst: 1},
	}
	plan := accuracy.Plan{Clean: 6, Fault: 6}
	dir := t.TempDir()
	require.NoError(t, accuracy.WriteTrace(dir, c, plan, 7))
	got, err := accuracy.ScoreTrace(dir, nhiprocessor.NewFactory(), nil)
	require.NoError(t, err)
	want := accuracy.Run(c, plan, 7, 1, []accuracy.Maker{accuracy.NewNHI}, nil)[0]
	assert.Equal(t, want.Recall, got[0].Recall)
	assert.Equal(t, want.Component.Hits, got[0].Component.Hits)
	assert.Equal(t, want.AllOther(), got[0].AllOther())
	assert.Equal(t, want.Detected, got[0].Detected)
	assert.Equal(t, want.Cleared, got[0].Cleared)
	assert.InDelta(t, want.Clean.Of, got[0].Clean.Of, 4, "the last window may not be over")
	assert.Equal(t, want.Clean.Hits, got[0].Clean.Hits)
}

// A truth of windows that the processor does not have would be compared with nothing.
func TestATruthThatIsNotAlignedToWindowsIsAnError(t *testing.T) {
	for _, tt := range []struct{ name, truth, want string }{
		{"not aligned", `{"window_seconds":60,"windows":[{"end_unix_nano":1767571260000000000},{"end_unix_nano":1767571327000000000}]}`,
			"window 1: 'end_unix_nano' 1767571327000000000 is not aligned to 'window_seconds' (60): set it to a multiple of it, such as 1767571380000000000"},
		{"with a gap", `{"window_seconds":60,"windows":[{"end_unix_nano":1767571260000000000},{"end_unix_nano":1767571380000000000}]}`,
			"window 1: 'end_unix_nano' 1767571380000000000 does not follow on that of the window before (1767571260000000000)"},
		{"twice", `{"window_seconds":60,"windows":[{"end_unix_nano":1767571260000000000},{"end_unix_nano":1767571260000000000}]}`,
			"window 1: 'end_unix_nano' 1767571260000000000 does not follow"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "truth.json"), []byte(tt.truth), 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "points.jsonl"), nil, 0o600))
			_, err := accuracy.ScoreTrace(dir, nhiprocessor.NewFactory(), nil)
			assert.ErrorContains(t, err, tt.want)
		})
	}
}

// A monitor whose name is another in the points would count as one that has no verdict.
func TestATruthOfMonitorsThatNobodyHasIsAnError(t *testing.T) {
	c := accuracy.Cell{Shape: accuracy.Shape{Hosts: 8, AZs: 2, VPCs: 1, Even: true}, Network: accuracy.AZPair, Loss: 0.02, Burst: 1, Segments: 30_000}
	dir := t.TempDir()
	require.NoError(t, accuracy.WriteTrace(dir, c, accuracy.Plan{Clean: 1, Fault: 4}, 7))
	path := filepath.Join(dir, "truth.json")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(data), `"euw1-az1-euw1-az2"`)
	require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(string(data), `"euw1-az1-euw1-az2"`, `"checkout"`)), 0o600))
	_, err = accuracy.ScoreTrace(dir, nhiprocessor.NewFactory(), nil)
	assert.ErrorContains(t, err, `eligible windows of monitors that no point names: ["checkout"]; the points name ["euw1-az1-euw1-az1"`)
}

// Bounds of Clopper and Pearson, compared with published values: none of 60,000, and one of ten
// (Newcombe 1998: 0.0051 at 97.5 % one-sided is 0.0025; at 95 % 0.0051).
func TestBounds(t *testing.T) {
	assert.InDelta(t, 1-0.95128, accuracy.Share{Hits: 0, Of: 60}.Upper(), 2e-4) // 1 − 0.05^(1/60)
	assert.InDelta(t, 0.95130, accuracy.Share{Hits: 60, Of: 60}.Lower(), 2e-4)
	assert.InDelta(t, 0.005116, accuracy.Share{Hits: 1, Of: 10}.Lower(), 1e-5)
	assert.InDelta(t, 0.394163, accuracy.Share{Hits: 1, Of: 10}.Upper(), 1e-5)
}

// The same seed plays the same fleet, whatever else runs.
func TestTheSimulatorIsDeterministic(t *testing.T) {
	c := accuracy.Cell{Shape: small, Network: accuracy.Gateway, Other: accuracy.Shaping, Loss: 0.01, Burst: 3, Segments: 30_000, Noise: accuracy.Noise{Rate: 0.001, Burst: 3}}
	plan := accuracy.Plan{Clean: 3, Fault: 3}
	a := accuracy.Run(c, plan, 3, 2, []accuracy.Maker{accuracy.NewNHI}, nil)[0]
	b := accuracy.Run(c, plan, 3, 2, []accuracy.Maker{accuracy.NewNHI}, nil)[0]
	assert.Equal(t, a, b)
}
