// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"encoding/binary"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// filter makes the kernel drop the events of what is not TCP or not translated before
// they take room in the receive buffer and wake anybody: on most hosts nearly all of
// them. What cannot be told passes, for the decoder to decide.
//
// Offsets are those of a datagram with one message, as events are. Dumps, which hold
// many in one, pass by their multi-part flag.
func filter() ([]bpf.RawInstruction, error) {
	const attributes = unix.SizeofNlMsghdr + nfgenSize
	nested := func(kind uint32) []bpf.Instruction { // A: offset of an attribute → of one within, or 0
		return []bpf.Instruction{
			bpf.LoadConstant{Dst: bpf.RegX, Val: kind},
			bpf.LoadExtension{Num: bpf.ExtNetlinkAttrNested},
		}
	}
	first := func(kind uint32) []bpf.Instruction { // A: offset of an attribute of the message, or 0
		return []bpf.Instruction{
			bpf.LoadConstant{Dst: bpf.RegA, Val: attributes},
			bpf.LoadConstant{Dst: bpf.RegX, Val: kind},
			bpf.LoadExtension{Num: bpf.ExtNetlinkAttr},
		}
	}

	var p program
	p.add(bpf.LoadAbsolute{Off: 6, Size: 2}) // flags
	p.acceptIf(bpf.JumpBitsSet, hostOrder(unix.NLM_F_MULTI))
	p.add(bpf.LoadAbsolute{Off: 4, Size: 2})       // type
	p.skipIf(bpf.JumpEqual, hostOrder(typeNew), 2) // the two of the next line
	p.acceptIf(bpf.JumpNotEqual, hostOrder(typeDestroy))

	p.add(first(nl.CTA_STATUS)...)
	p.acceptIf(bpf.JumpEqual, 0)
	p.add(bpf.TAX{}, bpf.LoadIndirect{Off: nlaHeader, Size: 4})
	p.dropIf(bpf.JumpBitsNotSet, statusNAT)

	p.add(first(nl.CTA_TUPLE_ORIG)...)
	p.acceptIf(bpf.JumpEqual, 0)
	p.add(nested(nl.CTA_TUPLE_PROTO)...)
	p.acceptIf(bpf.JumpEqual, 0)
	p.add(nested(nl.CTA_PROTO_NUM)...)
	p.acceptIf(bpf.JumpEqual, 0)
	p.add(bpf.TAX{}, bpf.LoadIndirect{Off: nlaHeader, Size: 1})
	p.dropIf(bpf.JumpNotEqual, unix.IPPROTO_TCP)
	p.add(accept)
	return bpf.Assemble(p)
}

// program is written forwards; what leaves it does so at once.
type program []bpf.Instruction

var (
	accept = bpf.RetConstant{Val: 1<<32 - 1} // all bytes
	drop   = bpf.RetConstant{Val: 0}
)

func (p *program) add(i ...bpf.Instruction) { *p = append(*p, i...) }

func (p *program) skipIf(test bpf.JumpTest, value uint32, n uint8) {
	p.add(bpf.JumpIf{Cond: test, Val: value, SkipTrue: n})
}

func (p *program) acceptIf(test bpf.JumpTest, value uint32) {
	p.add(bpf.JumpIf{Cond: test, Val: value, SkipFalse: 1}, accept)
}

func (p *program) dropIf(test bpf.JumpTest, value uint32) {
	p.add(bpf.JumpIf{Cond: test, Val: value, SkipFalse: 1}, drop)
}

// hostOrder is what a filter, which loads in network order, sees of a number that netlink
// writes in the order of the host.
func hostOrder(n uint16) uint32 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], n)
	return uint32(binary.BigEndian.Uint16(b[:]))
}
