// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package awsagent

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// agent writes reports of version 1.1 in the agent's documented form: one resource, of each flow a scope with its key as
// attributes, every value a delta histogram without buckets, start and end of each point the time of the report.
type agent struct {
	instance string
	md       pmetric.Metrics
	rm       pmetric.ResourceMetrics
	at       pcommon.Timestamp
}

func newReport(instance string, at time.Time) *agent {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	for _, kv := range [][2]string{
		{"instance_id", instance}, {"instance_type", "m6a.large"}, {"machine_id", "ec2" + instance}, {"compute_platform", "EC2_PLAIN"},
		{"service.name", "network-flow-monitor-agent"}, {"service.version", "1.1.6"}, {"agent.build_ts", "2026-05-01"}, {"report.version", "1.1"},
	} {
		rm.Resource().Attributes().PutStr(kv[0], kv[1])
	}
	return &agent{instance, md, rm, pcommon.NewTimestampFromTime(at)}
}

// samples are times in microseconds, as the agent sums them up.
type samples struct {
	count, sum, least, most uint64
}

func (s *samples) add(v uint64) {
	if s.count == 0 || v < s.least {
		s.least = v
	}
	s.count, s.sum, s.most = s.count+1, s.sum+v, max(s.most, v)
}

// stats are the values of a flow; what is not named is 0, and is sent so.
type stats struct {
	values    map[string]uint64
	rtt, open samples
}

// counts are the agent's metrics that are single values.
var counts = []string{
	"sockets_connecting", "sockets_established", "sockets_closing", "sockets_closed", "sockets_completed", "severed_connect", "severed_establish",
	"connect_attempts", "bytes_received", "bytes_delivered", "segments_received", "segments_delivered",
	"retrans_syn", "retrans_est", "retrans_close", "rtos_syn", "rtos_est", "rtos_close",
}

// flow appends a flow. The client's port is 0.
func (a *agent) flow(local string, localPort int64, remote string, remotePort int64, s stats) {
	sm := a.rm.ScopeMetrics().AppendEmpty()
	sm.Scope().SetName("network_stats")
	key := sm.Scope().Attributes()
	key.PutStr("local_address", local)
	key.PutInt("local_port", localPort)
	key.PutStr("protocol", "TCP")
	key.PutStr("remote_address", remote)
	key.PutInt("remote_port", remotePort)
	for _, name := range counts {
		dp := a.histogram(sm, name)
		dp.SetCount(1)
		dp.SetSum(float64(s.values[name]))
	}
	for name, v := range map[string]samples{"connect_us": s.open, "rtt_us": s.rtt, "rtt_smoothed_us": s.rtt} {
		dp := a.histogram(sm, name)
		dp.SetCount(v.count)
		dp.SetSum(float64(v.sum))
		dp.SetMin(float64(v.least))
		dp.SetMax(float64(v.most))
	}
}

func (a *agent) histogram(sm pmetric.ScopeMetrics, name string) pmetric.HistogramDataPoint {
	m := sm.Metrics().AppendEmpty()
	m.SetName(name)
	m.SetEmptyHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	dp := m.Histogram().DataPoints().AppendEmpty()
	dp.SetStartTimestamp(a.at)
	dp.SetTimestamp(a.at)
	return dp
}

// publish ends the report with the agent's other scopes, and sends it as the agent does. It takes 200 for an answer and nothing else.
func (a *agent) publish(t testing.TB, address string) {
	t.Helper()
	for scope, names := range map[string][]string{
		"host_stats": {"bw_in_allowance_exceeded", "conntrack_allowance_available"}, "process_stats": {"cpu_util", "mem_used_kb"}, "counters": {"rtt_events", "sockets_added"},
	} {
		sm := a.rm.ScopeMetrics().AppendEmpty()
		sm.Scope().SetName(scope)
		for i, name := range names {
			m := sm.Metrics().AppendEmpty()
			m.SetName(name)
			var dp pmetric.NumberDataPoint
			if scope == "process_stats" {
				dp = m.SetEmptyGauge().DataPoints().AppendEmpty()
			} else {
				m.SetEmptySum().SetIsMonotonic(true)
				m.Sum().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
				dp = m.Sum().DataPoints().AppendEmpty()
			}
			dp.SetIntValue(int64(i))
			dp.SetStartTimestamp(a.at)
			dp.SetTimestamp(a.at)
		}
	}
	body, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(a.md)
	require.NoError(t, err)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, err = z.Write(body)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/publish", &zipped)
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/x-protobuf")
	request.Header.Set("Content-Encoding", "gzip")
	request.Header.Set("X-Amz-Date", time.Now().UTC().Format("20060102T150405Z"))
	request.Header.Set("X-Amz-Security-Token", "TOKEN")
	request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/eu-west-1/networkflowmonitor/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=00")
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Do(request)
	require.NoError(t, err)
	defer r.Body.Close()
	answer, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, r.StatusCode, "%s", answer)
}
