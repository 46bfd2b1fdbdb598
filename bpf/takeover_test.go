// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pretend changes what is pinned, as if another version had written it.
func pretend(t testing.TB, p *pinned, change func(*generation)) {
	t.Helper()
	all, err := generations(p.options.PinPath)
	require.NoError(t, err)
	defer closeAll(all)
	require.NotEmpty(t, all)
	g := all[len(all)-1]
	change(g)
	if g.state != nil {
		require.NoError(t, g.save())
	}
}

// attachedTo waits until a number of sockops programs is attached to a cgroup itself: the
// kernel detaches what was unpinned a moment later.
func attachedTo(t testing.TB, cgroup string, n int) {
	t.Helper()
	dir, err := os.Open(cgroup)
	require.NoError(t, err)
	defer dir.Close()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		found, err := link.QueryPrograms(link.QueryOptions{Target: int(dir.Fd()), Attach: ebpf.AttachCGroupSockOps})
		require.NoError(c, err)
		assert.Len(c, found.Programs, n)
	}, 20*time.Second, 10*time.Millisecond)
}

func TestPinsThatDoNotFitAreReplacedAndWhatCanBeReadIsRead(t *testing.T) {
	otherConnections := func(g *generation) { g.Layout.All[0]++ }
	for _, tt := range []struct {
		name      string
		before    func(p *pinned, sum totals) // what the earlier process did last
		change    func(g *generation)
		options   func(o *Options)
		left      int
		uncertain int
	}{
		{name: "another state of connections", change: otherConnections, left: 1},
		{name: "after a round that was held", left: 2, change: otherConnections, before: func(p *pinned, _ totals) {
			require.NoError(t, p.Harvest(func(*FlowKey, *Flow, *Detail) {}))
		}},
		{name: "after a round that the pipeline had", left: 2, uncertain: 1, change: otherConnections, before: func(p *pinned, _ totals) {
			require.NoError(t, p.Harvest(func(*FlowKey, *Flow, *Detail) {}))
			require.NoError(t, p.Offer(time.Now()))
		}},
		{name: "other groups of detail", options: func(o *Options) { o.Detail = DetailECN }, left: 1},
		{name: "containers told apart", options: func(o *Options) { o.Containers = true }, left: 1},
		{name: "pins that are missing", left: 1, change: func(g *generation) {
			require.NoError(t, os.Remove(g.pin(pinName(".bss"))))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, sum, app := loadPinned(t, Options{}), totals{}, traffic{}
			app.exchange(t, 4)
			since := p.deliver(t, sum)
			app.exchange(t, 4)
			across, acrossServer := pair(t)
			app.connections++
			app.say(t, across, acrossServer, 1000)
			if tt.before != nil {
				tt.before(p, sum)
			}
			require.NoError(t, p.Close())
			app.exchange(t, 4)
			app.say(t, across, acrossServer, 100)
			if tt.change != nil {
				pretend(t, p, tt.change)
			}

			if tt.options == nil {
				tt.options = func(*Options) {}
			}
			p.start(t, tt.options)
			c := p.Continuity()
			assert.False(t, c.Resumed)
			assert.Equal(t, tt.uncertain, c.Uncertain)
			assert.True(t, since.Equal(c.Since), "%v, not %v", c.Since, since)
			require.Len(t, c.Replaced, 1)
			assert.NotEmpty(t, c.Replaced[0].Reason)
			assert.Zero(t, c.Replaced[0].FlowsLost)
			attachedTo(t, p.options.CgroupPath, 1)

			st, err := p.Adopt(t.Context())
			require.NoError(t, err)
			assert.Equal(t, 2, st.Adopted, "the two ends of the connection that is open")
			app.say(t, across, acrossServer, 10)
			var ends []time.Time
			for end, left := p.Left(); left; end, left = p.Left() {
				ends = append(ends, end)
				p.deliver(t, sum)
			}
			assert.Len(t, ends, tt.left)
			assert.IsIncreasing(t, append([]int64{since.UnixNano()}, nanos(ends)...))
			across.Close()
			acrossServer.Close()
			p.finish(t, sum)
			app.equal(t, sum)
			assert.Len(t, entriesOf(t, p.options.PinPath), 1, "the old ones are gone")

			p.restart(t)
			assert.True(t, p.Continuity().Resumed)
			assert.Empty(t, p.Continuity().Replaced)
		})
	}
}

func nanos(times []time.Time) (ns []int64) {
	for _, t := range times {
		ns = append(ns, t.UnixNano())
	}
	return ns
}

func TestFlowsOfAnotherLayoutAreGivenUpAndCounted(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(g *generation)
		lost   int
	}{
		{"of another version", func(g *generation) { g.Layout.Tables[0]++ }, 4},
		{"and a round that was held", func(g *generation) {
			g.Layout.Tables[0]++
			g.Phase = held
		}, 6},
		{"whose state has another size", func(g *generation) {
			require.NoError(t, g.state.Close())
			g.state = nil
			require.NoError(t, os.Remove(g.pin(pinState)))
			m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 16, MaxEntries: 1})
			require.NoError(t, err)
			defer m.Close()
			require.NoError(t, m.Pin(g.pin(pinState)))
		}, 6},
		{"of which one table is missing", func(g *generation) {
			g.Layout.All[0]++
			require.NoError(t, os.Remove(g.pin(sockopsMapFlowsB)))
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, sum := loadPinned(t, Options{}), totals{}
			new(traffic).exchange(t, 1) // two flows that were delivered,
			p.deliver(t, sum)
			new(traffic).exchange(t, 1) // and four that were not
			new(traffic).exchange(t, 1)
			require.NoError(t, p.Close())
			pretend(t, p, tt.change)

			p.start(t)
			c := p.Continuity()
			assert.False(t, c.Resumed)
			require.Len(t, c.Replaced, 1)
			assert.Equal(t, tt.lost, c.Replaced[0].FlowsLost)
			assert.WithinDuration(t, time.Now(), c.Since, 5*time.Second, "nothing is reported of the time before")
			attachedTo(t, p.options.CgroupPath, 1)
			assert.Len(t, entriesOf(t, p.options.PinPath), 1)

			sum, app := totals{}, traffic{}
			app.exchange(t, 4)
			p.finish(t, sum)
			app.equal(t, sum)
		})
	}
}

func TestAnotherCgroupIsWatchedFromThenOn(t *testing.T) {
	p, sum, app := loadPinned(t, Options{}), totals{}, traffic{}
	home := p.options.CgroupPath
	app.exchange(t, 4)
	across, acrossServer := pair(t)
	app.say(t, across, acrossServer, 1000)
	require.NoError(t, p.Close())

	p.start(t, func(o *Options) { o.CgroupPath = emptyCgroup(t, home) })
	t.Cleanup(func() { p.Close() }) // before the cgroup goes
	attachedTo(t, home, 0)
	attachedTo(t, p.options.CgroupPath, 1)
	exchange(t, "tcp4", "127.0.0.1:0", "127.0.0.1", 1, 1)
	say(t, across, acrossServer, 10)
	st, err := p.Adopt(t.Context())
	require.NoError(t, err)
	assert.Zero(t, st.Adopted)
	p.finish(t, sum)
	assert.Equal(t, app.up, sum.of(RoleClient).Sent, "what was counted where it is no longer")
	assert.Equal(t, app.connections+1, sum.of(RoleClient).Attempted)
}

// A process can be killed while it takes over. The next one has to find its way.
func TestATakeOverThatWasInterruptedIsDoneAgain(t *testing.T) {
	for _, tt := range []struct {
		name  string
		until func(t *testing.T, s *Sockops) // of the process that takes over and is killed
	}{
		{"before its maps were complete", func(t *testing.T, s *Sockops) {
			require.NoError(t, os.Remove(s.pins.own.pin(pinState)))
		}},
		{"before it had the link", func(t *testing.T, s *Sockops) {}},
		{"when it had told the old ones to end", func(t *testing.T, s *Sockops) {
			s.pins.old[0].Retired = 1
			require.NoError(t, s.pins.old[0].save())
		}},
		{"when it had the link", func(t *testing.T, s *Sockops) {
			require.NoError(t, s.resume())
			require.NoError(t, s.takeLink(s.path))
		}},
		{"when all was attached", func(t *testing.T, s *Sockops) {
			require.NoError(t, s.attach(s.path))
		}},
		{"when it had delivered one round of two", func(t *testing.T, s *Sockops) {
			require.NoError(t, s.attach(s.path))
			require.NoError(t, s.Harvest(func(*FlowKey, *Flow, *Detail) {}))
			require.NoError(t, s.Settle(time.Now(), false))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, sum, app := loadPinned(t, Options{}), totals{}, traffic{}
			app.exchange(t, 4)
			p.deliver(t, sum)
			app.exchange(t, 4)
			require.NoError(t, p.Harvest(func(*FlowKey, *Flow, *Detail) {}))
			require.NoError(t, p.Close())
			pretend(t, p, func(g *generation) { g.Layout.All[0]++ })
			app.exchange(t, 4)

			spec, err := loadSockops()
			require.NoError(t, err)
			require.NoError(t, configure(spec, &p.options, 1))
			_, id, err := findCgroup(p.options.CgroupPath)
			require.NoError(t, err)
			require.NoError(t, spec.Variables[sockopsVarCgroupId].Set(id))
			killed := &Sockops{round: firstRound, batch: newBatch(false), path: p.options.CgroupPath}
			killed.pins, err = openPins(p.options.PinPath, spec)
			require.NoError(t, err)
			require.NoError(t, killed.load(spec))
			tt.until(t, killed)
			require.NoError(t, killed.Close())
			attachedTo(t, p.options.CgroupPath, 1)
			app.exchange(t, 4)

			p.start(t)
			attachedTo(t, p.options.CgroupPath, 1)
			app.exchange(t, 4)
			p.finish(t, sum)
			app.equal(t, sum)
			assert.Len(t, entriesOf(t, p.options.PinPath), 1)
		})
	}
}

func TestRemovingThePinsEndsTheCounting(t *testing.T) {
	t.Run("while nobody runs", func(t *testing.T) {
		p := loadPinned(t, Options{})
		across, acrossServer := pair(t)
		say(t, across, acrossServer, 1000)
		require.NoError(t, p.Close())
		attachedTo(t, p.options.CgroupPath, 1)
		require.NoError(t, os.RemoveAll(p.options.PinPath))
		attachedTo(t, p.options.CgroupPath, 0)

		// The flags of the sockets are still there, and do no harm.
		say(t, across, acrossServer, 100)
		exchange(t, "tcp4", "127.0.0.1:0", "127.0.0.1", 4, 1)

		p.start(t)
		assert.False(t, p.Continuity().Resumed)
		_, err := p.Adopt(t.Context())
		require.NoError(t, err)
		say(t, across, acrossServer, 10)
		across.Close()
		acrossServer.Close()
		sum := totals{}
		p.finish(t, sum)
		assert.EqualValues(t, 10, sum.of(RoleClient).Sent)
		assert.EqualValues(t, 1, sum.of(RoleServer).Closed[ClosedOrderly])
	})
	t.Run("while it is counted", func(t *testing.T) {
		p, sum, app := loadPinned(t, Options{}), totals{}, traffic{}
		app.exchange(t, 4)
		require.NoError(t, os.RemoveAll(p.options.PinPath))
		app.exchange(t, 4)
		p.finish(t, sum)
		app.equal(t, sum)
		require.NoError(t, p.Close())
		attachedTo(t, p.options.CgroupPath, 0)
		p.start(t)
		assert.False(t, p.Continuity().Resumed)
	})
}

// Each replacement loads all programs anew and exchanges the attached one, as an upgrade
// does, while connections open and close all the time.
func TestReplacementsLeaveNoGap(t *testing.T) {
	replacements := 5
	if long() {
		replacements = 50
	}
	for _, tt := range []struct {
		name   string
		change func(g *generation)
	}{
		{"of the same version", func(*generation) {}},
		{"of a version with other programs", func(g *generation) { g.Object[0]++ }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, sum := loadPinned(t, Options{}), totals{}
			ctx, stop := context.WithCancel(t.Context())
			var opening sync.WaitGroup
			var apps [2]traffic
			for i := range apps {
				opening.Go(func() {
					for ctx.Err() == nil {
						apps[i].exchange(t, 10)
					}
				})
			}
			across, acrossServer := pair(t)
			app := traffic{connections: 1}
			for range replacements {
				require.NoError(t, p.Close())
				pretend(t, p, tt.change)
				app.say(t, across, acrossServer, 100)
				p.start(t)
				assert.True(t, p.Continuity().Resumed)
				app.say(t, across, acrossServer, 100)
				p.deliver(t, sum)
			}
			stop()
			opening.Wait()
			across.Close()
			acrossServer.Close()
			for _, a := range apps {
				app.up, app.down, app.connections = app.up+a.up, app.down+a.down, app.connections+a.connections
			}
			p.finish(t, sum)
			client, server := sum.of(RoleClient), sum.of(RoleServer)
			for _, f := range []*Flow{client, server} { // see TestKilledWithPins… for the RSTs
				assert.Equal(t, app.connections, all(f.Closed))
				f.Closed = [5]uint32{ClosedOrderly: all(f.Closed)}
			}
			app.equal(t, sum)
			t.Logf("%d connections during %d replacements", app.connections, replacements)
		})
	}
}

// long says whether the slow forms of tests are wanted: make test-continuity.
func long() bool { return os.Getenv("FLOWMONITOR_LONG") != "" }

func TestEveryMapIsPinnedUnlessItIsScratch(t *testing.T) {
	p := loadPinned(t, Options{})
	spec, err := loadSockops()
	require.NoError(t, err)
	want := []string{pinState, pinLink, pinWalk, pinSynacks, pinTold}
	for name := range spec.Maps {
		if !scratch(name) && !readOnly(name) {
			want = append(want, pinName(name))
		}
	}
	assert.Contains(t, want, sockopsMapConns)
	assert.Contains(t, want, sockopsMapFlowsA)
	assert.ElementsMatch(t, want, entriesOf(t, filepath.Join(p.options.PinPath, "1")))
}
