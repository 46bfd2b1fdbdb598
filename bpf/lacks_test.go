// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestAKernelLacksWhatCameAfterIt(t *testing.T) {
	names := func(fs []Feature) (n []string) {
		for _, f := range fs {
			n = append(n, f.Name)
		}
		return n
	}
	for release, tt := range map[string]struct {
		version    uint32
		has, lacks []string
	}{
		"6.1":      {6<<16 | 1<<8 | 176, nil, []string{"total_rto", "rtt_sample", "iterator_flags"}},
		"6.6.255":  {6<<16 | 6<<8 | 255, nil, []string{"total_rto", "rtt_sample", "iterator_flags"}},
		"6.7":      {6<<16 | 7<<8, []string{"total_rto"}, []string{"rtt_sample", "iterator_flags"}},
		"6.11.255": {6<<16 | 11<<8 | 255, []string{"total_rto", "rtt_sample"}, []string{"iterator_flags"}},
		"6.12":     {6<<16 | 12<<8, []string{"total_rto", "rtt_sample", "iterator_flags"}, nil},
		"7.0":      {7 << 16, []string{"total_rto", "rtt_sample", "iterator_flags"}, nil},
	} {
		t.Run(release, func(t *testing.T) {
			has, lacks := featuresOf(tt.version)
			assert.Equal(t, tt.has, names(has))
			assert.Equal(t, tt.lacks, names(lacks))
		})
	}
}
