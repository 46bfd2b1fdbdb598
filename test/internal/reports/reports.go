// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package reports writes what sockops receivers would report of given flows, at any time, and keeps its own account of it.
package reports

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/exphist"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// Flow is one end of a conversation, as the agent on Host reports it.
type Flow struct {
	Host, Local, Peer string
	Port              int64 // the server's
	Client            bool
}

// Report is what a flow did in one round.
type Report struct {
	Sent, Received                                       int64
	SegmentsSent, SegmentsReceived                       int64
	Retransmissions, Timeouts                            int64
	Opened, Closed, Open, Active, RetransmittingOfActive int64
	RTT                                                  []float64 // seconds
}

// Writer collects the points of one round of all hosts, from Start to End.
type Writer struct {
	Start, End time.Time
	Metrics    pmetric.Metrics
	hosts      map[string]pmetric.MetricSlice
}

// New begins a round.
func New(start, end time.Time) *Writer {
	return &Writer{start, end, pmetric.NewMetrics(), map[string]pmetric.MetricSlice{}}
}

// Add appends the report of a flow. Counters that are zero are left out, as the receiver does.
func (w *Writer) Add(f Flow, r Report) {
	metrics, ok := w.hosts[f.Host]
	if !ok {
		rm := w.Metrics.ResourceMetrics().AppendEmpty()
		rm.Resource().Attributes().PutStr("service.name", "flowmonitor-agent")
		rm.Resource().Attributes().PutStr("service.instance.id", f.Host)
		rm.Resource().Attributes().PutStr("host.id", f.Host)
		metrics = rm.ScopeMetrics().AppendEmpty().Metrics()
		w.hosts[f.Host] = metrics
	}
	sum := func(name string, value int64, extra ...string) {
		if value == 0 {
			return
		}
		s := metrics.AppendEmpty()
		s.SetName(name)
		s.SetEmptySum().SetIsMonotonic(true)
		s.Sum().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		dp := s.Sum().DataPoints().AppendEmpty()
		dp.SetIntValue(value)
		dp.SetStartTimestamp(pcommon.NewTimestampFromTime(w.Start))
		dp.SetTimestamp(pcommon.NewTimestampFromTime(w.End))
		identify(f, dp.Attributes(), extra)
	}
	sum(flowattr.MetricSent, r.Sent)
	sum(flowattr.MetricReceived, r.Received)
	sum(flowattr.MetricSegmentsSent, r.SegmentsSent)
	sum(flowattr.MetricSegmentsReceived, r.SegmentsReceived)
	sum(flowattr.MetricRetransmissions, r.Retransmissions, flowattr.Phase, flowattr.PhaseEstablished)
	sum(flowattr.MetricTimeouts, r.Timeouts, flowattr.Phase, flowattr.PhaseEstablished)
	sum(flowattr.MetricConnectionsOpened, r.Opened)
	sum(flowattr.MetricConnectionsClosed, r.Closed)
	sum(flowattr.MetricConnectionsActive, r.Active)
	sum(flowattr.MetricConnectionsRetransmitting, r.RetransmittingOfActive)
	if r.Open > 0 {
		m := metrics.AppendEmpty()
		m.SetName(flowattr.MetricConnectionsOpen)
		dp := m.SetEmptyGauge().DataPoints().AppendEmpty()
		dp.SetIntValue(r.Open)
		dp.SetTimestamp(pcommon.NewTimestampFromTime(w.End))
		identify(f, dp.Attributes(), []string{flowattr.Phase, flowattr.PhaseEstablished})
	}
	if len(r.RTT) > 0 {
		w.histogram(metrics, f, r.RTT)
	}
}

func (w *Writer) histogram(metrics pmetric.MetricSlice, f Flow, samples []float64) {
	m := metrics.AppendEmpty()
	m.SetName(flowattr.MetricRTT)
	m.SetUnit("s")
	m.SetEmptyExponentialHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	dp := m.ExponentialHistogram().DataPoints().AppendEmpty()
	dp.SetScale(exphist.Scale)
	counts := make([]uint64, exphist.NBuckets)
	sum, least, most := 0.0, math.Inf(1), math.Inf(-1)
	for _, v := range samples {
		// The data model: bucket i holds (base^i, base^(i+1)].
		index := int(math.Ceil(math.Log2(v)*math.Exp2(exphist.Scale))) - 1
		counts[min(max(index-exphist.Offset, 0), exphist.NBuckets-1)]++
		sum, least, most = sum+v, min(least, v), max(most, v)
	}
	dp.Positive().SetOffset(exphist.Offset)
	dp.Positive().BucketCounts().FromRaw(counts)
	dp.SetCount(uint64(len(samples)))
	dp.SetSum(sum)
	dp.SetMin(least)
	dp.SetMax(most)
	dp.SetStartTimestamp(pcommon.NewTimestampFromTime(w.Start))
	dp.SetTimestamp(pcommon.NewTimestampFromTime(w.End))
	identify(f, dp.Attributes(), nil)
}

func identify(f Flow, attributes pcommon.Map, extra []string) {
	attributes.PutStr("network.transport", "tcp")
	attributes.PutStr("network.type", "ipv4")
	attributes.PutStr("network.local.address", f.Local)
	attributes.PutStr("network.peer.address", f.Peer)
	if f.Client {
		attributes.PutStr("flow.role", "client")
		attributes.PutInt("network.peer.port", f.Port)
	} else {
		attributes.PutStr("flow.role", "server")
		attributes.PutInt("network.local.port", f.Port)
	}
	for i := 0; i < len(extra); i += 2 {
		attributes.PutStr(extra[i], extra[i+1])
	}
}

// Post sends metrics by OTLP over HTTP to a URL, and gives the status and the body of the answer.
func Post(url string, md pmetric.Metrics) (status int, answer string, err error) {
	// The request is on the wire what MetricsData is: resource_metrics is field 1 of both.
	body, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(md)
	if err != nil {
		return 0, "", fmt.Errorf("encode: %w", err)
	}
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Post(url, "application/x-protobuf", bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	return r.StatusCode, string(text), err
}

// Send posts metrics to the OTLP receiver at an address, which has to take them.
func Send(t testing.TB, address string, md pmetric.Metrics) {
	t.Helper()
	status, answer, err := Post("http://"+address+"/v1/metrics", md)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status, "%s", answer)
}
