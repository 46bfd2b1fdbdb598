// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

func a16(s string) [16]byte { return netip.MustParseAddr(s).As16() }

func TestWhetherThePeerIsHereIsDecidedOnce(t *testing.T) {
	tracker := New(Settings{})
	connection := nat("10.1.0.2:40000", "172.20.0.10:443", "10.2.0.2:8443", 1)
	tracker.table.open(connection, event, 5*second)
	peerHere := func(local, peer string) bool {
		x, result := tracker.ResolveAnywhere(ap(local), ap(peer))
		require.Equal(t, Translated, result)
		return x.PeerHere
	}
	client := func() bool { return peerHere("10.1.0.2:40000", "172.20.0.10:443") }
	server := func() bool { return peerHere("10.2.0.2:8443", "10.1.0.2:40000") }
	look := func(at time.Duration, whole bool, found ...string) {
		var all [][16]byte
		for _, a := range found {
			all = append(all, a16(a))
		}
		tracker.addresses.update(all, at, whole, retention)
	}
	assert.False(t, client(), "nobody has looked")
	look(4*second, true, "10.2.0.9")
	assert.False(t, client(), "a look before the connection decides nothing")
	look(6*second, false)
	assert.False(t, client(), "nor does one that did not see all")
	look(7*second, true, "10.2.0.2")
	assert.True(t, client())
	assert.False(t, server())
	look(8*second, true, "10.1.0.2")
	assert.False(t, server(), "decided")
	look(9*second+2*retention, true)
	assert.True(t, client(), "decided, though the address has gone")
	tracker.table.close(connection, event, 300*second)
	assert.True(t, client(), "the last counts come after the end")
}

func TestAddressesAreBoundedAndKeptForAWhile(t *testing.T) {
	a := newAddresses(2)
	a.update([][16]byte{a16("10.0.0.1"), a16("10.0.0.2"), a16("10.0.0.3"), a16("10.0.0.1")}, second, true, retention)
	assert.Equal(t, 1, a.refused)
	assert.True(t, a.has(a16("10.0.0.1")))
	assert.False(t, a.has(a16("10.0.0.3")))
	assert.True(t, a.has(a16("127.0.0.1")))
	assert.True(t, a.has(a16("::1")))
	a.update([][16]byte{a16("10.0.0.1")}, retention, true, retention)
	assert.True(t, a.has(a16("10.0.0.2")), "not gone for long")
	a.update([][16]byte{a16("10.0.0.1"), a16("10.0.0.3")}, retention+2*second, true, retention)
	assert.False(t, a.has(a16("10.0.0.2")))
	assert.True(t, a.has(a16("10.0.0.3")), "there is room again")
	assert.Zero(t, a.refused)
}

// The oracle is Go's own list.
func TestTheAddressesOfInterfacesAreFound(t *testing.T) {
	host := emptyHost(t)
	require.NoError(t, host.Do(func() error {
		i, err := listInterfaces()
		require.NoError(t, err)
		defer i.close()
		for n := range 2 {
			got, err := i.addresses(nil, make([]byte, dumpBuffer))
			require.NoError(t, err)
			list, err := net.InterfaceAddrs()
			require.NoError(t, err)
			var want [][16]byte
			for _, a := range list {
				if ip := a.(*net.IPNet).IP; !ip.IsLinkLocalUnicast() {
					want = append(want, [16]byte(ip.To16()))
				}
			}
			assert.ElementsMatch(t, want, got)
			assert.Contains(t, got, host.Addr6().As16())
			// A pod gets its address after its namespace is there; the second time there is one more,
			// of a link with two ends.
			require.NoError(t, host.Command(t.Context(), "ip", "addr", "add", fmt.Sprintf("10.77.%d.1", n), "peer", fmt.Sprintf("10.77.%d.2", n), "dev", "lo").Run())
		}
		got, err := i.addresses(nil, make([]byte, dumpBuffer))
		require.NoError(t, err)
		assert.Contains(t, got, a16("10.77.0.1"))
		assert.NotContains(t, got, a16("10.77.0.2"), "the other end's")
		return nil
	}))
}

// FuzzAddresses: no bytes make it crash, or hold a link-local address.
func FuzzAddresses(f *testing.F) {
	line := append([]byte{unix.AF_INET, 32, 0, 0, 1, 0, 0, 0}, 8, 0, unix.IFA_LOCAL, 0, 10, 0, 0, 1)
	f.Add(request(unix.RTM_NEWADDR, unix.NLM_F_MULTI, 1, line...))
	f.Add(append(request(unix.RTM_NEWADDR, unix.NLM_F_MULTI, 1, line...), request(unix.NLMSG_DONE, unix.NLM_F_MULTI, 1, 0, 0, 0, 0)...))
	f.Add(request(unix.NLMSG_ERROR, 0, 1, 255, 255, 255, 255))
	f.Fuzz(func(t *testing.T, b []byte) {
		found, _, _ := decodeAddressDump(b, 1, nil)
		for _, a := range found {
			ip := netip.AddrFrom16(a)
			require.False(t, ip.Is6() && !ip.Is4In6() && ip.IsLinkLocalUnicast())
		}
	})
}

// BenchmarkRefresh is what looking for namespaces, and at their addresses, costs.
func BenchmarkRefresh(b *testing.B) {
	needLab(b)
	lab := netlab.New()
	for i := range 200 {
		lab.Host(fmt.Sprintf("h%d", i), fmt.Sprintf("10.9.%d.1", i), fmt.Sprintf("fd00:9:%x::1", i+1))
	}
	require.NoError(b, lab.Start(b.Context()))
	defer lab.Close()
	tracker := New(Settings{RefreshInterval: time.Hour})
	require.NoError(b, tracker.Start())
	defer tracker.Close()
	require.NoError(b, tracker.refresh())
	for name, do := range map[string]func() error{"all": tracker.refresh, "addresses": func() error {
		tracker.discovery.mu.Lock()
		defer tracker.discovery.mu.Unlock()
		return tracker.look()
	}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := do(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.ReportMetric(float64(tracker.Stats().Namespaces), "namespaces")
}
