// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conntrack

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
)

// The README and the settings say how much memory it takes.
func TestTheMemoryOfAConnection(t *testing.T) {
	assert.EqualValues(t, 112, unsafe.Sizeof(record{}))
	s := newStore(defaultMaxEntries)
	assert.EqualValues(t, 8*defaultMaxEntries, len(s.heads)*int(unsafe.Sizeof(end(0))))
	assert.Zero(t, len(s.chunks), "the rest is made when it is needed")
}
