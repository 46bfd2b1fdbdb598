// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

// Attributes of nfnetlink_conntrack.h that only the tests need.
const (
	ctaNATSource      = 6  // CTA_NAT_SRC
	ctaNATDestination = 13 // CTA_NAT_DST
	ctaNATv4MinIP     = 1
	ctaNATv4MaxIP     = 2
	ctaNATProto       = 3
	ctaNATv6MinIP     = 4
	ctaNATv6MaxIP     = 5
	ctaProtoNATMin    = 1
	ctaProtoNATMax    = 2
)

// entry is a connection to be written into the kernel's table. Without a translation of an
// end, that end stays as it is.
type entry struct {
	protocol           uint8 // 0: TCP
	src, dst           netip.AddrPort
	dstNAT, srcNAT     netip.AddrPort
	zone               uint16
	timeout            uint32 // seconds; 0: 600
	replyAsIf, replyTo netip.AddrPort
}

// creator writes connections into the table of a namespace, by ctnetlink.
type creator struct {
	t    testing.TB
	conn *netlink.Conn
}

func newCreator(t testing.TB, n *netlab.Node) *creator {
	t.Helper()
	var conn *netlink.Conn
	require.NoError(t, n.Do(func() (err error) {
		conn, err = netlink.Dial(unix.NETLINK_NETFILTER, nil)
		return err
	}))
	t.Cleanup(func() { conn.Close() })
	return &creator{t: t, conn: conn}
}

func address(ae *netlink.AttributeEncoder, v4, v6 uint16, a netip.Addr) {
	if a.Is4() {
		ae.Bytes(v4, a.AsSlice())
	} else {
		ae.Bytes(v6, a.AsSlice())
	}
}

func encodeTuple(protocol uint8, src, dst netip.AddrPort) func(*netlink.AttributeEncoder) error {
	return func(ae *netlink.AttributeEncoder) error {
		ae.Nested(nl.CTA_TUPLE_IP, func(ae *netlink.AttributeEncoder) error {
			address(ae, nl.CTA_IP_V4_SRC, nl.CTA_IP_V6_SRC, src.Addr())
			address(ae, nl.CTA_IP_V4_DST, nl.CTA_IP_V6_DST, dst.Addr())
			return nil
		})
		ae.Nested(nl.CTA_TUPLE_PROTO, func(ae *netlink.AttributeEncoder) error {
			ae.ByteOrder = binary.BigEndian
			ae.Uint8(nl.CTA_PROTO_NUM, protocol)
			ae.Uint16(nl.CTA_PROTO_SRC_PORT, src.Port())
			ae.Uint16(nl.CTA_PROTO_DST_PORT, dst.Port())
			return nil
		})
		return nil
	}
}

func encodeNAT(to netip.AddrPort) func(*netlink.AttributeEncoder) error {
	return func(ae *netlink.AttributeEncoder) error {
		address(ae, ctaNATv4MinIP, ctaNATv6MinIP, to.Addr())
		address(ae, ctaNATv4MaxIP, ctaNATv6MaxIP, to.Addr())
		ae.Nested(ctaNATProto, func(ae *netlink.AttributeEncoder) error {
			ae.ByteOrder = binary.BigEndian
			ae.Uint16(ctaProtoNATMin, to.Port())
			ae.Uint16(ctaProtoNATMax, to.Port())
			return nil
		})
		return nil
	}
}

// message is the request that makes e.
func (e entry) message() netlink.Message {
	protocol := e.protocol
	if protocol == 0 {
		protocol = unix.IPPROTO_TCP
	}
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	ae.Nested(nl.CTA_TUPLE_ORIG, encodeTuple(protocol, e.src, e.dst))
	ae.Nested(nl.CTA_TUPLE_REPLY, encodeTuple(protocol, e.dst, e.src))
	timeout := e.timeout
	if timeout == 0 {
		timeout = 600
	}
	ae.Uint32(nl.CTA_TIMEOUT, timeout)
	if protocol == unix.IPPROTO_TCP {
		ae.Nested(nl.CTA_PROTOINFO, func(ae *netlink.AttributeEncoder) error {
			ae.Nested(nl.CTA_PROTOINFO_TCP, func(ae *netlink.AttributeEncoder) error {
				ae.Uint8(nl.CTA_PROTOINFO_TCP_STATE, nl.TCP_CONNTRACK_ESTABLISHED)
				return nil
			})
			return nil
		})
	}
	if e.srcNAT.IsValid() {
		ae.Nested(ctaNATSource, encodeNAT(e.srcNAT))
	}
	if e.dstNAT.IsValid() {
		ae.Nested(ctaNATDestination, encodeNAT(e.dstNAT))
	}
	if e.zone != 0 {
		ae.Uint16(nl.CTA_ZONE, e.zone)
	}
	attributes, err := ae.Encode()
	if err != nil {
		panic(err)
	}
	family := byte(unix.AF_INET6)
	if e.src.Addr().Is4() {
		family = unix.AF_INET
	}
	return netlink.Message{
		Header: netlink.Header{
			Type:  typeNew,
			Flags: netlink.Request | netlink.Create | netlink.Excl,
		},
		Data: append([]byte{family, nl.NFNETLINK_V0, 0, 0}, attributes...),
	}
}

// create writes connections, each acknowledged.
func (c *creator) create(entries ...entry) {
	c.t.Helper()
	for _, e := range entries {
		m := e.message()
		m.Header.Flags |= netlink.Acknowledge
		_, err := c.conn.Execute(m)
		require.NoError(c.t, err, "create %v", e)
	}
}

// remove ends connections.
func (c *creator) remove(entries ...entry) {
	c.t.Helper()
	for _, e := range entries {
		m := e.message()
		m.Header.Type = typeDestroy
		m.Header.Flags = netlink.Request | netlink.Acknowledge
		_, err := c.conn.Execute(m)
		require.NoError(c.t, err, "remove %v", e)
	}
}

// flush ends all connections of the namespace.
func (c *creator) flush() {
	c.t.Helper()
	_, err := c.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: typeDestroy, Flags: netlink.Request | netlink.Acknowledge},
		Data:   []byte{unix.AF_UNSPEC, nl.NFNETLINK_V0, 0, 0},
	})
	require.NoError(c.t, err)
}

func marshal(t testing.TB, m netlink.Message) []byte {
	t.Helper()
	m.Header.Length = uint32(unix.SizeofNlMsghdr + len(m.Data))
	b, err := m.MarshalBinary()
	require.NoError(t, err)
	return b
}

// sendAll gives requests to the kernel, in few system calls and without acknowledgements.
func sendAll(t testing.TB, n *netlab.Node, requests []byte) {
	t.Helper()
	require.NoError(t, n.Do(func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for len(requests) > 0 {
			chunk := 0
			for chunk < 32<<10 && chunk < len(requests) { // a datagram has a bound
				chunk += int(binary.NativeEndian.Uint32(requests[chunk:]))
			}
			if err := unix.Sendto(fd, requests[:chunk], 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
				return err
			}
			requests = requests[chunk:]
		}
		return nil
	}))
}
