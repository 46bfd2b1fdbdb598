// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package bpf

//go:generate go tool -modfile=../tools/go.mod bpf2go -cc clang-19 -strip llvm-strip-19 -tags linux -target bpfel -type flow_key -type flow -type detailed_flow -type detail -type histogram -type tuple -type cgroup_names -type listener sockops sockops.bpf.c -- -O2 -g -mcpu=v3 -fno-builtin -Wall -Werror -Wpadded -I./headers
