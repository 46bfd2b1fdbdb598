// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// recordMessages: go test -run TestRecordedMessages -record, as root.
var recordMessages = flag.Bool("record", false, "record the messages of this kernel into testdata")

const recordedFile = "testdata/messages.txt"

// recorded is what the kernel said of each entry: its begin, its line in a dump, its end.
var recorded = []struct {
	name    string
	entry   entry
	verdict verdict
	want    connection // but for the id, which is the kernel's
}{
	{
		name:    "destination changed",
		entry:   entry{src: ap("10.0.0.1:40000"), dst: ap("172.20.0.10:443"), dstNAT: ap("10.0.0.2:8443")},
		verdict: translated,
		want: connection{
			original: tupleOf(ap("10.0.0.1:40000"), ap("172.20.0.10:443")),
			reply:    tupleOf(ap("10.0.0.2:8443"), ap("10.0.0.1:40000")),
		},
	},
	{
		name:    "both ends changed, IPv6, in a zone",
		entry:   entry{src: ap("[fd00::1]:40001"), dst: ap("[fd00:20::10]:443"), dstNAT: ap("[fd00::2]:8443"), srcNAT: ap("[fd00::9]:50001"), zone: 7},
		verdict: translated,
		want: connection{
			original: tupleOf(ap("[fd00::1]:40001"), ap("[fd00:20::10]:443")),
			reply:    tupleOf(ap("[fd00::2]:8443"), ap("[fd00::9]:50001")),
			zone:     7,
		},
	},
	{
		name:    "source port changed",
		entry:   entry{src: ap("10.0.0.1:40002"), dst: ap("10.0.0.2:443"), srcNAT: ap("10.0.0.1:50002")},
		verdict: translated,
		want: connection{
			original: tupleOf(ap("10.0.0.1:40002"), ap("10.0.0.2:443")),
			reply:    tupleOf(ap("10.0.0.2:443"), ap("10.0.0.1:50002")),
		},
	},
	{
		name:    "not changed",
		entry:   entry{src: ap("10.0.0.1:40003"), dst: ap("10.0.0.2:443")},
		verdict: irrelevant,
	},
	{
		name:    "datagrams",
		entry:   entry{protocol: unix.IPPROTO_UDP, src: ap("10.0.0.1:40004"), dst: ap("172.20.0.10:53"), dstNAT: ap("10.0.0.2:53")},
		verdict: irrelevant,
	},
}

func TestRecordedMessages(t *testing.T) {
	if *recordMessages {
		recordAgain(t)
	}
	messages := readRecorded(t)
	for _, tt := range recorded {
		t.Run(tt.name, func(t *testing.T) {
			require.Len(t, messages[tt.name], 3, "begin, dump, end")
			var ids []uint32
			for _, m := range messages[tt.name] {
				var c connection
				require.Equal(t, tt.verdict, decode(m, &c))
				if tt.verdict != translated {
					continue
				}
				ids = append(ids, c.id)
				assert.NotZero(t, c.id)
				c.id = 0
				assert.Equal(t, tt.want, c)
			}
			assert.LessOrEqual(t, len(slices.Compact(ids)), 1, "the id is the connection's own from its begin to its end")
		})
	}
}

func readRecorded(t testing.TB) map[string][][]byte {
	t.Helper()
	file, err := os.ReadFile(recordedFile)
	require.NoError(t, err)
	messages := map[string][][]byte{}
	for line := range strings.Lines(string(file)) {
		name, digits, ok := strings.Cut(strings.TrimSpace(line), ": ")
		require.True(t, ok, line)
		b, err := hex.DecodeString(digits)
		require.NoError(t, err)
		messages[name] = append(messages[name], b)
	}
	return messages
}

// recordAgain has the kernel say everything again.
func recordAgain(t *testing.T) {
	host := emptyHost(t)
	var events *netlink.Conn
	require.NoError(t, host.Do(func() (err error) {
		events, err = netlink.Dial(unix.NETLINK_NETFILTER, nil)
		return err
	}))
	defer events.Close()
	require.NoError(t, events.JoinGroup(unix.NFNLGRP_CONNTRACK_NEW))
	require.NoError(t, events.JoinGroup(unix.NFNLGRP_CONNTRACK_DESTROY))
	c := newCreator(t, host)
	var out bytes.Buffer
	for _, tt := range recorded {
		write := func(m []netlink.Message, err error) {
			require.NoError(t, err)
			require.Len(t, m, 1)
			out.WriteString(tt.name + ": " + hex.EncodeToString(m[0].Data) + "\n")
		}
		c.create(tt.entry)
		write(events.Receive())
		write(c.conn.Execute(netlink.Message{
			Header: netlink.Header{Type: typeGet, Flags: netlink.Request | netlink.Dump},
			Data:   []byte{unix.AF_UNSPEC, nl.NFNETLINK_V0, 0, 0},
		}))
		c.remove(tt.entry)
		write(events.Receive())
	}
	require.NoError(t, os.WriteFile(recordedFile, out.Bytes(), 0o644))
}

func TestBrokenMessages(t *testing.T) {
	whole := readRecorded(t)["destination changed"][0]
	var c connection
	require.Equal(t, translated, decode(whole, &c))
	t.Run("every shorter one is malformed, or lacks only what is not needed", func(t *testing.T) {
		for n := range len(whole) {
			var cut connection
			if v := decode(whole[:n:n], &cut); v == translated {
				assert.Equal(t, c.original, cut.original)
				assert.Equal(t, c.reply, cut.reply)
			}
		}
		assert.Equal(t, malformed, decode(whole[:60], &connection{}))
		assert.Equal(t, malformed, decode(nil, &connection{}))
	})
	t.Run("an attribute that is shorter than its own header ends it", func(t *testing.T) {
		b := bytes.Clone(whole)
		binary.NativeEndian.PutUint16(b[nfgenSize:], 3)
		assert.Equal(t, malformed, decode(b, &connection{}))
	})
	t.Run("without the kernel's mark that it translates, tuples that differ are none", func(t *testing.T) {
		b := bytes.Clone(whole)
		for rest := b[nfgenSize:]; ; {
			kind, value, next, ok := attribute(rest)
			require.True(t, ok)
			if kind == nl.CTA_STATUS {
				require.NotZero(t, binary.BigEndian.Uint32(value)&statusNAT)
				binary.BigEndian.PutUint32(value, 0x188)
				break
			}
			rest = next
		}
		assert.Equal(t, irrelevant, decode(b, &connection{}))
	})
	t.Run("an address of the wrong length is malformed", func(t *testing.T) {
		ae := netlink.NewAttributeEncoder()
		ae.Nested(nl.CTA_TUPLE_ORIG, func(ae *netlink.AttributeEncoder) error {
			ae.Nested(nl.CTA_TUPLE_IP, func(ae *netlink.AttributeEncoder) error {
				ae.Bytes(nl.CTA_IP_V4_SRC, make([]byte, 5))
				return nil
			})
			return nil
		})
		b, err := ae.Encode()
		require.NoError(t, err)
		assert.Equal(t, malformed, decode(append(make([]byte, nfgenSize), b...), &connection{}))
	})
}

func TestDecodingAllocatesNothing(t *testing.T) {
	m := readRecorded(t)["both ends changed, IPv6, in a zone"][0]
	var c connection
	assert.Zero(t, testing.AllocsPerRun(100, func() { decode(m, &c) }))
}

func BenchmarkDecode(b *testing.B) {
	m := readRecorded(b)["destination changed"][0]
	var c connection
	b.ReportAllocs()
	for b.Loop() {
		if decode(m, &c) != translated {
			b.Fatal()
		}
	}
}

// FuzzDecode compares with a decoder on another library, for whatever bytes.
func FuzzDecode(f *testing.F) {
	for _, messages := range readRecorded(f) {
		for _, m := range messages {
			f.Add(m)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var got connection
		v := decode(b, &got)
		want, ok := decodeByLibrary(b)
		require.Equal(t, ok, v == translated, "verdict %d", v)
		if ok {
			require.Equal(t, want, got)
		}
	})
}

// FuzzMessages: no bytes of a datagram make the reader crash, or hold what is not a
// translation.
func FuzzMessages(f *testing.F) {
	for _, messages := range readRecorded(f) {
		for _, m := range messages {
			f.Add(append(request(typeNew, 0, 1, m...), request(typeDestroy, unix.NLM_F_MULTI, 1, m...)...))
		}
	}
	f.Add(append(request(unix.NLMSG_DONE, unix.NLM_F_MULTI, 1, 0, 0, 0, 0), barrierRequest(2)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		tracker := New(Settings{MaxEntries: 4})
		r := &reader{tracker: tracker, batch: newBatch()}
		n := &namespace{socket: socket{-1}, origin: origin{netns: 1}, dumping: true, dump: 1}
		r.batch.messages[0].length = uint32(copy(r.batch.buffers[0][:], b))
		r.datagrams(tracker.table, n, 1, 0)
		tracker.table.each(func(_ int32, c *record) {
			require.NotEqual(t, c.tuples[original].inverse(), c.tuples[reply])
		})
	})
}

var errBroken = errors.New("broken")

// decodeByLibrary is decode by mdlayher/netlink's attribute decoder, written for clarity.
func decodeByLibrary(b []byte) (c connection, ok bool) {
	if len(b) < nfgenSize {
		return c, false
	}
	status, have := uint32(statusNAT), 0
	err := eachAttribute(b[nfgenSize:], func(ad *netlink.AttributeDecoder) error {
		switch ad.Type() {
		case nl.CTA_TUPLE_ORIG:
			have |= 1
			return tupleByLibrary(ad.Bytes(), &c.original, &c.zone)
		case nl.CTA_TUPLE_REPLY:
			have |= 2
			return tupleByLibrary(ad.Bytes(), &c.reply, &c.zone)
		case nl.CTA_STATUS:
			return number(ad, &status)
		case nl.CTA_ID:
			return number(ad, &c.id)
		case nl.CTA_ZONE:
			return number(ad, &c.zone)
		}
		return nil
	})
	return c, err == nil && have == 3 && status&statusNAT != 0 && c.reply != c.original.inverse()
}

func eachAttribute(b []byte, do func(*netlink.AttributeDecoder) error) error {
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return err
	}
	ad.ByteOrder = binary.BigEndian
	at := 0
	for ad.Next() {
		// The library takes a length of 0, which does not even cover itself, for no data.
		if binary.NativeEndian.Uint16(b[at:]) == 0 {
			return errBroken
		}
		if err := do(ad); err != nil {
			return err
		}
		at += (4 + len(ad.Bytes()) + 3) &^ 3
	}
	return ad.Err()
}

func number[T uint8 | uint16 | uint32](ad *netlink.AttributeDecoder, n *T) error {
	b := ad.Bytes()
	if len(b) != binary.Size(*n) {
		return errBroken
	}
	_, err := binary.Decode(b, binary.BigEndian, n)
	return err
}

func tupleByLibrary(b []byte, t *tuple, zone *uint16) error {
	have := map[string]bool{}
	err := eachAttribute(b, func(ad *netlink.AttributeDecoder) error {
		switch ad.Type() {
		case nl.CTA_TUPLE_IP:
			have["addresses"] = true
			return addressesByLibrary(ad.Bytes(), t)
		case nl.CTA_TUPLE_PROTO:
			have["ports"] = true
			return portsByLibrary(ad.Bytes(), t)
		case ctaTupleZone:
			return number(ad, zone)
		}
		return nil
	})
	if err == nil && (!have["addresses"] || !have["ports"]) {
		return errBroken
	}
	return err
}

func addressesByLibrary(b []byte, t *tuple) error {
	var src, dst netip.Addr
	families := map[int]bool{}
	err := eachAttribute(b, func(ad *netlink.AttributeDecoder) error {
		size := 4
		switch ad.Type() {
		case nl.CTA_IP_V6_SRC, nl.CTA_IP_V6_DST:
			size = 16
		case nl.CTA_IP_V4_SRC, nl.CTA_IP_V4_DST:
		default:
			return nil
		}
		a, _ := netip.AddrFromSlice(ad.Bytes())
		if len(ad.Bytes()) != size {
			return errBroken
		}
		families[size] = true
		if ad.Type() == nl.CTA_IP_V4_SRC || ad.Type() == nl.CTA_IP_V6_SRC {
			src = a
		} else {
			dst = a
		}
		return nil
	})
	if err != nil || len(families) != 1 || !src.IsValid() || !dst.IsValid() {
		return errBroken
	}
	t.src, t.dst = src.As16(), dst.As16()
	return nil
}

func portsByLibrary(b []byte, t *tuple) error {
	have := map[uint16]bool{}
	err := eachAttribute(b, func(ad *netlink.AttributeDecoder) error {
		have[ad.Type()] = true
		switch ad.Type() {
		case 0:
			return errBroken
		case nl.CTA_PROTO_NUM:
			var protocol uint8
			if err := number(ad, &protocol); err != nil || protocol != unix.IPPROTO_TCP {
				return errBroken
			}
		case nl.CTA_PROTO_SRC_PORT:
			return number(ad, &t.srcPort)
		case nl.CTA_PROTO_DST_PORT:
			return number(ad, &t.dstPort)
		}
		return nil
	})
	if err == nil && (!have[nl.CTA_PROTO_NUM] || !have[nl.CTA_PROTO_SRC_PORT] || !have[nl.CTA_PROTO_DST_PORT]) {
		return errBroken
	}
	return err
}
