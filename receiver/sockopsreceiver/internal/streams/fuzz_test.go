// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package streams

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// FuzzKernelBytes feeds whatever bytes a flow table might hold: no panic, as many
// connections out as in, and no stream written twice in a round. (Run it with
// -fuzzminimizetime 5x: what a map covers varies, so the minimizer never ends by itself.)
func FuzzKernelBytes(f *testing.F) {
	keySize, flowSize := binary.Size(bpf.FlowKey{}), binary.Size(bpf.Flow{})
	one := make([]byte, keySize+flowSize)
	one[keySize] = 1
	f.Add(one)
	f.Add(bytes.Repeat([]byte{0xff}, 2*(keySize+flowSize)))
	f.Add(append(bytes.Clone(one), one...))
	f.Fuzz(func(t *testing.T, b []byte) {
		table := New(Settings{MaxFlows: 2, IdleTimeout: time.Second})
		var want uint64
		for len(b) >= keySize+flowSize {
			var k bpf.FlowKey
			var flow bpf.Flow
			_, err := binary.Decode(b, binary.NativeEndian, &k)
			require.NoError(t, err)
			_, err = binary.Decode(b[keySize:], binary.NativeEndian, &flow)
			require.NoError(t, err)
			table.Add(&k, &flow, nil)
			want += uint64(flow.Opened)
			b = b[keySize+flowSize:]
		}
		points := round(t, table, Round{Now: at + 1, Since: at, Levels: true})
		require.Equal(t, want, sumOf(points, flowattr.MetricConnectionsOpened))
		table.End(at+1, Delivered)
	})
}
