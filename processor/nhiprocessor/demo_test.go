// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nhiprocessor

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/fleet"
)

// The demo's fleet and times, through points and out of metrics: three clients and three
// servers in two VPCs, rounds of 2 s, windows of 5 s.
func TestTheDemo(t *testing.T) {
	loss := fleet.Loss{Rate: 0.04, Burst: 1}
	for _, evaluation := range []string{evaluationEventTime, evaluationWallClock} {
		t.Run(evaluation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, func(c *Config) { c.Evaluation = evaluation })
				f, clients, servers := fleet.TwoVPCs(1, 3, 1)
				for _, phase := range []struct {
					name         string
					faults       []fleet.Fault
					state, cause string
					suspects     []string
				}{
					{"healthy", nil, flowattr.StateHealthy, flowattr.CauseNone, nil},
					{"loss on the gateway", []fleet.Fault{fleet.On("transit_gateway/tgw-1", loss)}, flowattr.StateDegraded, flowattr.CauseNetwork, []string{"transit_gateway/tgw-1"}},
					{"loss at a client", []fleet.Fault{fleet.AtHost(clients[0], loss)}, flowattr.StateHealthy, flowattr.CauseLocalHost, []string{"instance/i-client1"}},
					{"loss at a server", []fleet.Fault{fleet.AtHost(servers[1], loss)}, flowattr.StateHealthy, flowattr.CauseRemoteHost, []string{"instance/i-server2"}},
					{"healthy again", nil, flowattr.StateHealthy, flowattr.CauseNone, nil},
				} {
					f.Faults = phase.faults
					b.play(f, 20) // 40 s
					said := b.verdicts()
					require.GreaterOrEqual(t, len(said), 7, phase.name)
					for _, v := range said[len(said)-3:] {
						m := v.monitors["web"]
						require.NotNil(t, m)
						assert.Equal(t, phase.state+" "+phase.cause, m.state+" "+m.cause, "%s at %s", phase.name, v.end)
						require.NotNil(t, m.indicator)
						assert.Equal(t, phase.state == flowattr.StateDegraded, *m.indicator == 1)
						assert.Equal(t, phase.suspects, v.suspects())
					}
					// As long as it is degraded it is the network's, and never else.
					for _, v := range said {
						m := v.monitors["web"]
						assert.Equal(t, m.state == flowattr.StateDegraded, m.cause == flowattr.CauseNetwork)
					}
				}
				b.stop()
			})
		})
	}
}

func TestWindowsAreContiguousAndReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		f, _, _ := fleet.TwoVPCs(1, 3, 1)
		b.play(f, 10)
		time.Sleep(time.Minute) // nothing is heard
		b.play(f, 10)
		b.settle()
		var ends []time.Time
		for _, v := range b.verdicts() {
			ends = append(ends, v.end)
		}
		b.stop()
		require.NotEmpty(t, ends)
		assert.True(t, slices.IsSortedFunc(ends, time.Time.Compare))
		for i := 1; i < len(ends); i++ {
			assert.Equal(t, 5*time.Second, ends[i].Sub(ends[i-1]))
		}
	})
}

func TestAStoppedSourceTakesTheIndicatorAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		f, _, _ := fleet.TwoVPCs(1, 3, 1)
		b.play(f, 10)
		b.settle()
		said := b.verdicts()
		b.stop()
		last, noValues := said[len(said)-1].monitors["web"], 0
		assert.Equal(t, flowattr.StateInsufficientData, last.state)
		assert.Nil(t, last.indicator)
		for _, v := range said {
			if v.monitors["web"].noValue {
				noValues++
			}
		}
		assert.Equal(t, 1, noValues)
	})
}
