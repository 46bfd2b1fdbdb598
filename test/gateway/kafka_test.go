// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package gateway

import (
	"bufio"
	"net/netip"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

// startBroker runs a Kafka broker on a host of the lab, as a process of its own, and gives its address.
func startBroker(t *testing.T, n *netlab.Node) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "kafkabroker")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Dir = "../kafkabroker" // a module of its own
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	address := netip.AddrPortFrom(n.Addr4(), 9092).String()
	broker := n.Command(t.Context(), binary, "-listen", address)
	said, err := broker.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, broker.Start())
	t.Cleanup(func() { _ = broker.Wait() }) // killed with the test's context
	line, err := bufio.NewReader(said).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	return address
}

// Rounds wait in Kafka while no gateway is there; each host's come through one gateway in their order; and a gateway
// that is killed loses what the one over OTLP does, at most: what it had not yet committed is read again.
func TestRoundsThroughKafkaArriveAlsoWhenNoGatewayIsThere(t *testing.T) {
	f := newTier(t)
	kafka := "FLOWMONITOR_KAFKA=" + startBroker(t, f.broker)
	// The shortest session that a broker allows by default.
	const session = "receivers: {kafka: {session_timeout: 6s, heartbeat_interval: 1s}}"
	start := func(i int) { f.startGatewayOf(t, "kafka-gateway.yaml", i, session, kafka) }
	f.startVerdict(t)
	start(0)
	start(1)
	f.startAgentsOf(t, "kafka-agent.yaml", "kafka", "", "", kafka)
	stop := f.light(t)
	f.caughtUp(t)
	for _, n := range f.alive() {
		require.Eventually(t, func() bool { return f.running[n].Telemetry(t)["otelcol_receiver_accepted_metric_points"] > 0 },
			time.Minute, 100*time.Millisecond, "%s reads some partitions", n.Name())
	}
	// One leaves, one is killed, and for a while there is none.
	f.running[f.gateways[0]].Stop(t)
	killed := time.Now()
	f.kill(t, 1)
	time.Sleep(4 * time.Second)
	start(0)
	start(1)
	f.caughtUp(t)
	f.told(t, stop())
	f.quiet()
	// The partitions of the one that was killed are given to another when its session is over.
	require.Eventually(t, func() bool {
		f.drained(t)
		for key := range f.backend.Missing(f.witness) {
			if key.End.AsTime().After(killed) {
				return false
			}
		}
		return true
	}, time.Minute, time.Second, "every round from after the kill arrives")

	missing, lost := f.backend.Missing(f.witness), map[string]int{}
	for key, n := range missing {
		assert.WithinRange(t, key.End.AsTime(), killed.Add(-3*time.Second), killed, "%s: the round lacks %d points, and no kill explains it", key.Host, n)
		lost[key.Host]++
	}
	for host, n := range lost {
		assert.Equal(t, 1, n, "%s: rounds lost by the kill", host)
	}
	got := f.backend.Rounds()
	for key, r := range f.witness.Rounds() {
		if missing[key] == 0 {
			assert.Equal(t, r.Sums, got[key].Sums, "%s, round of %v", key.Host, key.End.AsTime())
		}
	}
	late := 0.0
	for _, n := range f.alive() {
		late += f.running[n].Telemetry(t)["otelcol_processor_flowlimit_late_rounds"]
	}
	assert.Zero(t, late, "rounds out of their order")
	t.Logf("%d rounds, %d lost, %d points came twice", len(got), len(missing), f.backend.Noted().Again)
}
