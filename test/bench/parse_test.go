// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const program = `pos:	0
flags:	02000002
mnt_id:	15
ino:	2061
prog_type:	13
prog_jited:	1
prog_tag:	d6d5e2ff2aa12e3c
memlock:	4096
prog_id:	170
run_time_ns:	1234567
run_cnt:	89
recursion_misses:	0
verified_insns:	2
`

func TestProgramsAreKnownByTheirStatistics(t *testing.T) {
	for _, tt := range []struct {
		name, text, id string
		want           programs
	}{
		{"a program", program, "170", programs{1234567, 89}},
		{"a link names one, and has no statistics", "link_type:\tcgroup\nlink_id:\t3\nprog_id:\t170\n", "", programs{}},
		{"a file", "pos:\t0\nflags:\t02\nmnt_id:\t15\nino:\t2\n", "", programs{}},
		{"nothing", "", "", programs{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id, got, err := parseProgram(strings.NewReader(tt.text))
			require.NoError(t, err)
			assert.Equal(t, tt.id, id)
			assert.Equal(t, tt.want, got)
		})
	}
	_, _, err := parseProgram(strings.NewReader("prog_id:\t1\nrun_time_ns:\tsoon\n"))
	require.ErrorContains(t, err, "run_time_ns")
	assert.Equal(t, programs{time.Second, 3}, programs{3 * time.Second, 5}.since(programs{2 * time.Second, 2}))
}

const slabinfo = `slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>
kmalloc-cg-192       538    735    192   21    1 : tunables    0    0    0 : slabdata     35     35      0
kmalloc-8k            56     68   8192    4    8 : tunables    0    0    0 : slabdata     17     17      0
`

func TestCachesAreReadFromSlabinfo(t *testing.T) {
	got, err := parseSlabinfo(strings.NewReader(slabinfo))
	require.NoError(t, err)
	assert.Equal(t, map[string]cache{"kmalloc-cg-192": {538, 192}, "kmalloc-8k": {56, 8192}}, got)
	_, err = parseSlabinfo(strings.NewReader("kmalloc-64 many 1 64"))
	require.ErrorContains(t, err, "many")
}

func FuzzParsers(f *testing.F) {
	f.Add(program)
	f.Add(slabinfo)
	f.Fuzz(func(_ *testing.T, text string) {
		_, _, _ = parseProgram(strings.NewReader(text))
		_, _ = parseSlabinfo(io.LimitReader(strings.NewReader(text), 1<<20))
	})
}
