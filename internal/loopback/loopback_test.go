// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package loopback

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNoAddressIsGivenTwiceNorOneThatIsTaken(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		address, err := FreeAddress()
		require.NoError(t, err)
		require.NotContains(t, seen, address)
		seen[address] = true
		port := netip.MustParseAddrPort(address).Port()
		assert.True(t, first <= port && port < 32_768, port)
	}

	address, err := FreeAddress()
	require.NoError(t, err)
	ln, err := net.Listen("tcp4", address)
	require.NoError(t, err)
	defer ln.Close()
	asked.Add(ports - 1) // a whole round later
	next, err := FreeAddress()
	require.NoError(t, err)
	assert.NotEqual(t, address, next)
}
