// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package prometheus

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
)

// TestRoundsOfATimeWithoutAServerArriveByRemoteWrite starts the server only after the rounds.
func TestRoundsOfATimeWithoutAServerArriveByRemoteWrite(t *testing.T) {
	t.Parallel()
	otlp, write := collector.FreeAddress(t), collector.FreeAddress(t)
	process := collector.StartExample(t, filepath.Join(example, "remote-write.yaml"),
		"FLOWMONITOR_OTLP="+collector.FreeAddress(t), "FLOWMONITOR_OTLP_HTTP="+otlp,
		"FLOWMONITOR_SELF_PORT="+port(collector.FreeAddress(t)), "FLOWMONITOR_REMOTE_WRITE=http://"+write+"/api/v1/write")
	defer process.Stop(t)
	f := newFleet(time.Now().Add(-10 * step).Truncate(step))
	for range 5 {
		send(t, otlp, f.next(false))
	}
	// flowlimit hands a round on when the next one comes, so four of the five have been refused by now.
	s := startServerAt(t, write, "global: {}\n")
	require.Eventually(t, func() bool {
		got, err := s.ask("sum(flow_tcp_sent_bytes_total)", f.now)
		return err == nil && len(got) == 1 && got[0].value == f.truth.metric["flow.tcp.sent"]
	}, 60*time.Second, 500*time.Millisecond)
	// All of the rounds with their own times, and not the last totals alone.
	assert.Equal(t, 5.0, s.value(t, `max(count_over_time(flow_tcp_sent_bytes_total[10m]))`, f.now))
}
