// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package prometheus

import (
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
)

// scrapes is a server's configuration that scrapes every second.
func scrapes(addresses ...string) string {
	config := "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\nscrape_configs:\n"
	for i, a := range addresses {
		config += fmt.Sprintf("- {job_name: flowmonitor-%d, honor_labels: true, static_configs: [{targets: [%q]}]}\n", i, a)
	}
	return config
}

// TestClassicBucketsHoldWhatIsBelowTheirBound compares each bucket that the server has, by way of classic.yaml, with the
// samples themselves.
func TestClassicBucketsHoldWhatIsBelowTheirBound(t *testing.T) {
	t.Parallel()
	otlp, listen := collector.FreeAddress(t), collector.FreeAddress(t)
	process := collector.StartExample(t, filepath.Join(example, "classic.yaml"),
		"FLOWMONITOR_OTLP="+collector.FreeAddress(t), "FLOWMONITOR_OTLP_HTTP="+otlp, "FLOWMONITOR_LISTEN="+listen,
		"FLOWMONITOR_SELF_PORT="+port(collector.FreeAddress(t)))
	defer process.Stop(t)
	s := startServer(t, scrapes(listen))
	f := newFleet(time.Now().Add(-time.Hour))
	for range 3 {
		send(t, otlp, f.next(false))
	}
	// The last round leaves after flowlimit's round_timeout.
	of := `flow_tcp_rtt_seconds_%s{instance=~"i-.*"}`
	require.Eventually(t, func() bool {
		got, err := s.ask(fmt.Sprintf("sum("+of+")", "count"), time.Now())
		return err == nil && len(got) == 1 && got[0].value == float64(len(f.rtt))
	}, 30*time.Second, 200*time.Millisecond)

	buckets := s.query(t, fmt.Sprintf("sum by (le) ("+of+")", "bucket"), time.Now())
	require.Len(t, buckets, 18, "2^-14 … 2^2, and +Inf")
	for _, b := range buckets {
		le, err := strconv.ParseFloat(b.labels["le"], 64)
		require.NoError(t, err)
		below := 0
		for _, v := range f.rtt {
			if v <= le {
				below++
			}
		}
		assert.Equal(t, float64(below), b.value, "le=%s", b.labels["le"])
	}
	sum := 0.0
	for _, v := range f.rtt {
		sum += v
	}
	assert.InDelta(t, sum, s.value(t, fmt.Sprintf("sum("+of+")", "sum"), time.Now()), 1e-6)
	assert.Equal(t, f.truth.metric["flow.tcp.connect.duration"], s.value(t, `sum(flow_tcp_connect_duration_seconds_bucket{instance=~"i-.*",le="+Inf"})`, time.Now()))
}
