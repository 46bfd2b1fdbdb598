// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package gateway

import (
	"math/rand/v2"
	"net/netip"
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

// throughKills kills gateway 1 again and again, replaces it, and gives the points of the rounds that are not at the
// backend in the end.
func throughKills(t *testing.T, f *tier, kills int, more string) (missing map[rounds.Key]int, at []time.Time) {
	t.Helper()
	f.startVerdict(t)
	for i := range f.gateways {
		f.startGateway(t, i, more)
	}
	f.startAgents(t, "", "")
	stop := f.light(t)
	f.caughtUp(t)
	share := f.running[f.gateways[0]].Telemetry(t)["otelcol_receiver_accepted_metric_points"]
	require.NotZero(t, share, "gateway 1 has no agent: the hash sends all of them to the other")
	for range kills {
		time.Sleep(rand.N(2 * time.Second)) // any moment of a round
		at = append(at, time.Now())
		f.running[f.gateways[0]].Kill(t)
		time.Sleep(rand.N(2 * time.Second))
		f.startGateway(t, 0, more)
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
		for _, n := range f.gateways {
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
	missing, kills := throughKills(t, f, 2, "")
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
func TestAGatewayWithoutFlowlimitLosesNothingWhenItIsKilled(t *testing.T) {
	f := newTier(t)
	missing, kills := throughKills(t, f, 2, `
service:
  pipelines:
    metrics/flows: {processors: [filter/flows]}
`)
	assert.Empty(t, missing, "points of rounds that are not at the backend")
	noted := f.backend.Noted()
	t.Logf("%d kills: nothing lost, %d points came twice", len(kills), noted.Again)
}
