// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"context"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// inNewNamespaces runs fn in n network namespaces, one after the other, each of which goes
// when no socket is left in it.
func inNewNamespaces(n int, fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never back: the thread ends with the goroutine
		for range n {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				done <- err
				return
			}
			if err := fn(); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	return <-done
}

// upLoopback brings up lo of the thread's network namespace.
func upLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

func TestManyNamespacesAreAdoptedBesideTheRounds(t *testing.T) {
	n := howMany(20, 300, 10_000)
	group := ownCgroup(t)
	require.NoError(t, supported(t))
	var sockets []int
	t.Cleanup(func() {
		for _, fd := range sockets {
			unix.Close(fd)
		}
	})
	require.NoError(t, inNewNamespaces(n, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		sockets = append(sockets, fd)
		return unix.Listen(fd, 1)
	}))

	p := load(t, Options{CgroupPath: group})
	ctx, stop := context.WithCancel(t.Context())
	var harvesting sync.WaitGroup
	var rounds int
	var longest time.Duration
	harvesting.Go(func() {
		for ctx.Err() == nil {
			began := time.Now()
			if !assert.NoError(t, p.Harvest(totals{}.add)) {
				return
			}
			rounds, longest = rounds+1, max(longest, time.Since(began))
			select {
			case <-ctx.Done():
			case <-time.After(time.Millisecond):
			}
		}
	})
	began := time.Now()
	st, _ := p.Adopt(t.Context()) // its errors are about namespaces of others on this machine
	took := time.Since(began)
	stop()
	harvesting.Wait()

	assert.GreaterOrEqual(t, st.Namespaces-st.NamespacesFailed, n)
	assert.Equal(t, n, st.Adopted, "below the cgroup")
	if !testing.Short() { // a few namespaces take no longer than a harvest
		assert.Less(t, took, time.Duration(n)*30*time.Millisecond, "3 ms each, on a machine that has other things to do")
		assert.Less(t, longest, took*3/4, "no harvest waits for the adoption")
		assert.Greater(t, rounds, 1, "nor does the adoption wait for harvests")
	}
	t.Logf("%d namespaces in %v, %v each; %d harvests meanwhile, the longest %v", st.Namespaces, took, took/time.Duration(st.Namespaces), rounds, longest)
}

func TestNamespacesPastTheBoundAreCounted(t *testing.T) {
	const n, bound = 8, 4
	require.NoError(t, supported(t))
	group := ownCgroup(t)
	var listeners []net.Listener
	t.Cleanup(func() {
		for _, ln := range listeners {
			ln.Close()
		}
	})
	require.NoError(t, inNewNamespaces(n, func() error {
		if err := upLoopback(); err != nil {
			return err
		}
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		listeners = append(listeners, ln)
		return err
	}))

	o := Options{MaxFlows: 16, MaxSockets: 16}
	_, id, err := findCgroup(group)
	require.NoError(t, err)
	spec, err := loadSockops()
	require.NoError(t, err)
	require.NoError(t, configure(spec, &o, id))
	assert.GreaterOrEqual(t, spec.Maps[sockopsMapNamespaces].MaxEntries, uint32(16384))
	spec.Maps[sockopsMapNamespaces].MaxEntries = bound
	p := &Sockops{round: firstRound, batch: newBatch(false)}
	require.NoError(t, p.load(spec))
	defer p.Close()
	require.NoError(t, p.attach(group))
	for range 2 { // each time anew
		st, err := p.Adopt(t.Context())
		require.ErrorContains(t, err, "more than 4 network namespaces")
		assert.Equal(t, bound, st.Namespaces)
		assert.NotZero(t, st.NamespacesFailed)
	}
}

// Namespaces come and go while they are looked for, entered and harvested. What is in them
// is counted all the same.
func TestNamespacesThatVanishWhileTheyAreReadLoseNothing(t *testing.T) {
	n := howMany(20, 100, 3000)
	p, sum := load(t, Options{}), totals{}
	ctx, stop := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	reading.Go(func() {
		for ctx.Err() == nil {
			if !assert.NoError(t, p.Harvest(sum.add)) {
				return
			}
		}
	})
	var adoptions, gone int
	reading.Go(func() {
		for ctx.Err() == nil {
			st, _ := p.Adopt(t.Context()) // a namespace that has gone is an error, and no more than that
			adoptions, gone = adoptions+1, gone+st.NamespacesFailed
		}
	})

	const bytes = 1000
	var living sync.WaitGroup
	for range 4 {
		living.Go(func() {
			assert.NoError(t, inNewNamespaces(n/4, func() error { return connectOnce(bytes) }))
		})
	}
	living.Wait()
	stop()
	reading.Wait()
	sum.settle(t, p)
	client, server := sum.of(RoleClient), sum.of(RoleServer)
	assert.EqualValues(t, n*bytes, client.Sent)
	assert.EqualValues(t, n*bytes, server.Received)
	assert.EqualValues(t, n, client.Attempted)
	assert.EqualValues(t, n, server.Opened)
	assert.EqualValues(t, n, client.Closed[ClosedOrderly])
	assert.EqualValues(t, n, server.Closed[ClosedOrderly])
	assert.NotContains(t, sum, uint8(RoleUnknown))
	t.Logf("%d namespaces lived and went during %d adoptions, which missed %d", n, adoptions, gone)
}

// connectOnce sends something over one connection in the thread's network namespace.
func connectOnce(bytes int) error {
	if err := upLoopback(); err != nil {
		return err
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer ln.Close()
	client, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		return err
	}
	defer client.Close()
	server, err := ln.Accept()
	if err != nil {
		return err
	}
	defer server.Close()
	if _, err := client.Write(make([]byte, bytes)); err != nil {
		return err
	}
	if err := client.Close(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, server)
	return err
}
