// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func TestTheKernelSendsOnlyWhatIsTranslatedTCP(t *testing.T) {
	host := emptyHost(t)
	c := newCreator(t, host)
	before := entry{src: ap("10.0.0.1:1000"), dst: ap("10.0.0.99:443"), dstNAT: ap("10.0.0.2:8443")}
	c.create(before)
	tracker := track(t, host, Settings{})
	mustSync(t, tracker)
	all := []entry{
		before,
		{src: ap("[fd00::1]:1000"), dst: ap("[fd00::99]:443"), dstNAT: ap("[fd00::2]:8443")},
		{src: ap("10.0.0.1:1001"), dst: ap("10.0.0.99:443"), dstNAT: ap("10.0.0.2:8443"), zone: 3},
	}
	noise := []entry{
		{src: ap("10.0.0.1:1001"), dst: ap("10.0.0.99:443")},
		{protocol: unix.IPPROTO_UDP, src: ap("10.0.0.1:1002"), dst: ap("10.0.0.99:53"), dstNAT: ap("10.0.0.2:53")},
		{protocol: unix.IPPROTO_UDP, src: ap("[fd00::1]:1002"), dst: ap("[fd00::99]:53")},
	}
	c.create(all[1:]...)
	c.create(noise...)
	mustSync(t, tracker)
	for _, e := range all {
		got, result := tracker.Resolve(inode(t, host), e.src, e.dst)
		assert.Equal(t, Translated, result)
		got.PeerHere = false // that depends on what else is on this machine
		assert.Equal(t, Translation{Local: e.src, Peer: e.dstNAT}, got)
		got, result = tracker.Resolve(0, e.dstNAT, e.src)
		assert.Equal(t, Translated, result)
		got.PeerHere = false
		assert.Equal(t, Translation{Local: e.dst, Peer: e.src}, got)
		got, result = tracker.Resolve(0, e.src, e.dstNAT)
		assert.Equal(t, NotTranslated, result)
		assert.Equal(t, Translation{Local: e.src, Peer: e.dstNAT}, got)
	}
	assert.EqualValues(t, 2, tracker.Stats().Events, "what is not TCP, or not translated, does not get here")
	c.remove(noise...)
	c.remove(all[1:]...)
	mustSync(t, tracker)
	st := tracker.Stats()
	assert.EqualValues(t, 4, st.Events)
	assert.Equal(t, 3, st.Entries)
	assert.Equal(t, 2, st.Ended)
	assert.Zero(t, st.Malformed)
}

// listed is what the conntrack program shows of translated TCP connections.
func listed(t testing.TB, n *netlab.Node) []string {
	t.Helper()
	var found []string
	for _, family := range []string{"ipv4", "ipv6"} {
		var out []byte
		require.NoError(t, n.Do(func() (err error) {
			out, err = exec.Command("conntrack", "-L", "-p", "tcp", "-f", family, "-o", "extended").Output()
			return err
		}))
		for line := range strings.Lines(string(out)) {
			var fields [8]string // of both directions
			i := 0
			for word := range strings.FieldsSeq(line) {
				if key, value, ok := strings.Cut(word, "="); ok && i < len(fields) && slices.Contains([]string{"src", "dst", "sport", "dport"}, key) {
					fields[i] = value
					i++
				}
			}
			require.Equal(t, len(fields), i, line)
			one := connectionString(endpoint(fields[0], fields[2]), endpoint(fields[1], fields[3]))
			two := connectionString(endpoint(fields[4], fields[6]), endpoint(fields[5], fields[7]))
			if back := connectionString(endpoint(fields[5], fields[7]), endpoint(fields[4], fields[6])); one != back {
				found = append(found, one, two)
			}
		}
	}
	slices.Sort(found)
	return found
}

func endpoint(address, port string) netip.AddrPort {
	if strings.Contains(address, ":") {
		return ap("[" + address + "]:" + port)
	}
	return ap(address + ":" + port)
}

func connectionString(src, dst netip.AddrPort) string { return fmt.Sprintf("%v > %v", src, dst) }

// held is the same of the tracker: what it takes for live in a namespace.
func held(t testing.TB, tracker *Tracker, n *netlab.Node) []string {
	t.Helper()
	var found []string
	netns := inode(t, n)
	tracker.apply(func(tb *table, _ time.Duration) {
		tb.each(func(_ int32, r *record) {
			for _, tuple := range r.tuples {
				if r.netns == netns && r.state == live {
					found = append(found, connectionString(tuple.source(), tuple.destination()))
				}
			}
		})
	})
	slices.Sort(found)
	return found
}

// randomEntries are different in their first tuple and in their second.
func randomEntries(n int) (entries []entry) {
	random := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		port := uint16(i%60000 + 1024)
		at := func(v4, v6 string, port uint16) netip.AddrPort {
			if i%2 == 0 {
				return netip.AddrPortFrom(netip.MustParseAddr(v4), port)
			}
			return netip.AddrPortFrom(netip.MustParseAddr(v6), port)
		}
		e := entry{src: at("10.0.0.1", "fd00::1", port), dst: at("172.20.0.10", "fd00:20::10", 443)}
		switch random.IntN(4) {
		case 0:
		case 1:
			e.dstNAT = at("10.0.0.2", "fd00::2", 8443)
		case 2:
			e.srcNAT = at("10.0.0.9", "fd00::9", port)
		case 3:
			e.dstNAT, e.srcNAT = at("10.0.0.3", "fd00::3", 443), at("10.0.0.9", "fd00::9", port)
		}
		entries = append(entries, e)
	}
	return entries
}

// The program conntrack is the oracle: at any time the tracker's table is what it lists.
func TestTheTableIsTheKernels(t *testing.T) {
	host := emptyHost(t)
	c := newCreator(t, host)
	entries := randomEntries(3000)
	c.create(entries[:1000]...)
	tracker := track(t, host, Settings{})
	compare := func(when string, atLeast int) {
		t.Helper()
		mustSync(t, tracker)
		want := listed(t, host)
		require.Equal(t, want, held(t, tracker, host), when)
		require.Greater(t, len(want), atLeast, when)
	}
	compare("dumped", 1000)
	c.create(entries[1000:]...)
	compare("2,000 more", 4000)
	c.remove(entries[1500:2500]...)
	compare("1,000 of them gone", 2500)
	random := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		i := 1000 + random.IntN(400)
		c.remove(entries[i : i+50]...)
		c.create(entries[i : i+50]...)
	}
	compare("some of them gone and made again", 2500)
	assert.Zero(t, tracker.Stats().EventsLost)
}

// Without room for events the kernel drops most of them.
func TestLostEventsAreMadeGoodByADump(t *testing.T) {
	host := emptyHost(t)
	c := newCreator(t, host)
	tracker := track(t, host, Settings{ReceiveBuffer: 8 << 10})
	mustSync(t, tracker)
	dumps := tracker.Stats().Dumps

	entries := randomEntries(20_000)
	var messages []byte
	for _, e := range entries {
		messages = append(messages, marshal(t, e.message())...)
	}
	sendAll(t, host, messages)
	mustSync(t, tracker)
	st := tracker.Stats()
	t.Logf("%+v", st)
	require.NotZero(t, st.Overruns)
	require.NotZero(t, st.EventsLost)
	require.Greater(t, st.Dumps, dumps)
	require.Equal(t, listed(t, host), held(t, tracker, host))

	c.flush()
	require.Eventually(t, func() bool { // a loss may still be on its way to be noticed
		mustSync(t, tracker)
		return len(held(t, tracker, host)) == 0
	}, patience, 10*time.Millisecond)
}

// From Linux 5.19 on, the end of a connection that began before anybody listened is not
// told by an event.
func TestConnectionsKnownByADumpAreDumpedAgain(t *testing.T) {
	host := emptyHost(t)
	c := newCreator(t, host)
	e := entry{src: ap("10.0.0.1:1000"), dst: ap("10.0.0.99:443"), dstNAT: ap("10.0.0.2:8443")}
	c.create(e)
	tracker := track(t, host, Settings{ReconcileInterval: 100 * time.Millisecond, Retention: time.Nanosecond})
	mustSync(t, tracker)
	_, result := tracker.Resolve(0, e.src, e.dst)
	require.Equal(t, Translated, result)
	c.remove(e)
	require.Eventually(t, func() bool {
		_, result := tracker.Resolve(0, e.src, e.dst)
		return result == NotTranslated
	}, patience, 10*time.Millisecond)
	// Nothing is left of which only dumps tell, so there are no more.
	mustSync(t, tracker)
	dumps := tracker.Stats().Dumps
	mustSync(t, tracker)
	assert.Equal(t, dumps, tracker.Stats().Dumps)
}

func TestANamespaceThatSendsNoEventsIsDumped(t *testing.T) {
	host := emptyHost(t)
	require.NoError(t, host.Sysctl("net.netfilter.nf_conntrack_events", "0"))
	c := newCreator(t, host)
	tracker := track(t, host, Settings{})
	mustSync(t, tracker)
	assert.Equal(t, 1, tracker.Stats().NamespacesSilent)
	entries := randomEntries(100)
	c.create(entries...)
	mustSync(t, tracker)
	assert.Equal(t, listed(t, host), held(t, tracker, host))
	c.remove(entries[50:]...)
	mustSync(t, tracker)
	assert.Equal(t, listed(t, host), held(t, tracker, host))
	assert.Zero(t, tracker.Stats().Events)
}
