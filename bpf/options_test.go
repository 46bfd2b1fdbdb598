// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each option makes programs of its own for the verifier, which gets stricter or laxer
// with every kernel.
func TestEveryProgramLoadsWithEveryOption(t *testing.T) {
	const all = DetailLimits | DetailRetransmitType | DetailZeroWindows | DetailECN
	for _, detail := range []DetailGroup{0, DetailLimits, DetailRetransmitType, DetailZeroWindows, DetailECN, all} {
		for _, other := range []struct{ nat, containers bool }{{}, {nat: true}, {containers: true}, {nat: true, containers: true}} {
			t.Run(fmt.Sprintf("detail %04b, nat %v, containers %v", detail, other.nat, other.containers), func(t *testing.T) {
				p := load(t, Options{Detail: detail, NAT: other.nat, Containers: other.containers})
				exchange(t, "tcp4", "127.0.0.1:0", "127.0.0.1", 1, 1)
				sum := totals{}
				sum.settle(t, p)
				require.EqualValues(t, 1, sum.of(RoleClient).Closed[ClosedOrderly])
			})
		}
	}
}
