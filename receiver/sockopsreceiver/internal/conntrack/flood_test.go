// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
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

// templates of the requests, whose addresses and ports are changed in place.
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

// appendFlood appends the request for connection number n: 10.(n>>28).x.x:port.
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
		switch string(m[i : i+4]) {
		case "\x01\x02\x03\x04":
			copy(m[i:], address)
		}
		if m[i] == 0x12 && m[i+1] == 0x34 {
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

func TestAFloodOfEventsIsFollowed(t *testing.T) {
	host := emptyHost(t)
	tracker := track(t, host, Settings{})
	mustSync(t, tracker)
	before := processCPU(t)
	out, err := runFlood(t, host, 50_000, 5).Output()
	require.NoError(t, err)
	mustSync(t, tracker)
	cpu := processCPU(t) - before
	fields := strings.Fields(string(out))
	events, _ := strconv.Atoi(fields[0])
	us, _ := strconv.Atoi(fields[1])
	st := tracker.Stats()
	t.Logf("%d events in %.2f s (%.0f/s), CPU %v = %.1f%% of a core; %+v", events, float64(us)/1e6, float64(events)/float64(us)*1e6, cpu, 100*cpu.Seconds()/(float64(us)/1e6), st)
	assert.EqualValues(t, events, st.Events)
	assert.Zero(t, st.EventsLost)
	_ = exec.Command
	_ = runtime.NumCPU
	_ = netip.Addr{}
}

func processCPU(t testing.TB) time.Duration {
	t.Helper()
	var u unix.Rusage
	require.NoError(t, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
