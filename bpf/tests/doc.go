// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package tests runs the pure functions of the eBPF sources in the kernel, by programs
// that wrap them (sockops programs themselves cannot be run by BPF_PROG_TEST_RUN).
package tests

//go:generate go tool -modfile=../../tools/go.mod bpf2go -cc clang-19 -strip llvm-strip-19 -tags linux -target bpfel rtt rtt.bpf.c -- -O2 -g -mcpu=v3 -fno-builtin -Wall -Werror -Wpadded -I.. -I../headers
//go:generate go tool -modfile=../../tools/go.mod bpf2go -cc clang-19 -strip llvm-strip-19 -tags linux -target bpfel fold fold.bpf.c -- -O2 -g -mcpu=v3 -fno-builtin -Wall -Werror -Wpadded -I.. -I../headers
