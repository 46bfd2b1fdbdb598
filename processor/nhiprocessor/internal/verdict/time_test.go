// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package verdict_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/fleet"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/verdict"
)

// The story of the demo, window by window.
func TestVerdictsOverTime(t *testing.T) {
	f, clients, servers := fleet.TwoVPCs(1, 3, 3)
	c := newCourt()
	loss := fleet.Loss{Rate: 0.04, Burst: 1}
	onGateway, atClient, atServer := fleet.On(tgw, loss), fleet.AtHost(clients[0], loss), fleet.AtHost(servers[0], loss)
	const network = "network"
	for i, w := range []struct {
		faults       []fleet.Fault
		state, cause string
	}{
		{nil, "healthy", "none"},
		{nil, "healthy", "none"},
		{[]fleet.Fault{onGateway}, "healthy", "none"}, // the first bad window does not suffice
		{[]fleet.Fault{onGateway}, "degraded", network},
		{[]fleet.Fault{onGateway}, "degraded", network},
		// The loss moves to one client: clean for the network, which it takes three of to leave.
		{[]fleet.Fault{atClient}, "degraded", network},
		{[]fleet.Fault{atClient}, "degraded", network},
		{[]fleet.Fault{atClient}, "healthy", "local_host"},
		{[]fleet.Fault{atServer}, "healthy", "remote_host"}, // a host is named at once
		{nil, "healthy", "none"},
	} {
		f.Faults = w.faults
		d := c.decide(f.Window())
		m := of(t, d, "web")
		assert.Equal(t, w.state+" "+w.cause, m.State+" "+m.Cause, "window %d", i)
		switch {
		case m.Cause == network:
			assert.Equal(t, []string{tgw}, m.Names, "window %d: held as long as the state", i)
		case m.Cause == "none":
			assert.Empty(t, m.Names)
		default:
			assert.Len(t, m.Names, 1)
		}
	}
}

func TestAStoppedSourceLeadsToInsufficientDataAndIsForgottenAfterAWhile(t *testing.T) {
	f, _, _ := fleet.TwoVPCs(1, 3, 3)
	c := newCourt()
	for range 3 {
		require.Equal(t, flowattr.StateHealthy, of(t, c.decide(f.Window()), "web").State)
	}
	for i := range 59 {
		m := of(t, c.decide(nil), "web")
		require.Equal(t, flowattr.StateInsufficientData, m.State, "window %d", i)
		require.Equal(t, i == 0, m.Changed, "window %d", i)
	}
	assert.True(t, of(t, c.decide(nil), "web").Forgotten, "after an hour")
	assert.Empty(t, c.decide(nil).Monitors)
	assert.Zero(t, c.judge.Known())
	assert.Equal(t, flowattr.StateHealthy, of(t, c.decide(f.Window()), "web").State, "it may come back")
}

func TestAMonitorHeardOnlyOfLatePointsHasInsufficientData(t *testing.T) {
	c := newCourt()
	w := evidence.NewWindow()
	w.ExtraOf("web").Add(evidence.Sent, 1)
	assert.Equal(t, flowattr.StateInsufficientData, of(t, c.decideWindow(w), "web").State)
}

func TestTheLongestSilentMonitorMakesRoom(t *testing.T) {
	judge := verdict.NewJudge(verdict.Config{FalseAlarmRate: 1e-4, Memory: time.Hour, Monitors: 3})
	end := time.Unix(0, 0)
	hear := func(names ...string) *verdict.Decision {
		w := evidence.NewWindow()
		for _, n := range names {
			w.ExtraOf(n).Add(evidence.Sent, 1)
		}
		end = end.Add(time.Minute)
		return judge.Decide(w, end)
	}
	hear("a", "b")
	hear("b", "c")
	d := hear("d")
	assert.True(t, of(t, d, "a").Forgotten)
	assert.False(t, of(t, d, "b").Forgotten)
	assert.Equal(t, 3, judge.Known())
}

func TestAClearedComponentIsReportedForThreeWindows(t *testing.T) {
	f, _, _ := fleet.TwoVPCs(1, 3, 3)
	c := newCourt()
	f.Faults = []fleet.Fault{fleet.On(tgw, fleet.Loss{Rate: 0.04, Burst: 1})}
	d := c.decide(f.Window())
	require.Len(t, d.Components, 1)
	v := d.Components[0]
	assert.Equal(t, []string{tgw}, v.Names)
	assert.True(t, v.Suspected)
	assert.Greater(t, v.Confidence, 0.9)
	assert.Equal(t, 6, v.Evidence.LocalHosts)
	assert.Equal(t, 6, v.Evidence.RemoteHosts)
	assert.Equal(t, 18, v.Evidence.HostPairs)
	assert.InEpsilon(t, 0.04, float64(v.Evidence.Retransmissions)/float64(v.Evidence.Segments), 0.2)
	f.Faults = nil
	for range 3 {
		d = c.decide(f.Window())
		require.Len(t, d.Components, 1)
		assert.False(t, d.Components[0].Suspected)
		assert.Zero(t, d.Components[0].Confidence)
		assert.Positive(t, d.Components[0].Evidence.Segments, "what crosses it now")
	}
	assert.Empty(t, c.decide(f.Window()).Components)
}

// Evidence that several processors gathered, summed, leads to the verdict over all flows in one.
func TestTheVerdictOverMergedEvidenceIsTheVerdictOverAllFlows(t *testing.T) {
	for seed := range uint64(10) {
		f, clients, _ := fleet.TwoVPCs(seed, 4, 3)
		f.Faults = []fleet.Fault{fleet.On(tgw, fleet.Loss{Rate: 0.02, Burst: 2}), fleet.AtHost(clients[0], fleet.Loss{Rate: 0.05, Burst: 1})}
		one, several := newCourt(), newCourt()
		for range 5 {
			observed := f.Window()
			want := one.decide(observed)

			sum := evidence.NewWindow()
			for part := range 3 { // by host, and a host's flows by chance
				var mine []fleet.Observed
				for i, o := range observed {
					if (i+len(o.Local().ID))%3 == part {
						mine = append(mine, o)
					}
				}
				w := evidence.NewWindow()
				fleet.Evidence(several.table, w, mine)
				sum.Merge(w)
			}
			got := several.decideWindow(sum)
			assert.Equal(t, fmt.Sprintf("%+v", want.Monitors), fmt.Sprintf("%+v", got.Monitors))
			require.Len(t, got.Components, len(want.Components))
			for i := range want.Components {
				assert.Equal(t, want.Components[i].Names, got.Components[i].Names)
				assert.Equal(t, want.Components[i].Evidence, got.Components[i].Evidence)
				assert.InDelta(t, want.Components[i].Confidence, got.Components[i].Confidence, 1e-9)
			}
		}
	}
}

// BenchmarkDecide decides windows of about 100,000 rows with a thousand monitors, one for
// each pair of a hundred hosts' subnets.
func BenchmarkDecide(b *testing.B) {
	f, zones := fleet.ThreeAZs(1, 92, 0.1)
	_ = zones
	for i, flow := range f.Flows {
		flow.Monitors = append(flow.Monitors, fmt.Sprint("m", i%1000))
	}
	c := newCourt()
	w := evidence.NewWindow()
	fleet.Evidence(c.table, w, f.Window())
	b.ReportAllocs()
	for b.Loop() {
		c.decideWindow(w)
	}
	b.ReportMetric(float64(len(w.Rows)), "rows")
}
