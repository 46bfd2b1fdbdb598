// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package gateway

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/hosts"
)

// A gRPC server takes 4 MiB in a message, and refuses more for good: a round of a busy host has to come in parts.
func TestARoundLargerThanAMessageArrivesWhole(t *testing.T) {
	const flows = 24_000
	f := newTier(t)
	f.startVerdict(t)
	f.startGateways(t, "")
	f.interval = 8 * time.Second // all flows within two rounds, wherever they begin
	client := f.clients[0]
	f.startAgents(t, "", "")
	// A flow for each port of the server that nobody listens on.
	var clients []netlab.ClientConfig
	const each = 2000
	for first := 0; first < flows; first += each {
		c := netlab.ClientConfig{Connections: each, Concurrency: 16}
		for i := range each {
			c.Targets = append(c.Targets, netip.AddrPortFrom(f.servers[0].Addr4(), uint16(20_000+first+i)))
		}
		clients = append(clients, c)
	}
	app := hosts.RunAll(t, client, clients)
	require.Equal(t, flows, app.Failed)
	id := "i-" + client.Name()
	require.Eventually(t, func() bool { return f.witness.Total(id, flowattr.MetricConnectionsFailed) == flows }, time.Minute, 50*time.Millisecond)
	for _, metric := range []string{flowattr.MetricConnectionsAttempted, flowattr.MetricConnectionsFailed} {
		assert.Eventually(t, func() bool { return f.backend.Total(id, metric) == flows }, 20*time.Second, 50*time.Millisecond, metric)
	}
	most := 0
	for _, r := range f.witness.Rounds() {
		most = max(most, r.Points)
	}
	// Some 200 bytes each on the wire.
	assert.Greater(t, most, 22_000, "points of the largest round: the test is of no use when it fits into a message")
	t.Logf("the largest round had %d points", most)
}
