// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ipranges

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
	"sync"
)

//go:embed ip-ranges.json.gz
var shipped []byte

// Shipped gives the snapshot that is part of the binary, read once for the process.
var Shipped = sync.OnceValue(func() *Table {
	t, err := Read(shipped)
	if err != nil {
		panic("the shipped AWS ranges: " + err.Error()) // a broken build: any test finds it
	}
	return t
})

// maxSize bounds what a compressed file may unpack to: twenty times the file of today.
const maxSize = 64 << 20

// Read takes the bytes of ip-ranges.json, gzipped or not.
func Read(data []byte) (*Table, error) {
	if !bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		return Parse(data)
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("AWS ranges: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(z, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("AWS ranges: %w", err)
	}
	if len(plain) > maxSize {
		return nil, fmt.Errorf("AWS ranges: unpacks to more than %d MiB", maxSize>>20)
	}
	return Parse(plain)
}
