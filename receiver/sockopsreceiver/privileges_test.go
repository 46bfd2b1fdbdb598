// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sockopsreceiver

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
)

func TestTheCapabilitiesThatRoundsNeed(t *testing.T) {
	const old, now = 5<<16 | 15<<8, 6<<16 | 18<<8
	for name, c := range map[string]struct {
		cfg    Config
		kernel uint32
		want   []cap.Value
	}{
		"none":                                   {Config{}, now, nil},
		"none either on the first that allows":   {Config{}, 5<<16 | 19<<8, nil},
		"an old kernel's maps are not for all":   {Config{}, old, []cap.Value{cap.BPF}},
		"translations are dumped and looked for": {Config{NAT: true}, now, []cap.Value{cap.NET_ADMIN, cap.SYS_ADMIN, cap.SYS_PTRACE}},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, c.want, needed(&c.cfg, c.kernel))
		})
	}
}

func TestCapabilitiesAreDroppedAfterTheAdoptionAndBeforeTheFirstRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var done []string
		var mu sync.Mutex // the adoption runs beside the rounds
		note := func(what string) {
			mu.Lock()
			defer mu.Unlock()
			done = append(done, what)
		}
		k := &fakeKernel{
			adopt: func(context.Context) (bpf.AdoptStats, error) {
				note("adopt")
				return bpf.AdoptStats{}, nil
			},
			drop: func(...cap.Value) error {
				note("drop")
				return nil
			},
			harvest: func(int) error {
				note("harvest")
				return nil
			},
		}
		host := &statusHost{Host: componenttest.NewNopHost()}
		r := newTestReceiver(t, k, consumertest.NewNop(), func(c *Config) { c.DropCapabilities = true })
		require.NoError(t, r.Start(t.Context(), host))
		time.Sleep(61 * time.Second)
		require.NoError(t, r.Shutdown(t.Context()))
		assert.Equal(t, []string{"adopt", "drop", "harvest", "harvest"}, done)
		assert.Empty(t, host.events)
	})
}

func TestCapabilitiesThatCannotBeDroppedAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{drop: func(...cap.Value) error { return errKernel }}
		host := &statusHost{Host: componenttest.NewNopHost()}
		r := newTestReceiver(t, k, consumertest.NewNop(), func(c *Config) { c.DropCapabilities = true })
		require.NoError(t, r.Start(t.Context(), host))
		time.Sleep(61 * time.Second)
		synctest.Wait()
		assert.Equal(t, []componentstatus.Status{componentstatus.StatusPermanentError}, host.events)
		assert.Len(t, k.harvests, 1, "it goes on")
		require.NoError(t, r.Shutdown(t.Context()))
	})
}

// Without the option drop is nil here: a call would panic.
func TestCapabilitiesAreNotDroppedUnlessWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		play(t, &fakeKernel{rounds: make([][]counted, 2)}, consumertest.NewNop())
	})
}
