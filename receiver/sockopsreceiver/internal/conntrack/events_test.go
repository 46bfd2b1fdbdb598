// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func TestEventsOfTheKernel(t *testing.T) {
	host := emptyHost(t)
	c := newCreator(t, host)
	before := entry{src: ap("10.0.0.1:1000"), dst: ap("10.0.0.99:443"), dstNAT: ap("10.0.0.2:8443")}
	c.create(before)
	tracker := track(t, host, Settings{})
	mustSync(t, tracker)
	after := entry{src: ap("[fd00::1]:1000"), dst: ap("[fd00::99]:443"), dstNAT: ap("[fd00::2]:8443")}
	plain := entry{src: ap("10.0.0.1:1001"), dst: ap("10.0.0.99:443")}
	udp := entry{protocol: unix.IPPROTO_UDP, src: ap("10.0.0.1:1002"), dst: ap("10.0.0.99:53"), dstNAT: ap("10.0.0.2:53")}
	c.create(after, plain, udp)
	mustSync(t, tracker)
	t.Logf("%+v", tracker.Stats())
	for _, e := range []entry{before, after} {
		got, result := tracker.Resolve(inode(t, host), e.src, e.dst)
		require.Equal(t, Translated, result)
		assert.Equal(t, Translation{Local: e.src, Peer: e.dstNAT}, got)
		got, result = tracker.Resolve(0, e.dstNAT, e.src)
		require.Equal(t, Translated, result)
		assert.Equal(t, Translation{Local: e.dst, Peer: e.src}, got)
	}
	assert.EqualValues(t, 1, tracker.Stats().Events, "the kernel filters what is not TCP or not translated")
	assert.EqualValues(t, 2, tracker.Stats().Entries)
	c.flush()
	mustSync(t, tracker)
	t.Logf("%+v", tracker.Stats())
}
