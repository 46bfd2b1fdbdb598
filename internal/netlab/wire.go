// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// header begins each exchange on a connection, from client to server. It is part
// of what both sides count.
type header struct {
	id       uint64
	upload   int64 // bytes that follow, from the client
	download int64 // bytes that the server sends
	readRate int64 // bytes a second at which the server reads; 0: as fast as it can
	close    CloseMode
	last     bool // after this exchange the connection is closed as close says
	duplex   bool
}

const (
	headerMagic = 0x4e4c4142 // "NLAB"
	headerSize  = 40
	flagLast    = 1
	flagDuplex  = 2
)

// maxTransfer keeps a broken header from asking for the impossible: 1 TiB.
const maxTransfer = 1 << 40

func (h header) encode() []byte {
	b := make([]byte, headerSize)
	binary.BigEndian.PutUint32(b, headerMagic)
	b[4] = byte(h.close)
	if h.last {
		b[5] |= flagLast
	}
	if h.duplex {
		b[5] |= flagDuplex
	}
	binary.BigEndian.PutUint64(b[8:], h.id)
	binary.BigEndian.PutUint64(b[16:], uint64(h.upload))
	binary.BigEndian.PutUint64(b[24:], uint64(h.download))
	binary.BigEndian.PutUint64(b[32:], uint64(h.readRate))
	return b
}

func decodeHeader(b []byte) (header, error) {
	if len(b) < headerSize {
		return header{}, errors.New("header is too short")
	}
	if binary.BigEndian.Uint32(b) != headerMagic {
		return header{}, errors.New("no header of a netlab client")
	}
	h := header{
		id:       binary.BigEndian.Uint64(b[8:]),
		upload:   int64(binary.BigEndian.Uint64(b[16:])),
		download: int64(binary.BigEndian.Uint64(b[24:])),
		readRate: int64(binary.BigEndian.Uint64(b[32:])),
		close:    CloseMode(b[4]),
		last:     b[5]&flagLast != 0,
		duplex:   b[5]&flagDuplex != 0,
	}
	if b[5]&^(flagLast|flagDuplex) != 0 || b[6] != 0 || b[7] != 0 || h.close > ResetByServer {
		return header{}, errors.New("header with unknown flags")
	}
	for _, n := range []int64{h.upload, h.download, h.readRate} {
		if n < 0 || n > maxTransfer {
			return header{}, fmt.Errorf("header with a size of %d", n)
		}
	}
	return h, nil
}
