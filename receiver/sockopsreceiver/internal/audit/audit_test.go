// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package audit

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// inhabit makes network namespaces, each with one process, and gives their inodes. It
// skips the test where that is not allowed.
func inhabit(t testing.TB, n int) (inodes []uint32, end func(i int)) {
	var all []*exec.Cmd
	end = func(i int) {
		_ = all[i].Process.Kill()
		_ = all[i].Wait()
	}
	t.Cleanup(func() {
		for i := range all {
			end(i)
		}
	})
	for range n {
		cmd := exec.Command("sleep", "1000")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
		err := cmd.Start()
		if errors.Is(err, os.ErrPermission) && os.Geteuid() != 0 {
			t.Skip(err)
		}
		require.NoError(t, err)
		all = append(all, cmd)
		inode, err := namespaceOf(cmd.Process.Pid)
		require.NoError(t, err)
		inodes = append(inodes, inode)
	}
	return inodes, end
}

func none() (map[uint32]int64, error) { return nil, nil }

// alone ends the audit of all namespaces but one, in which nothing happens by itself.
func alone(t testing.TB, a *Audit, inode uint32) *namespace {
	for other, n := range a.namespaces {
		if other != inode {
			require.NoError(t, a.leave(other, n, errGone))
		}
	}
	require.NotNil(t, a.namespaces[inode])
	return a.namespaces[inode]
}

func round(t testing.TB, a *Audit, flows ...Flow) {
	require.NoError(t, a.Before())
	for i := range flows {
		a.Add(&flows[i])
	}
	require.NoError(t, a.After(true))
}

func TestNamespacesPastTheBoundAreCounted(t *testing.T) {
	inhabit(t, 3)
	a := New(2, none)
	defer a.Close()
	require.Eventually(t, func() bool { // one of somebody else's may end while it is taken in
		round(t, a)
		return a.Report().Audited == 2
	}, 10*time.Second, time.Millisecond)
	assert.GreaterOrEqual(t, a.Report().Refused, 2, "our own, three, and whatever there is")
}

func TestNamespacesOfNoProcessThatCanBeSeenAreCounted(t *testing.T) {
	a := New(MaxNamespaces, none)
	defer a.Close()
	round(t, a, Flow{Netns: 1, Attempted: 1}, Flow{Netns: 1, Opened: 1}, Flow{Netns: 2, Attempted: 1})
	assert.Equal(t, 2, a.Report().Unreadable)
	round(t, a)
	assert.Zero(t, a.Report().Unreadable)
}

// The inode of a namespace is given to the next one made when it has ended.
func TestANamespaceWithTheNumberOfOneThatEndedIsAnother(t *testing.T) {
	inodes, end := inhabit(t, 1)
	a := New(MaxNamespaces, none)
	defer a.Close()
	round(t, a)
	first := a.namespaces[inodes[0]]
	require.NotNil(t, first)
	round(t, a)
	require.Same(t, first, a.namespaces[inodes[0]])
	end(0)
	again, _ := inhabit(t, 1)
	round(t, a)
	require.NotNil(t, a.namespaces[again[0]])
	assert.NotSame(t, first, a.namespaces[again[0]])
	assert.NotEqual(t, first.process, a.namespaces[again[0]].process)
}

// A harvest that failed midway has not handed over all: no balance is drawn.
func TestAHarvestThatWasNotWholeIsNoLoss(t *testing.T) {
	inodes, _ := inhabit(t, 1)
	a := New(MaxNamespaces, none)
	defer a.Close()
	round(t, a)
	n := alone(t, a, inodes[0])
	a.max = 1
	// As if the kernel had counted ten when the audit began at minus ten.
	for i := range n.balances {
		n.balances[i].base -= 10
		n.balances[i].first -= 10
	}
	half := Flow{Netns: inodes[0], Attempted: 5, Retransmissions: 5, SegmentsOut: 5}
	for range 3 {
		require.NoError(t, a.Before())
		require.NoError(t, a.After(false))
	}
	require.NoError(t, a.Before())
	a.Add(&half)
	require.NoError(t, a.After(false))
	assert.Zero(t, a.Report().Seen)
	round(t, a, half)
	round(t, a)
	assert.Equal(t, [NumCounters]uint64{10, 0, 10, 10}, a.Report().Covered)
	assert.Equal(t, [NumCounters]uint64{10, 10, 10, 10}, a.Report().Seen, "and what was really lost")
	assert.Equal(t, a.Report().Covered, a.Report().Recent.Covered)
	ratio, ok := func() (float64, bool) { r := a.Report(); return r.Ratio(ActiveOpens) }()
	assert.True(t, ok)
	assert.InDelta(t, 1, ratio, 1e-9)
}

func TestARatioIsThatOfTheLastRounds(t *testing.T) {
	inodes, _ := inhabit(t, 1)
	a := New(MaxNamespaces, none)
	defer a.Close()
	round(t, a)
	n := alone(t, a, inodes[0])
	a.max = 1
	lose := func(kernel, covered uint64) {
		n.balances[ActiveOpens].base -= kernel
		n.balances[ActiveOpens].first -= kernel
		round(t, a, Flow{Netns: inodes[0], Attempted: covered})
	}
	r := a.Report()
	_, ok := r.Ratio(ActiveOpens)
	assert.False(t, ok, "nothing was seen")
	lose(100, 50)
	round(t, a)
	r = a.Report()
	ratio, _ := r.Ratio(ActiveOpens)
	assert.InDelta(t, 0.5, ratio, 1e-9)
	for range recentRounds {
		lose(10, 10)
	}
	r = a.Report()
	ratio, _ = r.Ratio(ActiveOpens)
	assert.InDelta(t, 1, ratio, 1e-9)
	assert.EqualValues(t, 200, r.Seen[ActiveOpens])
	assert.EqualValues(t, 150, r.Covered[ActiveOpens])
}

func TestSynAcksThatCannotBeReadLeaveTheAuditAsItIs(t *testing.T) {
	broken := errors.New("no map")
	a := New(MaxNamespaces, func() (map[uint32]int64, error) { return nil, broken })
	defer a.Close()
	require.ErrorIs(t, a.Before(), broken)
	require.ErrorIs(t, a.After(true), broken)
	assert.Zero(t, a.Report().Audited)
}

// BenchmarkRound is what the audit adds to a round, on a host of so many namespaces.
func BenchmarkRound(b *testing.B) {
	inhabit(b, 100)
	a := New(MaxNamespaces, none)
	defer a.Close()
	round(b, a)
	b.ReportAllocs()
	for b.Loop() {
		round(b, a)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(a.namespaces)), "ns/namespace")
}

// BenchmarkAdd is what it adds for a flow.
func BenchmarkAdd(b *testing.B) {
	a := New(MaxNamespaces, none)
	f := Flow{Attempted: 1, SegmentsOut: 1}
	b.ReportAllocs()
	for b.Loop() {
		f.Netns ^= 1
		a.Add(&f)
	}
}
