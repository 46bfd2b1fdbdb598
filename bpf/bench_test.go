// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// bpfTime measures; what it returns reports the kernel's own run time of a program per operation: wall-clock time
// of the same binary varies by a fifth from run to run.
func bpfTime(b *testing.B, program *ebpf.Program, unit string) func(operations float64) {
	b.Helper()
	closer, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	require.NoError(b, err)
	before, err := program.Stats()
	require.NoError(b, err)
	return func(per float64) {
		after, err := program.Stats()
		require.NoError(b, err)
		closer.Close()
		b.ReportMetric(float64((after.Runtime-before.Runtime).Nanoseconds())/per, "bpf-ns/"+unit)
		b.ReportMetric(float64(after.RunCount-before.RunCount)/per, "callbacks/"+unit)
	}
}

// BenchmarkConnections is the cost of one short connection, both ends.
func BenchmarkConnections(b *testing.B) {
	p := load(b, Options{})
	report := bpfTime(b, p.objects.FlowSockops, "connection")
	exchange(b, "tcp4", "127.0.0.1:0", "127.0.0.1", b.N, 1)
	report(float64(b.N))
}

// BenchmarkBulk is the cost of one GB over loopback, both ends.
func BenchmarkBulk(b *testing.B) {
	p := load(b, Options{})
	client, server := pair(b)
	go io.Copy(io.Discard, server)
	chunk := make([]byte, 1<<20)
	b.SetBytes(int64(len(chunk)))
	report := bpfTime(b, p.objects.FlowSockops, "GB")
	for range b.N {
		_, err := client.Write(chunk)
		require.NoError(b, err)
	}
	report(float64(b.N) / 1024)
}

// BenchmarkHarvest is a round over idle sockets of many flows.
func BenchmarkHarvest(b *testing.B) {
	for _, sockets := range []int{100, 4_000} {
		b.Run(fmt.Sprintf("%d sockets", 2*sockets), func(b *testing.B) {
			p := load(b, Options{MaxFlows: 16384})
			ln, err := net.Listen("tcp4", "127.0.0.1:0")
			require.NoError(b, err)
			defer ln.Close()
			for range sockets {
				c, err := net.Dial("tcp4", ln.Addr().String())
				require.NoError(b, err)
				s, err := ln.Accept()
				require.NoError(b, err)
				defer c.Close()
				defer s.Close()
			}
			report := bpfTime(b, p.objects.FlowWalk, "harvest")
			b.ReportAllocs()
			for b.Loop() {
				require.NoError(b, p.Harvest(func(*FlowKey, *Flow, *Detail) {}))
			}
			report(float64(b.N))
		})
	}
}
