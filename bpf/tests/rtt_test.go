// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package tests

import (
	"math/big"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/internal/exphist"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func bucketInKernel(t *testing.T) func(us uint64) int {
	t.Helper()
	if err := bpf.Supported(); err != nil && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	var objects rttObjects
	require.NoError(t, loadRttObjects(&objects, nil))
	t.Cleanup(func() { objects.Close() })
	return func(us uint64) int {
		ret, err := objects.BucketOf.Run(&ebpf.RunOptions{Context: []uint64{us}})
		require.NoError(t, err)
		return int(ret)
	}
}

// bucket is the definition: the i with 2^(i/4) < s <= 2^((i+1)/4), compared as s^4 with
// powers of two, in exact arithmetic.
func bucket(us uint64) int {
	s4 := new(big.Rat).SetFrac64(int64(us), 1_000_000)
	s4.Mul(s4, s4)
	s4.Mul(s4, s4)
	for i := range exphist.NBuckets - 1 {
		if s4.Cmp(power(exphist.Offset+i+1)) <= 0 {
			return i
		}
	}
	return exphist.NBuckets - 1
}

func power(e int) *big.Rat {
	two := new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(1), uint(max(e, -e))))
	if e < 0 {
		two.Inv(two)
	}
	return two
}

func TestEverySampleFallsIntoTheBucketOfItsSeconds(t *testing.T) {
	inKernel := bucketInKernel(t)
	check := func(us uint64) {
		assert.Equalf(t, bucket(us), inKernel(us), "%d µs", us)
	}
	for us := range uint64(2000) {
		check(us)
	}
	for us := uint64(1); us < 1<<32; us = us*5/4 + 1 {
		for around := max(us, 3) - 3; around <= us+3; around++ {
			check(around)
		}
	}
	// Upper bounds of whole octaves are the only ones that a whole microsecond can hit.
	for _, us := range []uint64{15_625, 31_250, 62_500, 125_000, 250_000, 500_000, 1_000_000, 2_000_000, 32_000_000, 64_000_000} {
		check(us)
		check(us + 1)
		check(us - 1)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		check(random.Uint64N(1 << random.UintN(33)))
	}
}
