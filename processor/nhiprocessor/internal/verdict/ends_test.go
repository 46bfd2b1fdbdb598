// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package verdict_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/fleet"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/verdict"
)

// decideWith decides a window to whose rows something is added.
func (c *court) decideWith(observed []fleet.Observed, add func(k *evidence.Key, n *evidence.Counts)) *verdict.Decision {
	w := evidence.NewWindow()
	fleet.Evidence(c.table, w, observed)
	for _, r := range w.Rows {
		add(r.Key, r.Counts)
	}
	return c.decideWindow(w)
}

// second is a second of a sender's time.
const second = uint64(evidence.TimeUnits)

func TestWhoReadsSlowlyIsTheCause(t *testing.T) {
	ordinary := func(_ *evidence.Key, n *evidence.Counts) {
		n.Add(evidence.Busy, 9*second)
		n.Add(evidence.ReceiverWindow, second)
	}
	slow := func(receivers ...string) func(*evidence.Key, *evidence.Counts) {
		return func(k *evidence.Key, n *evidence.Counts) {
			for _, r := range receivers {
				if k.Remote.Name == "instance/"+r {
					n.Add(evidence.Busy, second)
					n.Add(evidence.ReceiverWindow, 9*second)
					return
				}
			}
			ordinary(k, n)
		}
	}
	idle := func(k *evidence.Key, n *evidence.Counts) {
		if k.Remote.Name == "instance/i-server1" {
			n.Add(evidence.ReceiverWindow, second/100) // less than a retransmission timeout of them all
		}
	}
	for _, tt := range []struct {
		name        string
		before, now func(*evidence.Key, *evidence.Counts)
		cause       string
		names       []string
	}{
		{"nobody is slow", ordinary, ordinary, flowattr.CauseNone, nil},
		{"one server is the remote host's", ordinary, slow("i-server1"), flowattr.CauseRemoteHost, []string{"instance/i-server1"}},
		{"one client is the local host's", ordinary, slow("i-client2"), flowattr.CauseLocalHost, []string{"instance/i-client2"}},
		{"all servers are the application's", ordinary, slow("i-server1", "i-server2", "i-server3"), flowattr.CauseApplication, nil},
		{"one that always is, is nobody's fault", slow("i-server1"), slow("i-server1"), flowattr.CauseNone, nil},
		{"a moment says nothing", ordinary, idle, flowattr.CauseNone, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, _, _ := fleet.TwoVPCs(1, 3, 3)
			c := newCourt()
			for range 5 {
				m := of(t, c.decideWith(f.Window(), tt.before), "web")
				require.Equal(t, flowattr.StateHealthy, m.State)
			}
			m := of(t, c.decideWith(f.Window(), tt.now), "web")
			assert.Equal(t, flowattr.StateHealthy+" "+tt.cause, m.State+" "+m.Cause)
			assert.Equal(t, tt.names, m.Names)
		})
	}
}

// A host that is known to lose is named for what a monitor loses there, though that alone would say nothing; one
// that loses a little more than others is not.
func TestAHostIsNamedWhenItLosesFarMoreThanOthers(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rate  float64 // beside a background of 0.1 %
		cause string
	}{
		{"ten times the background", 0.01, flowattr.CauseLocalHost},
		{"two and a half times the background", 0.0015, flowattr.CauseNone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			right, judged := 0, 0
			for seed := range uint64(10) {
				f, clients, _ := fleet.TwoVPCs(seed, 10, 10)
				f.Background = fleet.Loss{Rate: 0.001, Burst: 1}
				f.Faults = []fleet.Fault{fleet.AtHost(clients[0], fleet.Loss{Rate: tt.rate, Burst: 1})}
				for _, flow := range f.Flows {
					if len(flow.Monitors) == 0 && flow.Client == clients[0] {
						flow.Up, flow.Down = 100*flow.Up, 100*flow.Down // a host that is certain to lose
					} else if flow.Client == clients[0] {
						flow.Up, flow.Down = flow.Up/100, flow.Down/100 // too little to tell by itself
					}
				}
				c := newCourt()
				for range 10 {
					m := of(t, c.decide(f.Window()), "web")
					require.Equal(t, flowattr.StateHealthy, m.State)
					judged++
					if m.Cause == tt.cause {
						right++
					}
				}
			}
			assert.GreaterOrEqual(t, right, judged*9/10, "of %d", judged)
		})
	}
}

// Loss of all servers of a subnet is the network's, unless a surplus of resets comes with it for as long as
// a restart takes, and no more loss than the connections explain that they cut.
func TestADeploymentIsTheApplications(t *testing.T) {
	type add = func(*evidence.Key, *evidence.Counts)
	// Of some 180 connections that end, that many are reset: as the clients, the servers, or both see it.
	resets := func(n uint64, roles ...evidence.Role) add {
		return func(k *evidence.Key, c *evidence.Counts) {
			if slices.Contains(k.Path.Components, tgw) && slices.Contains(roles, k.Role) {
				c.Add(evidence.ClosedReset, n)
			}
		}
	}
	const client, server = evidence.RoleClient, evidence.RoleServer
	none, restart := resets(0), resets(40, client)
	const (
		degraded    = flowattr.StateDegraded + " " + flowattr.CauseNetwork
		application = flowattr.StateHealthy + " " + flowattr.CauseApplication
		nothing     = flowattr.StateHealthy + " " + flowattr.CauseNone
	)
	type window struct {
		with add
		rate float64
		want string // none: either is right
	}
	repeat := func(n int, w window) []window { return slices.Repeat([]window{w}, n) }
	for _, tt := range []struct {
		name    string
		before  add
		known   int // windows before
		windows []window
	}{
		{"loss without resets is the network's", none, 6, append(repeat(1, window{none, 0.004, ""}), repeat(8, window{none, 0.004, degraded})...)},
		{"loss with resets is the application's", none, 6, append(repeat(4, window{restart, 0.004, application}), window{none, 0, nothing})},
		{"loss with resets is the application's when nothing is known yet", none, 0, append(repeat(4, window{restart, 0.004, application}), window{none, 0, nothing})},
		{"resets that last for longer than a restart explain nothing", none, 6, slices.Concat(
			repeat(4, window{restart, 0.004, application}), repeat(1, window{restart, 0.004, ""}), repeat(20, window{restart, 0.004, degraded}))},
		{"loss that outlasts the restart is the network's", none, 6, slices.Concat(
			repeat(2, window{restart, 0.004, application}), repeat(1, window{none, 0.004, ""}), repeat(8, window{none, 0.004, degraded}))},
		{"loss that was there before the resets is the network's", none, 6, append(repeat(1, window{none, 0.004, ""}), repeat(8, window{restart, 0.004, degraded})...)},
		{"resets at both ends are time-outs of a network that loses", none, 6, append(repeat(1, window{}), repeat(8, window{resets(40, client, server), 0.004, degraded})...)},
		{"resets that only the servers get are clients that give up", none, 6, append(repeat(1, window{}), repeat(8, window{resets(40, server), 0.004, degraded})...)},
		{"resets that there always are explain nothing", restart, 6, append(repeat(1, window{restart, 0.004, ""}), repeat(8, window{restart, 0.004, degraded})...)},
		{"more loss than the resets explain is the network's", none, 6, append(repeat(1, window{restart, 0.2, ""}), repeat(8, window{restart, 0.2, degraded})...)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, _, _ := fleet.TwoVPCs(1, 4, 30)
			c := newCourt()
			for range tt.known {
				c.decideWith(f.Window(), tt.before)
			}
			for i, w := range tt.windows {
				if w.with == nil { // as the next one, in its first window
					w = tt.windows[i+1]
					w.want = ""
				}
				f.Faults = []fleet.Fault{fleet.On(tgw, fleet.Loss{Rate: w.rate, Burst: 1})}
				m := of(t, c.decideWith(f.Window(), w.with), "web")
				if w.want != "" {
					require.Equal(t, w.want, m.State+" "+m.Cause, "window %d", i)
				}
			}
		})
	}
}

// Servers that restart one after the other are a deployment for as long as it takes.
func TestARollingDeploymentIsTheApplications(t *testing.T) {
	f, _, servers := fleet.TwoVPCs(1, 6, 30)
	c := newCourt()
	for range 6 {
		c.decide(f.Window())
	}
	for i := range 2 * len(servers) {
		restarting := servers[i/2]
		f.Faults = []fleet.Fault{fleet.AtHost(restarting, fleet.Loss{Rate: 0.004, Burst: 1})}
		m := of(t, c.decideWith(f.Window(), func(k *evidence.Key, n *evidence.Counts) {
			if k.Role == evidence.RoleClient && k.Remote.Name == "instance/"+restarting.ID {
				n.Add(evidence.ClosedReset, 40)
			}
		}), "web")
		assert.Equal(t, flowattr.StateHealthy, m.State, "window %d", i)
		assert.Contains(t, []string{flowattr.CauseApplication, flowattr.CauseRemoteHost}, m.Cause, "window %d", i)
	}
}

// A server of three that refuses every connection sends nothing more, but its answers came through.
func TestAServerThatRefusesLeavesTheOthersJudged(t *testing.T) {
	f, _, servers := fleet.TwoVPCs(1, 3, 3)
	c := newCourt()
	for range 3 {
		c.decide(f.Window())
	}
	refusing := func(least int) []fleet.Observed {
		var out []fleet.Observed
		for _, o := range f.Window() {
			if o.Flow.Server == servers[0] {
				o.Segments, o.Lost = 0, 0
				if o.Up {
					o.Connections, o.Refused = least, least
				} else {
					continue
				}
			}
			out = append(out, o)
		}
		return out
	}
	m := of(t, c.decide(refusing(20)), "web")
	assert.Equal(t, flowattr.StateHealthy+" "+flowattr.CauseApplication, m.State+" "+m.Cause)
	m = of(t, c.decide(refusing(1)), "web")
	assert.Equal(t, flowattr.StateInsufficientData, m.State, "three refusals in all say little")
	assert.Equal(t, flowattr.CauseNone, m.Cause)
}

// Three hosts a side have nine pairs. One window of them that are slow may be chance; the second is not.
func TestADelayBetweenThreeHostsASideIsFoundByTheSecondWindow(t *testing.T) {
	f, _, _ := fleet.TwoVPCs(1, 3, 3)
	c := newCourt()
	times := func(bucket int) func(*evidence.Key, *evidence.Counts) {
		return func(k *evidence.Key, n *evidence.Counts) {
			for _, name := range k.Path.Components {
				if name == tgw {
					n.AddTimes(bucket, 100)
					return
				}
			}
			n.AddTimes(20, 100)
		}
	}
	const base, slow = 20, 36 // 2⁻¹¹ s and 16 times that
	for range 5 {
		require.Equal(t, flowattr.StateHealthy, of(t, c.decideWith(f.Window(), times(base)), "web").State)
	}
	c.decideWith(f.Window(), times(slow))
	d := c.decideWith(f.Window(), times(slow))
	m := of(t, d, "web")
	assert.Equal(t, flowattr.StateDegraded+" "+flowattr.CauseNetwork, m.State+" "+m.Cause)
	assert.Equal(t, []string{tgw}, suspected(d))
	for i := range 3 {
		m = of(t, c.decideWith(f.Window(), times(base)), "web")
		assert.Equal(t, i < 2, m.State == flowattr.StateDegraded, "clean window %d", i)
	}
}

// Where there is nothing but nine pairs, all of them slow, one host of three explains a third: it takes three
// windows, and until then it is not known what it is. It never reads as if nothing were wrong.
func TestADelayBetweenThreeHostsASideAloneIsFoundByTheThirdWindow(t *testing.T) {
	for _, tt := range []struct {
		name       string
		base, slow int // buckets: a fourth of a doubling each, 20 begins at 0.49 ms and 28 at 2 ms
		observers  func(o *fleet.Observed) bool
	}{
		{"twice as long, seen from both ends", 20, 24, func(*fleet.Observed) bool { return true }},
		{"a fifth longer, seen from both ends", 28, 29, func(*fleet.Observed) bool { return true }},
		{"twice as long, seen by the clients only", 20, 24, func(o *fleet.Observed) bool { return o.Up }},
		{"a fifth longer, seen by the servers only", 28, 29, func(o *fleet.Observed) bool { return !o.Up }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := fleet.New(1)
			clients, servers := f.AddHosts(3, "client", "vpc-a", "subnet-a", "az1"), f.AddHosts(3, "server", "vpc-b", "subnet-b", "az1")
			f.Connect(clients, servers, 1000, 1000, []string{"web"}, tgw)
			for _, flow := range f.Flows {
				flow.ServerMonitors = []string{"web"}
			}
			c := newCourt()
			play := func(bucket int) verdict.Monitor {
				observed := slices.DeleteFunc(f.Window(), func(o fleet.Observed) bool { return !tt.observers(&o) })
				return of(t, c.decideWith(observed, func(_ *evidence.Key, n *evidence.Counts) { n.AddTimes(bucket, 100) }), "web")
			}
			for range 8 {
				m := play(tt.base)
				require.Equal(t, flowattr.StateHealthy+" "+flowattr.CauseNone, m.State+" "+m.Cause)
			}
			play(tt.slow)
			m := play(tt.slow)
			assert.Equal(t, flowattr.StateInsufficientData, m.State)
			assert.Equal(t, verdict.LackDistinction, m.Lack)
			for range 20 {
				m = play(tt.slow)
				require.Equal(t, flowattr.StateDegraded+" "+flowattr.CauseNetwork, m.State+" "+m.Cause)
			}
			play(tt.base)
			play(tt.base)
			m = play(tt.base)
			assert.Equal(t, flowattr.StateHealthy+" "+flowattr.CauseNone, m.State+" "+m.Cause)
		})
	}
}

// Two slow hosts of six are that, however long they are slow: nothing that all nine pairs share.
func TestTwoSlowHostsOfThreeASideAreNotTheNetworks(t *testing.T) {
	f, clients, servers := fleet.TwoVPCs(1, 3, 3)
	c := newCourt()
	times := func(slow bool) func(*evidence.Key, *evidence.Counts) {
		return func(k *evidence.Key, n *evidence.Counts) {
			bucket := 20
			for _, h := range []string{clients[0].ID, servers[0].ID} {
				if slow && (k.Local.Name == "instance/"+h || k.Remote.Name == "instance/"+h) {
					bucket = 28
				}
			}
			n.AddTimes(bucket, 100)
		}
	}
	for range 6 {
		c.decideWith(f.Window(), times(false))
	}
	for i := range 12 {
		m := of(t, c.decideWith(f.Window(), times(true)), "web")
		assert.NotEqual(t, flowattr.StateDegraded, m.State, "window %d", i)
	}
}

// What was nearly as likely goes with the verdict for as long as that holds.
func TestAVerdictTellsWhatElseItMayHaveBeen(t *testing.T) {
	f, _, _ := fleet.TwoVPCs(5, 4, 3)
	for _, flow := range f.Flows {
		if flow.Client.Subnet == flow.Server.Subnet {
			flow.Up, flow.Down = 1, 1 // so little that it can be the subnets as well as the gateway
		}
	}
	c := newCourt()
	f.Faults = []fleet.Fault{fleet.On(tgw, fleet.Loss{Rate: 0.03, Burst: 1})}
	c.decide(f.Window())
	m := of(t, c.decide(f.Window()), "web")
	require.Equal(t, flowattr.StateDegraded, m.State)
	assert.NotEmpty(t, m.Alternatives)
	f.Faults = nil
	assert.Equal(t, m.Alternatives, of(t, c.decide(f.Window()), "web").Alternatives, "still degraded for it")
	c.decide(f.Window())
	assert.Empty(t, of(t, c.decide(f.Window()), "web").Alternatives)
}
