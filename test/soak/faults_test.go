// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package soak

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// faults puts one fault after the other on the fleet, and keeps what each did.
type faults struct {
	*fleet
	kills      []time.Time // of gateway 1
	goroutines []int       // that it had then
	full       [][2]time.Time
	lost       float64 // points that gateways said were lost, in lives that are over
	before     int     // requests that the backend had refused
	cycles     int
}

// patience bounds what has to come by itself.
const patience = time.Minute

// cycle is all faults in turn, with rests between them, in about the given time.
func (f *faults) cycle(t *testing.T, length time.Duration) {
	t.Helper()
	part := length / 10
	f.cycles++
	time.Sleep(part)

	f.backendDown(t, part)
	time.Sleep(part)
	f.topologyDamaged(t, part)
	f.topologyGone(t, part)
	time.Sleep(part)
	f.gatewayKilled(t, part)
	time.Sleep(part)
	f.diskFull(t, part)
	time.Sleep(part)
}

// backendDown has the backend refuse: the queues keep everything.
func (f *faults) backendDown(t *testing.T, length time.Duration) {
	t.Helper()
	before := f.lostNow(t)
	f.backend.Down.Store(true)
	time.Sleep(length)
	f.backend.Down.Store(false)
	f.caughtUp(t)
	assert.Equal(t, before, f.lostNow(t), "points lost while the backend was down")
}

// topologyDamaged has a source that says nonsense: the last good topology stays in use.
func (f *faults) topologyDamaged(t *testing.T, length time.Duration) {
	t.Helper()
	good, err := os.ReadFile(f.topology)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(f.topology, good[:len(good)/2], 0o600))
	f.failing(t, 1)
	time.Sleep(length)
	require.NoError(t, os.WriteFile(f.topology, good, 0o600))
	f.failing(t, 0)
}

// topologyGone has a source that is not there.
func (f *faults) topologyGone(t *testing.T, length time.Duration) {
	t.Helper()
	require.NoError(t, os.Rename(f.topology, f.topology+".away"))
	f.failing(t, 1)
	time.Sleep(length)
	require.NoError(t, os.Rename(f.topology+".away", f.topology))
	f.failing(t, 0)
}

func (f *faults) failing(t *testing.T, want float64) {
	t.Helper()
	for _, n := range f.gateways {
		p := f.running()[n.Name()]
		require.Eventually(t, func() bool { return p.Telemetry(t)["otelcol_processor_flowmonitor_sources_failing"] == want },
			patience, 200*time.Millisecond, "%s: sources_failing is not %v", n.Name(), want)
	}
}

// gatewayKilled ends gateway 1 without a warning, and starts another in its place.
func (f *faults) gatewayKilled(t *testing.T, length time.Duration) {
	t.Helper()
	name := f.gateways[0].Name()
	p := f.running()[name]
	f.forget(name)
	f.lost += p.Telemetry(t)[lostPoints]
	f.kills = append(f.kills, time.Now())
	f.goroutines = append(f.goroutines, p.Abort(t))
	time.Sleep(length / 4)
	f.startGateway(t, 0)
	f.caughtUp(t)
}

// diskFull leaves no byte for the queues, while the backend takes nothing.
func (f *faults) diskFull(t *testing.T, length time.Duration) {
	t.Helper()
	began := time.Now()
	f.backend.Down.Store(true)
	for _, folder := range f.queues {
		filler, err := os.Create(filepath.Join(folder, "filler"))
		require.NoError(t, err)
		block := make([]byte, 4096)
		for err == nil {
			_, err = filler.Write(block)
		}
		require.ErrorIs(t, err, unix.ENOSPC)
		require.NoError(t, filler.Close())
	}
	time.Sleep(length)
	for _, folder := range f.queues {
		require.NoError(t, os.Remove(filepath.Join(folder, "filler")))
	}
	f.backend.Down.Store(false)
	f.caughtUp(t)
	f.full = append(f.full, [2]time.Time{began, time.Now()})
}

const lostPoints = "otelcol_processor_flowlimit_points_lost"

// lostNow is what the gateways say that they have lost, over all of their lives.
func (f *faults) lostNow(t *testing.T) float64 {
	t.Helper()
	sum := f.lost
	for _, n := range f.gateways {
		if p := f.running()[n.Name()]; p != nil {
			sum += p.Telemetry(t)[lostPoints]
		}
	}
	return sum
}

// caughtUp waits until the backend has a round that the agents made after now, of every host.
func (f *faults) caughtUp(t *testing.T) {
	t.Helper()
	from := time.Now()
	require.Eventually(t, func() bool {
		for _, n := range f.watched {
			if !f.backend.Newer("i-"+n.Name(), from) {
				return false
			}
		}
		return true
	}, patience, 100*time.Millisecond, "rounds made after the fault reach the backend")
}
