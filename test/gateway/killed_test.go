// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package gateway

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/rounds"
)

// light has each client talk to each server a little, until it is stopped.
func (f *tier) light(t *testing.T) (stop func() netlab.Report) {
	t.Helper()
	var clients []*netlab.Client
	for _, n := range f.clients {
		var targets []netip.AddrPort
		for _, s := range f.servers {
			targets = append(targets, f.listening[s])
		}
		c, err := n.StartClient(t.Context(), netlab.ClientConfig{
			Targets: targets, Concurrency: 8, Interval: 20 * time.Millisecond, Upload: netlab.Size{Max: 20_000}, Download: netlab.Size{Max: 20_000}, Summary: true,
		})
		require.NoError(t, err)
		clients = append(clients, c)
	}
	return func() (sum netlab.Report) {
		for _, c := range clients {
			r, err := c.Stop(t.Context())
			require.NoError(t, err)
			sum.Opened, sum.Written, sum.Read = sum.Opened+r.Opened, sum.Written+r.Written, sum.Read+r.Read
		}
		return sum
	}
}

// throughKills kills gateways, one after the other, has each replaced, and gives the points of the rounds that are not
// at the backend in the end.
func throughKills(t *testing.T, f *tier, gateways []int, replace func(killed int)) (missing map[rounds.Key]int, at []time.Time) {
	t.Helper()
	stop := f.light(t)
	f.caughtUp(t)
	for _, i := range gateways {
		require.NotZero(t, f.running[f.gateways[i]].Telemetry(t)["otelcol_receiver_accepted_metric_points"], "gateway %d has no agent: the hash sends all of them to others", i+1)
		time.Sleep(rand.N(2 * time.Second)) // any moment of a round
		at = append(at, time.Now())
		f.kill(t, i)
		time.Sleep(rand.N(2 * time.Second))
		replace(i)
		f.caughtUp(t)
	}
	f.told(t, stop())
	// What anybody can read off the agents: how many points gateways have said that they took.
	sent := func() (points int) {
		for _, n := range f.watched() {
			for name, value := range f.running[n].Telemetry(t) {
				if strings.HasPrefix(name, "otelcol_exporter_sent_metric_points") && strings.Contains(name, `exporter="load_balancing"`) {
					points += int(value)
				}
			}
		}
		return points
	}
	f.quiet()
	require.Eventually(t, func() bool { return sent() == points(f.witness) }, time.Minute, 50*time.Millisecond, "the gateways take every point")
	f.drained(t)
	missing = f.backend.Missing(f.witness)
	lost := 0
	for _, n := range missing {
		lost += n
	}
	assert.Equal(t, sent()-points(f.backend), lost, "the difference of agents and backend is what was lost")
	// What is there is what was sent.
	got := f.backend.Rounds()
	for key, r := range f.witness.Rounds() {
		if missing[key] == 0 {
			assert.Equal(t, r.Sums, got[key].Sums, "%s, round of %v", key.Host, key.End.AsTime())
		}
	}
	return missing, at
}

// told waits until the agents have told of all that the applications did, and compares.
func (f *tier) told(t *testing.T, apps netlab.Report) {
	t.Helper()
	sums := map[string]int64{}
	require.Eventually(t, func() bool {
		for _, metric := range []string{flowattr.MetricSent, flowattr.MetricReceived, flowattr.MetricConnectionsClosed} {
			sums[metric] = 0
			for _, n := range f.clients {
				sums[metric] += f.witness.Total("i-"+n.Name(), metric)
			}
		}
		return sums[flowattr.MetricConnectionsClosed] == int64(apps.Opened)
	}, time.Minute, 50*time.Millisecond, "the agents tell of every connection")
	assert.Equal(t, apps.Written, sums[flowattr.MetricSent])
	assert.Equal(t, apps.Read, sums[flowattr.MetricReceived])
}

// quiet waits for two rounds in which no host had anything to say.
func (f *tier) quiet() {
	for last := -1; last != points(f.witness); time.Sleep(2500 * time.Millisecond) {
		last = points(f.witness)
	}
}

// drained waits until the gateways hold nothing.
func (f *tier) drained(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		for _, n := range f.alive() {
			said := f.running[n].Telemetry(t)
			if said["otelcol_processor_flowlimit_held_points"] != 0 || said["otelcol_exporter_queue_size"] != 0 {
				return false
			}
		}
		return true
	}, time.Minute, 50*time.Millisecond, "nothing is under way")
	for last := -1; last != points(f.backend); time.Sleep(300 * time.Millisecond) { // but the request that has left the queue
		last = points(f.backend)
	}
}

func points(b *rounds.Backend) (sum int) {
	for _, r := range b.Rounds() {
		sum += r.Points
	}
	return sum
}

// The bound of examples/gateway/README.md: a gateway holds one round of each of its agents, until the next one
// comes, and nothing else that is not on its disk.
func TestAGatewayThatIsKilledLosesOneRoundOfItsAgentsAtMost(t *testing.T) {
	f := newTier(t)
	f.startVerdict(t)
	f.startGateways(t, "")
	f.startAgents(t, "", "")
	missing, kills := throughKills(t, f, []int{0, 0}, func(i int) { f.startGateway(t, i, "") })
	perKill := map[string]int{}
	for key, points := range missing {
		end := key.End.AsTime()
		held := false
		for _, at := range kills {
			// flowlimit lets a round go after round_timeout, 2 s; a second more for the way there.
			if end.Before(at) {
				held = end.After(at.Add(-3 * time.Second))
				perKill[key.Host+at.String()]++
				break // after the kill before this one, every host's rounds have come through
			}
		}
		assert.True(t, held, "%s: the round of %v lacks %d points, and no kill explains it", key.Host, end, points)
	}
	for which, n := range perKill {
		assert.Equal(t, 1, n, "rounds lost by a kill: %s", which)
	}
	assert.NotEmpty(t, missing, "the kills have hit no round: the test proves nothing")
	t.Logf("%d kills: %d rounds lost", len(kills), len(missing))
}

// What makes the bound nothing, as the README says: no stage holds a round after the agent was told that it was taken.
// The agents are those of examples/kubernetes here, which look the gateways up by name, and a gateway is replaced by one
// at another address, as pods are: what waited for the one that is gone goes to another.
func TestAGatewayWithoutFlowlimitThatIsReplacedElsewhereLosesNothing(t *testing.T) {
	f := newTier(t)
	const name, more = "flowmonitor-gateway.test", `
service:
  pipelines:
    metrics/flows: {processors: []}
`
	f.names = filepath.Join(t.TempDir(), "hosts")
	resolve := func() {
		var lines strings.Builder
		for _, n := range f.alive() {
			fmt.Fprintln(&lines, n.Addr4(), name)
		}
		// In place: what is mounted in the agents is this file, and not its name.
		require.NoError(t, os.WriteFile(f.names, []byte(lines.String()), 0o644))
	}
	f.startVerdict(t)
	f.startGateways(t, more)
	resolve()
	f.startAgentsOf(t, "../kubernetes/config.yaml", "load_balancing", "", "", "FLOWMONITOR_GATEWAY="+name, "FLOWMONITOR_INSECURE=true")
	missing, kills := throughKills(t, f, []int{0}, func(i int) {
		f.startGateway(t, i+2, more)
		resolve()
	})
	assert.Empty(t, missing, "points of rounds that are not at the backend")
	t.Logf("%d kills: nothing lost, %d points came twice", len(kills), f.backend.Noted().Again)
}
