// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// bpffs mounts a BPF file system for a test and gives a pin path below it.
func bpffs(t testing.TB) string {
	t.Helper()
	require.NoError(t, supported(t))
	dir := filepath.Join(t.TempDir(), "bpf")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, unix.Mount("bpf", dir, "bpf", 0, ""))
	t.Cleanup(func() { assert.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return filepath.Join(dir, "flowmonitor")
}

// pinned is a process, or several after each other, that counts with pins.
type pinned struct {
	*Sockops
	options Options
	open    int // connections of clients, by the last round
}

func loadPinned(t testing.TB, o Options) *pinned {
	t.Helper()
	require.NoError(t, supported(t))
	if o.CgroupPath == "" {
		o.CgroupPath = ownCgroup(t)
	}
	if o.PinPath == "" {
		o.PinPath = bpffs(t)
	}
	if o.MaxFlows == 0 {
		o.MaxFlows = 1024
	}
	o.MaxSockets = 1 << 20
	p := &pinned{options: o}
	p.start(t)
	t.Cleanup(func() { assert.NoError(t, p.Close()) })
	return p
}

func (p *pinned) start(t testing.TB, change ...func(*Options)) {
	t.Helper()
	for _, c := range change {
		c(&p.options)
	}
	s, err := Load(p.options)
	require.NoError(t, err)
	p.Sockops = s
}

// restart ends the process in good order and begins the next one.
func (p *pinned) restart(t testing.TB, change ...func(*Options)) {
	t.Helper()
	require.NoError(t, p.Close())
	p.start(t, change...)
}

// deliver takes a round to its end.
func (p *pinned) deliver(t testing.TB, sum totals) (end time.Time) {
	t.Helper()
	p.open = 0
	require.NoError(t, p.Harvest(func(k *FlowKey, f *Flow, d *Detail) {
		sum.add(k, f, d)
		for _, n := range f.Open {
			if k.Role == RoleClient {
				p.open += int(n)
			}
		}
	}))
	end = time.Now()
	require.NoError(t, p.Offer(end))
	require.NoError(t, p.Settle(end, true))
	return end
}

// finish delivers until no connection is open.
func (p *pinned) finish(t testing.TB, sum totals) {
	t.Helper()
	require.Eventually(t, func() bool {
		for _, left := p.Left(); left; _, left = p.Left() {
			p.deliver(t, sum)
		}
		p.deliver(t, sum)
		return p.open == 0
	}, 30*time.Second, 10*time.Millisecond)
}

// ours is an address that no other test on this machine uses: in a million connections there
// is one to a port that somebody else has just had.
const ours = "127.83.0.1"

// traffic is what applications say that they have done.
type traffic struct {
	up, down    uint64
	connections uint32
}

func (f *traffic) exchange(t testing.TB, n int) {
	t.Helper()
	up, down := exchange(t, "tcp4", ours+":0", ours, n, 1)
	f.up, f.down, f.connections = f.up+up, f.down+down, f.connections+uint32(n)
}

func (f *traffic) say(t testing.TB, client, server net.Conn, n int) {
	t.Helper()
	say(t, client, server, n)
	f.up += uint64(n)
}

func (f *traffic) equal(t testing.TB, sum totals) {
	t.Helper()
	client, server := sum.of(RoleClient), sum.of(RoleServer)
	assert.Equal(t, f.up, client.Sent, "client sent")
	assert.Equal(t, f.up, server.Received, "server received")
	assert.Equal(t, f.down, server.Sent, "server sent")
	assert.Equal(t, f.down, client.Received, "client received")
	assert.Equal(t, client.SegmentsSent, server.SegmentsReceived)
	assert.Equal(t, f.connections, client.Attempted, "attempted")
	assert.Equal(t, f.connections, client.Opened, "opened by clients")
	assert.Equal(t, f.connections, server.Opened, "opened at servers")
	assert.Equal(t, [5]uint32{ClosedOrderly: f.connections}, client.Closed)
	assert.Equal(t, [5]uint32{ClosedOrderly: f.connections}, server.Closed)
	assert.EqualValues(t, f.connections, client.Connect.Count)
	assert.NotContains(t, sum, uint8(RoleUnknown))
}

func TestWhatHappensWhileNobodyRunsIsInTheFirstRound(t *testing.T) {
	p, sum, app := loadPinned(t, Options{}), totals{}, traffic{}
	assert.Equal(t, Continuity{Since: p.Continuity().Since}, p.Continuity(), "the first process")
	assert.WithinDuration(t, time.Now(), p.Continuity().Since, time.Minute)

	app.exchange(t, 20)
	across, acrossServer := pair(t)
	app.connections++
	app.say(t, across, acrossServer, 1000)
	end := p.deliver(t, sum)
	app.exchange(t, 20) // counted, not delivered
	require.NoError(t, p.Close())

	app.exchange(t, 20)
	app.say(t, across, acrossServer, 70)
	born, bornServer := pair(t)
	app.connections++
	app.say(t, born, bornServer, 5)
	listener := fullListener(t)
	app.connections++ // which has filled it
	dialFull(t, listener, 6)

	p.start(t)
	c := p.Continuity()
	assert.True(t, c.Resumed)
	assert.True(t, end.Equal(c.Since), "%v, not %v", c.Since, end)
	assert.Zero(t, c.Uncertain)
	assert.Empty(t, c.Replaced)
	_, left := p.Left()
	assert.False(t, left)
	p.deliver(t, sum)
	client := sum.of(RoleClient)
	assert.Equal(t, app.up, client.Sent)
	assert.Equal(t, app.down, client.Received)
	assert.Equal(t, app.connections+1, client.Attempted)
	assert.Equal(t, 4, p.open)
	assert.NotContains(t, sum, uint8(RoleUnknown), "nothing had to be adopted")

	st, err := p.Adopt(t.Context())
	require.NoError(t, err)
	assert.Zero(t, st.Adopted, "all sockets have their storage")
	app.say(t, across, acrossServer, 3)
	across.Close()
	acrossServer.Close()
	p.deliver(t, sum)
	assert.Equal(t, app.up, sum.of(RoleClient).Sent)
	assert.Equal(t, app.up, sum.of(RoleServer).Received)
}

func TestARestartKeepsWhatTheKernelCouldNotCount(t *testing.T) {
	p := loadPinned(t, Options{MaxFlows: 1})
	var app traffic
	app.exchange(t, 1)
	require.NoError(t, p.Close())
	app.exchange(t, 1)
	p.start(t)
	st, err := p.Stats()
	require.NoError(t, err)
	assert.NotZero(t, st.Overflowed)
	sum := totals{}
	p.finish(t, sum)
	app.equal(t, sum)
}

// A process that ends without settling leaves what one leaves that is killed at that point.
func TestARoundThatWasNotSettledComesAgain(t *testing.T) {
	quietly := func(p *pinned) error { return p.Harvest(func(*FlowKey, *Flow, *Detail) {}) }
	for _, tt := range some([]struct {
		name      string
		until     func(p *pinned) error
		left      bool
		uncertain int
	}{
		{"before it was announced", func(p *pinned) error { return p.fold() }, false, 0},
		{"when it was announced", func(p *pinned) error { return errors.Join(p.renewSpare(), p.fold(), p.pins.own.hold(p.round+1)) }, true, 0},
		{"when it had begun", func(p *pinned) error {
			return errors.Join(p.renewSpare(), p.fold(), p.pins.own.hold(p.round+1), p.beginRound())
		}, true, 0},
		{"when it was read", quietly, true, 0},
		{"when the pipeline had it", func(p *pinned) error {
			return errors.Join(quietly(p), p.Offer(time.Now()))
		}, true, 1},
		{"when the pipeline had refused it", func(p *pinned) error {
			return errors.Join(quietly(p), p.Offer(time.Now()), p.Settle(time.Now(), false))
		}, true, 0},
	}) {
		t.Run(tt.name, func(t *testing.T) {
			p, sum, app := loadPinned(t, Options{}), totals{}, traffic{}
			app.exchange(t, 4)
			since := p.deliver(t, sum)
			app.exchange(t, 4)
			across, acrossServer := pair(t)
			app.connections++
			app.say(t, across, acrossServer, 10)
			require.NoError(t, tt.until(p))
			until := app
			require.NoError(t, p.Close())
			app.exchange(t, 4)

			p.start(t)
			assert.Equal(t, tt.uncertain, p.Continuity().Uncertain)
			assert.True(t, since.Equal(p.Continuity().Since))
			end, left := p.Left()
			require.Equal(t, tt.left, left)
			if left {
				assert.True(t, end.After(since) && end.Before(time.Now()), "%v", end)
				p.deliver(t, sum)
				if tt.name == "when it was announced" {
					until = app // the kernel went on with the same table
				}
				client := sum.of(RoleClient)
				assert.Equal(t, until.up, client.Sent)
				assert.Equal(t, until.down, client.Received)
				assert.Equal(t, until.connections, client.Attempted)
				assert.Equal(t, 1, p.open, "and levels as they were")
			}
			_, left = p.Left()
			assert.False(t, left)
			p.deliver(t, sum)
			assert.Equal(t, 1, p.open, "a level is not added to another")
			across.Close()
			acrossServer.Close()
			p.finish(t, sum)
			app.equal(t, sum)
		})
	}
}

func TestWhatWasSettledDoesNotComeAgain(t *testing.T) {
	p, sum, app := loadPinned(t, Options{}), totals{}, traffic{}
	app.exchange(t, 4)
	p.deliver(t, sum)
	p.restart(t)
	p.restart(t)
	p.finish(t, sum)
	app.equal(t, sum)
}

func TestASecondCollectorIsRefused(t *testing.T) {
	p := loadPinned(t, Options{})
	_, err := Load(p.options)
	require.ErrorIs(t, err, ErrPinPathInUse)
	assert.ErrorContains(t, err, p.options.PinPath)
	assert.ErrorContains(t, err, fmt.Sprintf("held by process %d", os.Getpid()))
	var app traffic
	app.exchange(t, 3)
	sum := totals{}
	p.finish(t, sum)
	app.equal(t, sum)
}

func TestPinPathsThatCannotBeUsed(t *testing.T) {
	require.NoError(t, supported(t))
	mount := filepath.Dir(bpffs(t))
	o := Options{CgroupPath: ownCgroup(t), MaxFlows: 16, MaxSockets: 16}
	somebodys, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	require.NoError(t, err)
	t.Cleanup(func() { somebodys.Close() })
	require.NoError(t, somebodys.Pin(filepath.Join(mount, "somebodys")))
	for name, tt := range map[string]struct{ path, want string }{
		"relative":                        {"pins", "must be an absolute path"},
		"on another file system":          {filepath.Join(t.TempDir(), "pins"), "mount -t bpf"},
		"the root of the mount":           {mount, "a folder of its own"},
		"with a dot, which bpffs refuses": {filepath.Join(mount, "a.b"), "no dots"},
		"below a pin, which is no folder": {filepath.Join(mount, "somebodys", "x"), "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			o.PinPath = tt.path
			_, err := Load(o)
			require.ErrorContains(t, err, tt.want)
			assert.ErrorContains(t, err, "'pin_path'")
			assert.ErrorContains(t, err, tt.path)
		})
	}
}

func TestAHarvestWaitsForTheSettlementOfTheOneBefore(t *testing.T) {
	p := loadPinned(t, Options{})
	require.NoError(t, p.Harvest(totals{}.add))
	assert.True(t, p.Unsettled())
	require.ErrorIs(t, p.Harvest(totals{}.add), errUnsettled)
	require.NoError(t, p.Settle(time.Now(), false))
	assert.True(t, p.Unsettled())
	require.NoError(t, p.Settle(time.Now(), true))
	assert.False(t, p.Unsettled())
	require.NoError(t, p.Harvest(totals{}.add))
}

func TestOtherBoundsLoseNothing(t *testing.T) {
	p, sum, app := loadPinned(t, Options{MaxFlows: 8}), totals{}, traffic{}
	for _, flows := range []int{64, 4, 4, 4, 300} {
		app.exchange(t, 2)
		across, acrossServer := pair(t)
		app.connections++
		p.restart(t, func(o *Options) { o.MaxFlows, o.MaxSockets = flows, o.MaxSockets-1 })
		assert.True(t, p.Continuity().Resumed)
		assert.Empty(t, p.Continuity().Replaced)
		app.exchange(t, 2)
		app.say(t, across, acrossServer, 9)
		across.Close()
		acrossServer.Close()
		p.deliver(t, sum)
		app.exchange(t, 2)
	}
	p.deliver(t, sum)
	p.deliver(t, sum)
	for _, table := range []*ebpf.Map{p.objects.FlowsA, p.objects.FlowsB} {
		assert.EqualValues(t, 300+overflowFlows, table.MaxEntries())
	}
	p.finish(t, sum)
	app.equal(t, sum)
}

// entriesOf gives the names in a folder.
func entriesOf(t testing.TB, dir string) (names []string) {
	t.Helper()
	found, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range found {
		names = append(names, e.Name())
	}
	return names
}

func TestReportedSYNACKsAreNotReportedByTheNextProcess(t *testing.T) {
	p := loadPinned(t, Options{})
	count := func(n int64) { require.NoError(t, p.objects.Synacks.Put(uint32(7), n)) }
	counts := func() int64 {
		all, err := p.SynAcks()
		require.NoError(t, err)
		return all[7]
	}
	count(5)
	assert.EqualValues(t, 5, counts())
	require.NoError(t, p.TellSynAcks(map[uint32]int64{7: 3}))
	assert.EqualValues(t, 5, counts(), "in all, as before, for the process that reported them")
	p.restart(t)
	assert.EqualValues(t, 2, counts())
	count(9) // by the kernel
	assert.EqualValues(t, 6, counts())
	require.NoError(t, p.TellSynAcks(map[uint32]int64{7: 6}))
	p.restart(t)
	assert.Zero(t, counts())
}

// A round that comes again needs the names of its cgroups again.
func TestCgroupsAreNamedUntilNoRoundNeedsThem(t *testing.T) {
	p := loadPinned(t, Options{Containers: true})
	var ids []uint64
	harvest := func() {
		ids = nil
		require.NoError(t, p.Harvest(func(k *FlowKey, _ *Flow, _ *Detail) {
			ids = append(ids, k.Cgroup)
			names, err := p.CgroupNames(k.Cgroup)
			require.NoError(t, err)
			require.NotEmpty(t, names)
			assert.Equal(t, filepath.Base(p.options.CgroupPath), names[0])
		}))
	}
	new(traffic).exchange(t, 1)
	harvest()
	require.Len(t, ids, 2)
	id := ids[0]
	p.restart(t)
	harvest() // again
	require.Len(t, ids, 2)
	require.NoError(t, p.Settle(time.Now(), true))
	new(traffic).exchange(t, 1)
	harvest()
	require.Len(t, ids, 2)
	require.NoError(t, p.Settle(time.Now(), true))

	for range 2 { // rounds in which nobody asks
		p.deliver(t, totals{})
	}
	_, err := p.CgroupNames(id)
	require.ErrorIs(t, err, ebpf.ErrKeyNotExist)
	new(traffic).exchange(t, 1)
	harvest() // and here they are again
	require.Len(t, ids, 2)
}

// The rounds and the adoption do not wait for each other.
func TestHarvestsAndAdoptionsGoOnAtOnce(t *testing.T) {
	p, sum := loadPinned(t, Options{}), totals{}
	client, server := pair(t)
	var adopting sync.WaitGroup
	for range 3 {
		adopting.Go(func() {
			_, err := p.Adopt(t.Context())
			assert.NoError(t, err)
		})
		for range 5 {
			say(t, client, server, 10)
			p.deliver(t, sum)
		}
		adopting.Wait()
	}
	client.Close()
	server.Close()
	p.finish(t, sum)
	assert.EqualValues(t, 150, sum.of(RoleClient).Sent)
}

func BenchmarkRoundWithPins(b *testing.B) {
	for _, flows := range []int{0, 1000, 10_000} {
		for _, with := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d flows, pins: %v", flows, with), func(b *testing.B) {
				o := Options{MaxFlows: 16384, CgroupPath: ownCgroup(b), MaxSockets: 1 << 20}
				if with {
					o.PinPath = bpffs(b)
				}
				p := load(b, o)
				keys, values := make([]FlowKey, flows), make([]Flow, flows)
				for i := range keys {
					keys[i].Local[0], keys[i].Local[1] = byte(i), byte(i>>8)
					values[i].Sent = 1
				}
				b.ReportAllocs()
				for b.Loop() {
					if flows > 0 {
						b.StopTimer()
						_, err := p.table(p.round).BatchUpdate(keys, values, nil)
						require.NoError(b, err)
						b.StartTimer()
					}
					n := 0
					require.NoError(b, p.Harvest(func(*FlowKey, *Flow, *Detail) { n++ }))
					require.NoError(b, p.Offer(time.Now()))
					require.NoError(b, p.Settle(time.Now(), true))
					require.Equal(b, flows, n)
				}
			})
		}
	}
}
