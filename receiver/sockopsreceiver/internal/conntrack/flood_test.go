// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

// floodEnv has this program make conntrack events instead of running tests: the value is
// the number of connections a second and for how many seconds.
const floodEnv = "CONNTRACK_FLOOD"

// flood makes connections, and ends them, at the given rate, in its own namespace: in a
// process of its own, so that its CPU time is not that of the tracker. Half of the events
// are begins, half are ends.
func flood(spec string) error {
	var perSecond, seconds int
	if _, err := fmt.Sscanf(spec, "%d,%d", &perSecond, &seconds); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	const slice = 20 * time.Millisecond
	perSlice := perSecond * int(slice.Milliseconds()) / 1000
	began := time.Now()
	n := uint32(0)
	var buffer []byte
	for i := range seconds * int(time.Second/slice) {
		for kind := range 2 { // make some, end them
			for done := 0; done < perSlice; {
				buffer = buffer[:0]
				for range min(100, perSlice-done) {
					buffer = appendFlood(buffer, n+uint32(done), kind == 1)
					done++
				}
				if err := unix.Sendto(fd, buffer, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
					return err
				}
			}
		}
		n += uint32(perSlice)
		time.Sleep(time.Until(began.Add(time.Duration(i+1) * slice)))
	}
	took := time.Since(began)
	// Requests are acknowledged only if they fail.
	b := make([]byte, 1<<16)
	if n, _, err := unix.Recvfrom(fd, b, unix.MSG_DONTWAIT); err == nil {
		_, payload, _, _ := message(b[:n])
		return fmt.Errorf("the kernel refused: %w", errno(payload))
	} else if !errors.Is(err, unix.EAGAIN) {
		return err
	}
	fmt.Printf("%d %d\n", 2*n, took.Microseconds())
	return nil
}

// Requests whose client, 1.2.3.4:0x1234, is changed in place.
var floodNew, floodDestroy = floodTemplate(false), floodTemplate(true)

func floodTemplate(destroy bool) []byte {
	m := entry{src: ap("1.2.3.4:4660"), dst: ap("100.64.0.1:443"), dstNAT: ap("10.0.0.2:8443")}.message()
	if destroy {
		m.Header.Type = typeDestroy
		m.Header.Flags = 1 // NLM_F_REQUEST
	}
	m.Header.Length = uint32(16 + len(m.Data))
	b, err := m.MarshalBinary()
	if err != nil {
		panic(err)
	}
	return b
}

// appendFlood appends the request for connection number n, of a client in 11.0.0.0/8.
func appendFlood(b []byte, n uint32, destroy bool) []byte {
	template := floodNew
	if destroy {
		template = floodDestroy
	}
	at := len(b)
	b = append(b, template...)
	m := b[at:]
	address := binary.BigEndian.AppendUint32(nil, 11<<24|n>>14)
	port := binary.BigEndian.AppendUint16(nil, uint16(n&0x3fff)+1024)
	for i := 0; i+4 <= len(m); i += 4 { // attributes are aligned
		switch {
		case string(m[i:i+4]) == "\x01\x02\x03\x04":
			copy(m[i:], address)
		case string(m[i:i+2]) == "\x12\x34":
			copy(m[i:], port)
		}
	}
	return b
}

// runFlood starts a flood in a node.
func runFlood(t testing.TB, n *netlab.Node, perSecond, seconds int) *netlab.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := n.Command(t.Context(), self)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d,%d", floodEnv, perSecond, seconds))
	cmd.Stderr = os.Stderr
	return cmd
}

const floodSeconds = 5

// floodRate is in connections a second, of two events each. The race detector makes
// everything ten times slower.
func floodRate() int {
	if raceEnabled {
		return 5_000
	}
	return 50_000
}

// TestAFloodOfEventsIsFollowed: 100,000 events a second in the namespace of a client of a
// ClusterIP, whose own connections are resolved right all the while, as soon as they are
// closed.
func TestAFloodOfEventsIsFollowed(t *testing.T) {
	c := newCluster(t)
	rules(t, c.podA, clusterIP)
	serve(t, c.podB, "8443")
	serve(t, c.podB2, "8443")
	tracker := track(t, c.nodeA, Settings{ReceiveBuffer: 128 << 20}) // 16 MiB for the pod
	mustSync(t, tracker)
	before := tracker.Stats()

	cpu := processCPU(t)
	cmd := runFlood(t, c.podA, floodRate(), floodSeconds)
	var out bytes.Buffer
	cmd.Stdout = &out
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	podA, podB := inode(t, c.podA), map[netip.Addr]uint32{c.podB.Addr4(): inode(t, c.podB), c.podB2.Addr4(): inode(t, c.podB2)}
	resolved := 0
	for during := true; during; {
		select {
		case err := <-ended:
			require.NoError(t, err)
			during = false
		default:
		}
		conn, client, server := dial(t, c.podA, "172.20.0.10:443")
		require.NoError(t, conn.Close())
		mustSync(t, tracker)
		got, result := tracker.Resolve(podA, client.Local, client.Peer)
		require.Equal(t, Translated, result)
		require.Equal(t, Translation{Local: server.Peer, Peer: server.Local, PeerHere: true}, got)
		got, result = tracker.Resolve(podB[server.Local.Addr()], server.Local, server.Peer)
		require.Equal(t, Translated, result)
		require.Equal(t, Translation{Local: client.Peer, Peer: client.Local, PeerHere: true}, got)
		resolved++
		time.Sleep(20 * time.Millisecond) // some rest between them, so that what is measured is the flood
	}
	behind := time.Now()
	mustSync(t, tracker)
	lag := time.Since(behind)
	cpu = processCPU(t) - cpu

	var events uint64
	var us int64
	_, err := fmt.Fscan(&out, &events, &us)
	require.NoError(t, err)
	st := tracker.Stats()
	share := float64(cpu.Microseconds()) / float64(us)
	t.Logf("%d events in %.2f s (%.0f a second), %d connections resolved; %.0f %% of a core, %.1f µs an event; %.1f ms behind at the end; %+v",
		events, float64(us)/1e6, float64(events)/float64(us)*1e6, resolved, 100*share, float64(cpu.Microseconds())/float64(events), float64(lag.Microseconds())/1e3, st)
	assert.Greater(t, resolved, 20)
	lost := st.EventsLost - before.EventsLost
	assert.GreaterOrEqual(t, st.Events-before.Events+lost, events, "each event was read, or is known to be lost")
	if lost > 0 {
		t.Logf("the machine was busy with something else: %d events lost, and made good", lost)
		assert.Greater(t, st.Dumps, before.Dumps)
	}
	assert.Less(t, lag, 5*time.Second)
	if !raceEnabled {
		assert.Less(t, share, 0.6, "of a core, with the test's own connections and checks")
	}
	assert.Zero(t, st.Malformed)
	assert.Zero(t, st.Ambiguous)
}

func processCPU(t testing.TB) time.Duration {
	t.Helper()
	var u unix.Rusage
	require.NoError(t, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
