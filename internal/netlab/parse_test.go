// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestOffsetsOfTCPInfoAreThoseOfTheKernel(t *testing.T) {
	var i unix.TCPInfo
	for want, got := range map[int]uintptr{
		tcpiTotalRetrans:  unsafe.Offsetof(i.Total_retrans),
		tcpiBytesAcked:    unsafe.Offsetof(i.Bytes_acked),
		tcpiBytesReceived: unsafe.Offsetof(i.Bytes_received),
		tcpiSegsOut:       unsafe.Offsetof(i.Segs_out),
		tcpiSegsIn:        unsafe.Offsetof(i.Segs_in),
		tcpiMinRTT:        unsafe.Offsetof(i.Min_rtt),
		tcpiDataSegsIn:    unsafe.Offsetof(i.Data_segs_in),
		tcpiDataSegsOut:   unsafe.Offsetof(i.Data_segs_out),
		tcpiBytesSent:     unsafe.Offsetof(i.Bytes_sent),
		tcpiBytesRetrans:  unsafe.Offsetof(i.Bytes_retrans),
		tcpiTotalRTO:      unsafe.Offsetof(i.Total_rto),
	} {
		assert.EqualValues(t, want, got)
	}
}

// announcement makes a message as the kernel's, with TCP_INFO of a length.
func announcement(family byte, infoLen int) []byte {
	b := make([]byte, sizeofInetDiagMsg)
	b[0] = family
	binary.BigEndian.PutUint16(b[4:], 1234)
	binary.BigEndian.PutUint16(b[6:], 80)
	copy(b[8:], []byte{10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1})
	copy(b[24:], []byte{10, 0, 0, 2})
	binary.NativeEndian.PutUint32(b[44:], 7)
	binary.NativeEndian.PutUint32(b[48:], 1)
	b = append(b, attr(5, []byte("cubic\x00"))...)
	info := make([]byte, infoLen)
	for i := range info {
		info[i] = byte(i)
	}
	return append(b, attr(inetDiagInfo, info)...)
}

func attr(kind uint16, data []byte) []byte {
	b := make([]byte, 4, 4+len(data)+3)
	binary.NativeEndian.PutUint16(b, uint16(4+len(data)))
	binary.NativeEndian.PutUint16(b[2:], kind)
	b = append(b, data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func netlinkMessage(kind uint16, payload []byte) []byte {
	b := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(payload))
	binary.NativeEndian.PutUint32(b, uint32(cap(b)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	return append(b, payload...)
}

func TestAnnouncementIsDecoded(t *testing.T) {
	d, err := parseDestroyed(announcement(unix.AF_INET, unix.SizeofTCPInfo))
	require.NoError(t, err)
	assert.Equal(t, netip.MustParseAddrPort("10.0.0.1:1234"), d.Local)
	assert.Equal(t, netip.MustParseAddrPort("10.0.0.2:80"), d.Remote)
	assert.EqualValues(t, 1<<32|7, d.Cookie)
	assert.True(t, d.Info.HasTotalRTO)
	assert.EqualValues(t, binary.NativeEndian.Uint16([]byte{240, 241}), d.Info.TotalRTO)
	assert.EqualValues(t, binary.NativeEndian.Uint32([]byte{100, 101, 102, 103}), d.Info.TotalRetrans)

	d, err = parseDestroyed(announcement(unix.AF_INET6, tcpiDSACKDupsEnd)) // an older kernel
	require.NoError(t, err)
	assert.False(t, d.Info.HasTotalRTO)
	assert.Zero(t, d.Info.TotalRTO)
	assert.Equal(t, "a00:1::ffff:a00:1", d.Local.Addr().String())

	_, err = parseDestroyed(announcement(unix.AF_INET, tcpiDSACKDupsEnd-1))
	assert.ErrorIs(t, err, errTruncated)
	_, err = parseDestroyed(announcement(99, unix.SizeofTCPInfo))
	assert.Error(t, err)
	_, err = parseDestroyed(announcement(unix.AF_INET, 0)[:sizeofInetDiagMsg])
	assert.Error(t, err)
}

func TestNetlinkErrorsEndTheWalk(t *testing.T) {
	var code [4]byte
	errno := int32(unix.ENOENT)
	binary.NativeEndian.PutUint32(code[:], uint32(-errno))
	done, err := eachMessage(netlinkMessage(unix.NLMSG_ERROR, code[:]), nil)
	assert.True(t, done)
	assert.ErrorIs(t, err, unix.ENOENT)
	done, err = eachMessage(netlinkMessage(unix.NLMSG_ERROR, make([]byte, 4)), nil)
	assert.True(t, done)
	assert.NoError(t, err)
	done, err = eachMessage(netlinkMessage(unix.NLMSG_DONE, nil), nil)
	assert.True(t, done)
	assert.NoError(t, err)
}

func FuzzAnnouncement(f *testing.F) {
	f.Add(netlinkMessage(sockDiagByFamily, announcement(unix.AF_INET, unix.SizeofTCPInfo)))
	f.Add(netlinkMessage(sockDiagByFamily, announcement(unix.AF_INET6, tcpiDSACKDupsEnd)))
	f.Add(append(netlinkMessage(unix.NLMSG_NOOP, make([]byte, 5)), 0, 0, 0))
	f.Add(netlinkMessage(unix.NLMSG_ERROR, []byte{1, 2, 3, 4}))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		_, _ = eachMessage(b, func(_ uint16, payload []byte) error {
			n++
			if len(payload) > len(b) {
				t.Fatal("payload is larger than its datagram")
			}
			d, err := parseDestroyed(payload)
			if err == nil && !d.Local.IsValid() {
				t.Fatal("a socket without address")
			}
			return nil
		})
		if n > len(b)/unix.SizeofNlMsghdr {
			t.Fatal("more messages than fit")
		}
	})
}

const ssLine = `UNCONN 1      0      [::ffff:127.0.0.1]:49886 [::ffff:127.0.0.2]:34641 ino:0 sk:1a ts sack cubic wscale:10,10 rto:204 rtt:0.016/0.005 mss:47616 pmtu:65535 rcvmss:536 advmss:65483 cwnd:14 ssthresh:7 bytes_sent:100300 bytes_retrans:300 bytes_acked:100002 bytes_received:1 segs_out:7 segs_in:4 data_segs_out:3 data_segs_in:2 send 333312000000bps pacing_rate 499034199624bps delivery_rate 27209142856bps delivered:5 app_limited busy:4ms retrans:1/13 dsack_dups:2 rcv_space:65495 rcv_ssthresh:65495 minrtt:0.012 snd_wnd:95232`

func TestLineOfSSIsDecoded(t *testing.T) {
	d, err := parseSS(ssLine)
	require.NoError(t, err)
	assert.Equal(t, Destroyed{
		Local:  netip.MustParseAddrPort("[::ffff:127.0.0.1]:49886"),
		Remote: netip.MustParseAddrPort("[::ffff:127.0.0.2]:34641"),
		Cookie: 0x1a,
		Info: TCPInfo{
			BytesAcked: 100002, BytesReceived: 1, BytesSent: 100300, BytesRetrans: 300,
			SegsOut: 7, SegsIn: 4, DataSegsOut: 3, DataSegsIn: 2, TotalRetrans: 13,
		},
	}, d)

	for name, test := range map[string]struct {
		line     string
		remote   string
		listener bool
	}{
		"nothing was counted":   {"UNCONN 0 0 10.0.0.1:1 10.0.0.2:2", "10.0.0.2:2", false},
		"a listener":            {"UNCONN 0 0 127.0.0.1:54047 0.0.0.0:* ino:0 sk:d rto:1000", "0.0.0.0:0", true},
		"a dual listener":       {"UNCONN 0 0 *:80 *:* ino:0 sk:d", "[::]:0", true},
		"refused":               {"UNCONN 0 3 0.0.0.0:53998 127.0.0.1:* ino:0 sk:14", "127.0.0.1:0", false},
		"bound to an interface": {"UNCONN 0 0 10.0.0.1%eth0:80 [fe80::1]%eth0:5 sk:1", "[fe80::1]:5", false},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := parseSS(test.line)
			require.NoError(t, err)
			assert.Equal(t, netip.MustParseAddrPort(test.remote), d.Remote)
			assert.Equal(t, test.listener, d.Listener())
			assert.Equal(t, TCPInfo{}, d.Info)
		})
	}
	for _, bad := range []string{
		"", "UNCONN 0 0 10.0.0.1:1", "State Recv-Q Send-Q Local:Port Peer:Port", "UNCONN 0 0 10.0.0.1 10.0.0.2:2",
		"UNCONN 0 0 10.0.0.1:1 10.0.0.2:65536", "UNCONN 0 0 x:1 10.0.0.2:2",
		"UNCONN 0 0 10.0.0.1:1 10.0.0.2:2 bytes_acked:x", "UNCONN 0 0 10.0.0.1:1 10.0.0.2:2 segs_out:4294967296",
		"UNCONN 0 0 10.0.0.1:1 10.0.0.2:2 retrans:3",
	} {
		_, err := parseSS(bad)
		assert.Error(t, err, bad)
	}
}

func FuzzSS(f *testing.F) {
	f.Add(ssLine)
	f.Add("UNCONN 0 0 *:80 *:* ino:0 sk:d")
	f.Add("UNCONN 0 3 0.0.0.0:53998 127.0.0.1:* sk:ffffffffffffffff retrans:0/2")
	f.Fuzz(func(t *testing.T, line string) {
		d, err := parseSS(line)
		if err == nil && (!d.Local.IsValid() || !d.Remote.IsValid()) {
			t.Fatalf("%q: no address", line)
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add(header{id: 1, upload: 2, download: 3, readRate: 4, close: ResetByServer, last: true, duplex: true}.encode())
	f.Add(make([]byte, headerSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeHeader(b)
		if err != nil {
			return
		}
		if string(h.encode()) != string(b[:headerSize]) {
			t.Fatalf("%+v is not what was sent", h)
		}
	})
}

func FuzzMountinfo(f *testing.F) {
	f.Add("41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n")
	f.Add("x - y\n")
	f.Fuzz(func(t *testing.T, s string) {
		path, err := parseCgroup2Mount(strings.NewReader(s))
		if err == nil && strings.HasPrefix(path, privateMounts+"/") {
			t.Fatal("another lab's mount")
		}
	})
}

func TestCgroup2MountIsFound(t *testing.T) {
	for name, test := range map[string]struct{ mounts, want string }{
		"hybrid":           {"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup/unified"},
		"unified":          {"30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n", "/sys/fs/cgroup"},
		"a blank in it":    {`30 23 0:26 / /mnt/c\040group rw - cgroup2 none rw` + "\n", "/mnt/c group"},
		"none":             {"32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", ""},
		"another lab's":    {"41 31 0:38 / /run/netlab/netlab-1.1.1 rw - cgroup2 cgroup2 rw\n", ""},
		"broken lines too": {"\nx\n1 2 - cgroup2\n41 31 0:38 / /c rw - cgroup2 cgroup2 rw", "/c"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseCgroup2Mount(strings.NewReader(test.mounts))
			require.NoError(t, err)
			assert.Equal(t, test.want, got)
		})
	}
}

func TestStartTimeIsFoundAfterAnyCommandName(t *testing.T) {
	tail := " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21\n"
	for _, command := range []string{"(x)", "(a b)", "(a) S 9 9)", "(()"} {
		got, err := parseStartTime([]byte("123 " + command + tail))
		require.NoError(t, err)
		assert.EqualValues(t, 4242, got)
	}
	_, err := parseStartTime([]byte("123 (x)" + strings.Replace(tail, "S", "Z", 1)))
	assert.ErrorIs(t, err, errDead)
	for _, bad := range []string{"", "123 (x", "123 (x) S 1 2"} {
		_, err := parseStartTime([]byte(bad))
		assert.Error(t, err)
	}
}

func FuzzStartTime(f *testing.F) {
	f.Add([]byte("123 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21"))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = parseStartTime(b) })
}

func TestOwnersAreTold(t *testing.T) {
	id, err := newID()
	require.NoError(t, err)
	assert.False(t, orphaned(id))
	assert.False(t, orphaned(id+"-host"))
	assert.True(t, orphaned("netlab-4194305.1.1"), "past the largest process id")
	assert.True(t, orphaned("netlab-1.99999999999.1-a-b"), "process 1, but not that one")
	for _, name := range []string{"netlab", "netlab-x.1.1", "xnetlab-4194305.1.1", "netlab-4194305.1", "netlab-4194305.1.1.1", "netlab-99999999999999999999.1.1"} {
		assert.False(t, orphaned(name), name)
	}
}

func TestCountersOfNFTAreRead(t *testing.T) {
	const out = `{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"counter": {"family": "netdev", "name": "seen", "table": "fault1", "handle": 2, "packets": 12, "bytes": 76}}, {"counter": {"family": "netdev", "name": "hit", "table": "fault1", "handle": 3, "packets": 3, "bytes": 0}}, {"counter": {"name": "hit", "table": "other", "packets": 99}}]}`
	c, err := parseCounters([]byte(out), "fault1")
	require.NoError(t, err)
	assert.Equal(t, Counts{Seen: 12, Hit: 3}, c)
	for _, bad := range []string{"", "{}", `{"nftables": 1}`} {
		_, err := parseCounters([]byte(bad), "fault1")
		assert.Error(t, err)
	}
	_, err = parseCounters([]byte(out), "other")
	assert.Error(t, err)
}

func FuzzCounters(f *testing.F) {
	f.Add([]byte(`{"nftables": [{"counter": {"name": "seen", "table": "t", "packets": 1}}, {"counter": {"name": "hit", "table": "t", "packets": 1}}]}`))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = parseCounters(b, "t") })
}

func TestNetlinkSocketOfAProcessIsFound(t *testing.T) {
	const table = `sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
000000001a37e6ed 4   0          00000005 0        0        0     2        1        44547
00000000281effce 4   26224      00000005 0        0        0     2        17       44555
00000000281effcf 0   26225      00000005 0        0        0     2        3        44556
00000000281effcf 4   26226      00000004 0        0        0     2        3        44556
`
	got, err := parseNetlinkSocket([]byte(table), 26224)
	require.NoError(t, err)
	assert.Equal(t, netlinkSocket{drops: 17, inode: 44555}, got)
	for _, other := range []int{26225, 26226, 1} {
		_, err = parseNetlinkSocket([]byte(table), other)
		assert.Error(t, err)
	}
}

func FuzzNetlinkSocket(f *testing.F) {
	f.Add([]byte("00000000281effce 4   26224      00000005 0        0        0     2        17       44555"))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = parseNetlinkSocket(b, 26224) })
}

func TestDrawnSizesStayInTheirRange(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range []Size{{0, 0}, {5, 5}, {0, 1}, {1, 10}, {100, 1_000_000}, {7, 0}} {
		low, high := 0, 0
		for range 10_000 {
			n := s.draw(r)
			require.GreaterOrEqual(t, n, s.Min)
			require.LessOrEqual(t, n, max(s.Min, s.Max))
			if n == s.Min {
				low++
			}
			if n == s.Max {
				high++
			}
		}
		if s.Max-s.Min == 1 {
			assert.NotZero(t, low)
			assert.NotZero(t, high)
		}
	}
	var small int
	for range 10_000 {
		if (Size{1, 1_000_000}).draw(r) < 1000 {
			small++
		}
	}
	assert.InDelta(t, 5000, small, 500, "half of them are below the middle order of magnitude")
}
