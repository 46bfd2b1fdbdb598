// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheLengthOfAJiffyFollowsFromTheTimeSinceTheBoot(t *testing.T) {
	for _, hz := range hertz {
		for _, uptime := range []time.Duration{10 * time.Second, time.Hour, 1000 * 24 * time.Hour} {
			jiffies := uint64(1)<<32 - uint64(300*hz) + uint64(hz*uptime.Seconds())
			for _, late := range []uint64{0, 1} { // the tick that is due may not have come
				assert.Equal(t, time.Duration(float64(time.Second)/hz), jiffyOf(jiffies-late, uint64(uptime)), "%v Hz, up for %v", hz, uptime)
			}
		}
	}
}

// The running kernel's, against the jiffies that pass in a while.
func TestTheLengthOfAJiffyIsThatOfTheKernel(t *testing.T) {
	p := load(t, Options{})
	read := func() (jiffies, ns uint64) {
		require.NoError(t, readAll(p.walk))
		require.NoError(t, p.objects.ClockJiffies.Get(&jiffies))
		require.NoError(t, p.objects.ClockNs.Get(&ns))
		return jiffies, ns
	}
	j0, t0 := read()
	var j1, t1 uint64
	require.Eventually(t, func() bool {
		j1, t1 = read()
		return j1-j0 >= 100
	}, 30*time.Second, 100*time.Millisecond)
	assert.InEpsilon(t, float64(t1-t0)/float64(j1-j0), float64(p.Jiffy()), 0.05)
}
