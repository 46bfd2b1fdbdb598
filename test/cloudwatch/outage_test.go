// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cloudwatch

import (
	"math"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/reports"
)

// TestWhatTheAPIRefusedIsInTheNextWindow lets the API be away for longer than the SDK tries.
func TestWhatTheAPIRefusedIsInTheNextWindow(t *testing.T) {
	t.Parallel()
	cloud := startLogs(t, 0)
	otlp := collector.FreeAddress(t)
	self := collector.FreeAddress(t)
	_, port, err := net.SplitHostPort(self)
	require.NoError(t, err)
	process := collector.StartExample(t, filepath.Join(example, "gateway.yaml"),
		"FLOWMONITOR_OTLP="+collector.FreeAddress(t), "FLOWMONITOR_OTLP_HTTP="+otlp, "FLOWMONITOR_SELF_PORT="+port,
		"FLOWMONITOR_LOGS_ENDPOINT="+cloud.URL, "AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=secret")
	start := time.Now().Add(-time.Hour).Truncate(time.Minute)
	var sent int64
	minute := 0
	next := func() {
		w := reports.New(start.Add(time.Duration(minute)*time.Minute), start.Add(time.Duration(minute+1)*time.Minute))
		minute++
		n := int64(1000 + minute)
		sent += n
		w.Add(reports.Flow{Host: "i-web-1", Local: "10.1.1.11", Peer: "10.1.2.11", Port: 5432, Client: true}, reports.Report{Sent: n, SegmentsSent: 1, Active: 1, Open: 1})
		reports.Send(t, otlp, w.Metrics)
	}
	schema := emfSchema(t)
	// What CloudWatch has, with nothing after the name of the monitor: there is no prefix here.
	transferred := func() (sum float64, windows int) {
		events, refused, _ := cloud.seen()
		assert.Empty(t, refused)
		for _, e := range events {
			found, err := extract(schema, e)
			require.NoError(t, err)
			for _, m := range found {
				assert.Equal(t, "MonitorId=web-to-db", m.dimensions)
				if m.name == "DataTransferred" {
					sum, windows = sum+m.sum, windows+1
				}
			}
		}
		return sum, windows
	}
	reached := func(windows int) func() bool {
		return func() bool { _, n := transferred(); return n >= windows }
	}

	next()
	next()
	require.Eventually(t, reached(1), 20*time.Second, 10*time.Millisecond)
	cloud.refuseNext(math.MaxInt)
	next() // ends the second window, which the API does not take
	failed := func() bool {
		return collector.SelfMetric(t, self, "otelcol_exporter_send_failed_metric_points") > 0
	}
	require.Eventually(t, failed, 20*time.Second, 50*time.Millisecond, "the exporter gives up")
	cloud.refuseNext(0)
	next()
	require.Eventually(t, reached(2), 20*time.Second, 10*time.Millisecond)
	next()
	require.Eventually(t, reached(3), 20*time.Second, 10*time.Millisecond)
	process.Stop(t) // with the window that is open
	sum, _ := transferred()
	assert.EqualValues(t, sent, sum)
}
