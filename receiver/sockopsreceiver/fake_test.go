// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sockopsreceiver

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/conntrack"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/identity"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/metadata"
)

// counted is what the kernel counted for one flow in one round.
type counted struct {
	key    bpf.FlowKey
	flow   bpf.Flow
	detail *bpf.Detail
}

// fakeKernel plays package bpf: harvest n gives rounds[n], and those after the last
// give always. The functions replace what a method does.
type fakeKernel struct {
	rounds  [][]counted
	always  []counted
	harvest func(n int) error // after the flows were handed over
	adopt   func(context.Context) (bpf.AdoptStats, error)
	stats   bpf.Stats
	cgroups map[uint64][]string
	tracked *fakeTracker

	translations map[bpf.Tuple]uint32
	synAcks      map[uint32]int64

	audit auditor

	has, lacks []bpf.Feature
	// with pins:
	pinned     bool
	continuity bpf.Continuity
	left       []leftRound // of earlier processes
	unsettled  bool
	offers     []time.Time
	settled    []settlement
	told       map[uint32]int64
	drop       func(keep ...cap.Value) error

	instance identity.Instance
	nowhere  error            // why there is no instance
	wall     func() time.Time // nil: time.Now

	mu       sync.Mutex
	harvests []time.Time
	adopted  int
	adopting bool
	closed   int
	busy     bool
}

// leftRound is a round of another process.
type leftRound struct {
	end   time.Time
	flows []counted
}

// settlement is a call of Settle.
type settlement struct {
	end  time.Time
	done bool
}

// alone fails when two methods run at once that must not.
func (k *fakeKernel) alone() func() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.busy {
		panic("two calls at once")
	}
	if k.closed > 0 {
		panic("a call after Close")
	}
	k.busy = true
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.busy = false
	}
}

// Adopt may run beside the others, but for Close.
func (k *fakeKernel) Adopt(ctx context.Context) (bpf.AdoptStats, error) {
	k.mu.Lock()
	k.adopted++
	k.adopting = true
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.adopting = false
		if k.closed > 0 {
			panic("an adoption after Close")
		}
	}()
	if k.adopt != nil {
		return k.adopt(ctx)
	}
	return bpf.AdoptStats{}, nil
}

func (k *fakeKernel) SynAcks() (map[uint32]int64, error) {
	defer k.alone()()
	return k.synAcks, nil
}

func (k *fakeKernel) Jiffy() time.Duration { return 4 * time.Millisecond }

func (k *fakeKernel) Harvest(yield bpf.Yield) error {
	defer k.alone()()
	if k.unsettled {
		panic("a harvest before the one before is settled")
	}
	k.unsettled = k.pinned
	if len(k.left) > 0 {
		for _, c := range k.left[0].flows {
			yield(&c.key, &c.flow, c.detail)
		}
		return nil
	}
	n := len(k.harvests)
	k.harvests = append(k.harvests, time.Now())
	round := k.always
	if n < len(k.rounds) {
		round = k.rounds[n]
	}
	for _, c := range round {
		yield(&c.key, &c.flow, c.detail)
		c.key, c.flow = bpf.FlowKey{Role: 9}, bpf.Flow{Sent: 1 << 40} // valid during the call only
	}
	if k.harvest != nil {
		return k.harvest(n)
	}
	return nil
}

func (k *fakeKernel) Continuity() bpf.Continuity { return k.continuity }

func (k *fakeKernel) Left() (time.Time, bool) {
	if len(k.left) == 0 {
		return time.Time{}, false
	}
	return k.left[0].end, true
}

func (k *fakeKernel) Unsettled() bool { return k.unsettled }

func (k *fakeKernel) Offer(end time.Time) error {
	defer k.alone()()
	k.offers = append(k.offers, end)
	return nil
}

func (k *fakeKernel) Settle(end time.Time, done bool) error {
	defer k.alone()()
	k.settled = append(k.settled, settlement{end, done})
	if done && k.unsettled {
		k.unsettled = false
		if len(k.left) > 0 {
			k.left = k.left[1:]
		}
	}
	return nil
}

func (k *fakeKernel) TellSynAcks(told map[uint32]int64) error {
	defer k.alone()()
	if k.told == nil {
		k.told = map[uint32]int64{}
	}
	maps.Copy(k.told, told)
	return nil
}

func (k *fakeKernel) Stats() (bpf.Stats, error) { return k.stats, nil }

// CgroupNames takes nothing out: each round's flows would bring the names again.
func (k *fakeKernel) CgroupNames(id uint64) ([]string, error) {
	names, ok := k.cgroups[id]
	if !ok {
		return nil, errKernel
	}
	return names, nil
}

func (k *fakeKernel) Translate(tuples []bpf.Tuple, ids []uint32) (int, error) {
	defer k.alone()()
	if k.translations == nil {
		k.translations = map[bpf.Tuple]uint32{}
	}
	for i, tuple := range tuples {
		k.translations[tuple] = ids[i]
	}
	return len(tuples), nil
}

func (k *fakeKernel) Forget(tuples []bpf.Tuple) error {
	defer k.alone()()
	for _, tuple := range tuples {
		delete(k.translations, tuple)
	}
	return nil
}

func (k *fakeKernel) TranslationsComplete(bool) error {
	defer k.alone()()
	return nil
}

func (k *fakeKernel) Close() error {
	if k.closed == 0 {
		defer k.alone()()
	}
	k.closed++
	return nil
}

var errKernel = errors.New("the kernel said no")

// newTestReceiver makes a receiver over k whose rounds last a minute, without jitter.
func newTestReceiver(t testing.TB, k *fakeKernel, next consumer.Metrics, change ...func(*Config)) *sockopsReceiver {
	cfg := createDefaultConfig().(*Config)
	cfg.CollectionInterval = time.Minute
	cfg.Jitter = new(time.Duration)
	cfg.Resource = map[string]string{"host.id": "host-1", "host.name": "host-1.example"}
	for _, c := range change {
		c(cfg)
	}
	require.NoError(t, cfg.Validate())
	if k.wall == nil {
		k.wall = time.Now
	}
	set := receivertest.NewNopSettings(metadata.Type)
	set.BuildInfo.Version = "1.2.3"
	r, err := newReceiver(set, cfg, next, surroundings{
		load:     func(*Config) (source, error) { return k, nil },
		instance: func(context.Context) (identity.Instance, error) { return k.instance, k.nowhere },
		audit:    func(*Config, source) auditor { return k.audit },
		wall:     k.wall,
		track:    func(*Config) tracker { return k.tracked },
		drop:     k.drop,
		features: func() (has, lacks []bpf.Feature, err error) { return k.has, k.lacks, nil },
	})
	require.NoError(t, err)
	return r
}

// play runs a receiver over the rounds of k until the last is due, and stops it in the
// middle of the next one. In a synctest bubble.
func play(t *testing.T, k *fakeKernel, next consumer.Metrics, change ...func(*Config)) {
	r := newTestReceiver(t, k, next, change...)
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	for range k.rounds {
		time.Sleep(time.Minute)
		synctest.Wait()
	}
	time.Sleep(30 * time.Second)
	require.NoError(t, r.Shutdown(t.Context()))
}

// picky is a pipeline whose answer to the n-th batch is answer(n).
type picky struct {
	consumertest.MetricsSink
	answer func(n int) error
	calls  int
}

func (p *picky) ConsumeMetrics(ctx context.Context, md pmetric.Metrics) error {
	n := p.calls
	p.calls++
	if err := p.answer(n); err != nil {
		// What a refusing pipeline leaves behind must not matter.
		md.ResourceMetrics().RemoveIf(func(pmetric.ResourceMetrics) bool { return true })
		return err
	}
	return p.MetricsSink.ConsumeMetrics(ctx, md)
}

// statusHost remembers what status was reported.
type statusHost struct {
	component.Host
	events []componentstatus.Status
}

func (h *statusHost) Report(e *componentstatus.Event) {
	h.events = append(h.events, e.Status())
}

// points flattens batches to the values of one metric, in order.
func points(batches []pmetric.Metrics, metric string) (all []pmetric.NumberDataPoint) {
	for _, md := range batches {
		for _, rm := range md.ResourceMetrics().All() {
			for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
				if m.Name() != metric {
					continue
				}
				var slice pmetric.NumberDataPointSlice
				if m.Type() == pmetric.MetricTypeSum {
					slice = m.Sum().DataPoints()
				} else {
					slice = m.Gauge().DataPoints()
				}
				for _, p := range slice.All() {
					all = append(all, p)
				}
			}
		}
	}
	return all
}

func values(batches []pmetric.Metrics, metric string) (all []int64) {
	for _, p := range points(batches, metric) {
		all = append(all, p.IntValue())
	}
	return all
}

// fakeTracker knows translations by what a client's socket holds.
type fakeTracker struct {
	known   map[[2]netip.AddrPort]conntrack.Translation
	stats   conntrack.Stats
	failing error // of Start
	started int
	closed  int
}

func (f *fakeTracker) Start() error {
	f.started++
	return f.failing
}

func (f *fakeTracker) Close() { f.closed++ }

func (f *fakeTracker) Stats() conntrack.Stats { return f.stats }

func (f *fakeTracker) Sync(context.Context) error { return nil }

func (f *fakeTracker) Live(func(conntrack.Socket)) {}

func (f *fakeTracker) Resolve(_ uint32, local, peer netip.AddrPort) (conntrack.Translation, conntrack.Result) {
	return f.ResolveAnywhere(local, peer)
}

func (f *fakeTracker) ResolveAnywhere(local, peer netip.AddrPort) (conntrack.Translation, conntrack.Result) {
	if x, ok := f.known[[2]netip.AddrPort{local, peer}]; ok {
		return x, conntrack.Translated
	}
	return conntrack.Translation{Local: local, Peer: peer}, conntrack.NotTranslated
}
