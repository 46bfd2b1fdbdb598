// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package bpf watches the TCP connections of a host in the kernel.
//
// A sockops program on a cgroup2 directory keeps state beside each socket and adds
// what the socket counted to the socket's flow: when the connection ends, and at each
// [Sockops.Harvest]. User space reads flows, never sockets:
//
//	callbacks ─► conns (SK_STORAGE, one per socket)
//	                 │ fold: at close, and by the walk of a harvest
//	                 ▼
//	             flows (two hash tables, swapped) ─► Harvest
//
// The C sources are compiled with bpf2go and committed with their objects, so that
// neither this module's users nor ocb need clang. Kernels from 5.15 on, with BTF.
package bpf // import "github.com/otel-flowmonitor/flowmonitor/bpf"
