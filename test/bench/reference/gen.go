// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package reference

//go:generate go tool -modfile=../../../tools/go.mod bpf2go -cc clang-19 -strip llvm-strip-19 -tags linux -target bpfel reference src/reference.bpf.c -- -O2 -g -mcpu=v3 -fno-builtin -Wall -Werror -I./src -I../../../bpf -I../../../bpf/headers
