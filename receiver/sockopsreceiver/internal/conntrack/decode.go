// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"encoding/binary"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// connection is what a message of ctnetlink says of a translated TCP connection.
type connection struct {
	// original has the packets of the opener as it sends them, reply those of the other
	// end as that one sends them. Without translation one is the inverse of the other.
	original, reply tuple
	id              uint32 // the kernel's, for this one connection; 0: not told
	zone            uint16 // tells equal tuples of one namespace apart
}

// verdict says what became of a message.
type verdict int

const (
	malformed  verdict = iota // not what ctnetlink writes
	irrelevant                // not TCP, or not translated
	translated
)

// Of nfnetlink_conntrack.h and nf_conntrack_common.h, where the libraries lack them.
const (
	ctaTupleZone = 3             // CTA_TUPLE_ZONE: the zone applies to this direction only
	statusNAT    = 1<<4 | 1<<5   // IPS_SRC_NAT, IPS_DST_NAT
	attributeNAT = nl.CTA_STATUS // where they are
	nfgenSize    = nl.SizeofNfgenmsg
	nlaHeader    = unix.SizeofNlAttr
	nlaTypeMask  = ^(nl.NLA_F_NESTED | nl.NLA_F_NET_BYTEORDER)
)

// attribute takes the first attribute off b. ok is false at the end, and where what is
// left is no attribute; the two differ in whether anything is left.
func attribute(b []byte) (kind uint16, value, rest []byte, ok bool) {
	if len(b) < nlaHeader {
		return 0, nil, b, false
	}
	size := int(binary.NativeEndian.Uint16(b))
	if size < nlaHeader || size > len(b) {
		return 0, nil, b, false
	}
	kind = binary.NativeEndian.Uint16(b[2:]) & nlaTypeMask
	next := min((size+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1), len(b)) // the last one may lack its padding
	return kind, b[nlaHeader:size], b[next:], true
}

// decode reads the payload of a conntrack message: what follows the netlink header. It
// allocates nothing, and keeps nothing of b. c is whole only if the verdict is translated.
func decode(b []byte, c *connection) verdict {
	if len(b) < nfgenSize {
		return malformed
	}
	*c = connection{}
	status := uint32(statusNAT) // if it is not told, the tuples alone decide
	have := 0
	rest := b[nfgenSize:]
	for {
		kind, value, next, ok := attribute(rest)
		if !ok {
			break
		}
		rest = next
		switch kind {
		case nl.CTA_TUPLE_ORIG:
			if v := decodeTuple(value, &c.original, &c.zone); v != translated {
				return v
			}
			have |= 1
		case nl.CTA_TUPLE_REPLY:
			if v := decodeTuple(value, &c.reply, &c.zone); v != translated {
				return v
			}
			have |= 2
		case attributeNAT:
			if len(value) != 4 {
				return malformed
			}
			status = binary.BigEndian.Uint32(value)
		case nl.CTA_ID:
			if len(value) != 4 {
				return malformed
			}
			c.id = binary.BigEndian.Uint32(value)
		case nl.CTA_ZONE:
			if len(value) != 2 {
				return malformed
			}
			c.zone = binary.BigEndian.Uint16(value)
		}
	}
	if len(rest) != 0 || have != 3 {
		return malformed
	}
	if status&statusNAT == 0 || c.reply == c.original.inverse() {
		return irrelevant
	}
	return translated
}

// decodeTuple reads CTA_TUPLE_ORIG or CTA_TUPLE_REPLY. Its verdict is translated if it is
// a whole tuple of TCP.
func decodeTuple(b []byte, t *tuple, zone *uint16) verdict {
	addresses, ports := false, false
	for {
		kind, value, rest, ok := attribute(b)
		if !ok {
			break
		}
		b = rest
		switch kind {
		case nl.CTA_TUPLE_IP:
			if addresses = decodeAddresses(value, t); !addresses {
				return malformed
			}
		case nl.CTA_TUPLE_PROTO:
			v := decodePorts(value, t)
			if v != translated {
				return v
			}
			ports = true
		case ctaTupleZone:
			if len(value) != 2 {
				return malformed
			}
			*zone = binary.BigEndian.Uint16(value)
		}
	}
	if len(b) != 0 || !addresses || !ports {
		return malformed
	}
	return translated
}

// decodeAddresses reads CTA_TUPLE_IP, both ends of one family.
func decodeAddresses(b []byte, t *tuple) bool {
	const v4src, v4dst, v6src, v6dst = 1 << nl.CTA_IP_V4_SRC, 1 << nl.CTA_IP_V4_DST, 1 << nl.CTA_IP_V6_SRC, 1 << nl.CTA_IP_V6_DST
	have := 0
	for {
		kind, value, rest, ok := attribute(b)
		if !ok {
			break
		}
		b = rest
		switch kind {
		case nl.CTA_IP_V4_SRC, nl.CTA_IP_V6_SRC:
			ok = setAddress(&t.src, value, kind == nl.CTA_IP_V4_SRC)
		case nl.CTA_IP_V4_DST, nl.CTA_IP_V6_DST:
			ok = setAddress(&t.dst, value, kind == nl.CTA_IP_V4_DST)
		default:
			continue
		}
		if !ok {
			return false
		}
		have |= 1 << kind
	}
	return len(b) == 0 && (have == v4src|v4dst || have == v6src|v6dst)
}

// mapped is the prefix of an IPv4-mapped IPv6 address.
var mapped = [12]byte{10: 0xff, 11: 0xff}

func setAddress(a *[16]byte, value []byte, v4 bool) bool {
	if v4 {
		copy(a[:], mapped[:])
		return copy(a[12:], value) == len(value) && len(value) == 4
	}
	return copy(a[:], value) == len(value) && len(value) == 16
}

// decodePorts reads CTA_TUPLE_PROTO. Its verdict is translated if it is TCP's.
func decodePorts(b []byte, t *tuple) verdict {
	const number, source, destination = 1 << nl.CTA_PROTO_NUM, 1 << nl.CTA_PROTO_SRC_PORT, 1 << nl.CTA_PROTO_DST_PORT
	have := 0
	for {
		kind, value, rest, ok := attribute(b)
		if !ok {
			break
		}
		b = rest
		switch {
		case kind == nl.CTA_PROTO_NUM && len(value) == 1:
			if value[0] != unix.IPPROTO_TCP {
				return irrelevant
			}
		case kind == nl.CTA_PROTO_SRC_PORT && len(value) == 2:
			t.srcPort = binary.BigEndian.Uint16(value)
		case kind == nl.CTA_PROTO_DST_PORT && len(value) == 2:
			t.dstPort = binary.BigEndian.Uint16(value)
		case kind <= nl.CTA_PROTO_DST_PORT:
			return malformed
		default:
			continue
		}
		have |= 1 << kind
	}
	if len(b) != 0 || have != number|source|destination {
		return malformed
	}
	return translated
}
