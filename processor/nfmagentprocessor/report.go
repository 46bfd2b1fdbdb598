// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nfmagentprocessor

import (
	"math"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// scopeName is that of the scopes that are flows. The agent's others (host_stats, process_stats, counters) are about the host
// and the agent itself.
const scopeName = "network_stats"

// kind is what becomes of a metric of a report.
type kind uint8

const (
	unknown  kind = iota
	counter       // a sum
	level         // a gauge
	timing        // an exponential histogram
	attempts      // a sum, less the SYNs that were sent again
	dropped       // nothing: see the README
)

// field is a metric of a report.
type field struct {
	kind   kind
	metric string
	key    string // extra attribute
	value  string
}

// fields are the metrics of report version 1.1 (NetworkStats of the agent).
var fields = map[string]field{
	"bytes_delivered":     {counter, flowattr.MetricSent, "", ""},
	"bytes_received":      {counter, flowattr.MetricReceived, "", ""},
	"segments_delivered":  {counter, flowattr.MetricSegmentsSent, "", ""},
	"segments_received":   {counter, flowattr.MetricSegmentsReceived, "", ""},
	retransSYN:            {counter, flowattr.MetricRetransmissions, flowattr.Phase, flowattr.PhaseConnect},
	"retrans_est":         {counter, flowattr.MetricRetransmissions, flowattr.Phase, flowattr.PhaseEstablished},
	"retrans_close":       {counter, flowattr.MetricRetransmissions, flowattr.Phase, flowattr.PhaseClose},
	"rtos_syn":            {counter, flowattr.MetricTimeouts, flowattr.Phase, flowattr.PhaseConnect},
	"rtos_est":            {counter, flowattr.MetricTimeouts, flowattr.Phase, flowattr.PhaseEstablished},
	"rtos_close":          {counter, flowattr.MetricTimeouts, flowattr.Phase, flowattr.PhaseClose},
	"connect_attempts":    {attempts, flowattr.MetricConnectionsAttempted, "", ""},
	"severed_connect":     {counter, flowattr.MetricConnectionsFailed, flowattr.ErrorType, flowattr.ErrorOther},
	"severed_establish":   {counter, flowattr.MetricConnectionsClosed, flowattr.ErrorType, flowattr.ErrorOther},
	"sockets_connecting":  {level, flowattr.MetricConnectionsOpen, flowattr.Phase, flowattr.PhaseConnect},
	"sockets_established": {level, flowattr.MetricConnectionsOpen, flowattr.Phase, flowattr.PhaseEstablished},
	"sockets_closing":     {level, flowattr.MetricConnectionsOpen, flowattr.Phase, flowattr.PhaseClose},
	"rtt_us":              {timing, flowattr.MetricRTT, "", ""},
	connectTime:           {timing, flowattr.MetricConnectDuration, "", ""},
	"rtt_smoothed_us":     {kind: dropped},
	"sockets_completed":   {kind: dropped},
	"sockets_closed":      {kind: dropped},
}

const (
	retransSYN  = "retrans_syn"
	connectTime = "connect_us"
)

// maxCount is the largest count that is believed: 2⁵³, up to which doubles, which the agent writes, are exact.
const maxCount = 1 << 53

// refusal is why a point of a report is in no flow point.
type refusal uint8

const (
	refusedFlow       refusal = iota // the scope names no flow
	refusedUnknown                   // a metric that report version 1.1 does not have
	refusedCumulative                // not delta
	refusedMalformed                 // a value that the metric cannot have
	numRefusals
)

func (r refusal) String() string {
	return [...]string{"flow", "unknown", "cumulative", "malformed"}[r]
}

// count gives the number that a point stands for: a value of an agent is a histogram of one sample.
func count(dp pmetric.HistogramDataPoint) (uint64, bool) {
	v := dp.Sum()
	if !dp.HasSum() || dp.Count() != 1 || !(v >= 0 && v <= maxCount) || v != math.Trunc(v) {
		return 0, false
	}
	return uint64(v), true
}

// times says whether a point can be samples in microseconds.
func times(dp pmetric.HistogramDataPoint) bool {
	n, sum, least, most := float64(dp.Count()), dp.Sum(), dp.Min(), dp.Max()
	if dp.Count() == 0 {
		return true
	}
	const rounding = 1e-9 // of sums above 2⁵³
	return n <= maxCount && dp.HasSum() && dp.HasMin() && dp.HasMax() && dp.BucketCounts().Len() <= 1 &&
		least >= 0 && least*n*(1-rounding) <= sum && sum <= most*n*(1+rounding) && !math.IsInf(sum, 0) && !math.IsInf(most, 0)
}

// points is how many points a metric of any type has.
func points(m pmetric.Metric) int {
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		return m.Gauge().DataPoints().Len()
	case pmetric.MetricTypeSum:
		return m.Sum().DataPoints().Len()
	case pmetric.MetricTypeHistogram:
		return m.Histogram().DataPoints().Len()
	case pmetric.MetricTypeExponentialHistogram:
		return m.ExponentialHistogram().DataPoints().Len()
	case pmetric.MetricTypeSummary:
		return m.Summary().DataPoints().Len()
	}
	return 0
}

// sentAgain gives the SYNs of a scope that were sent again, which the agent counts among the attempts to connect.
func sentAgain(metrics pmetric.MetricSlice) (n uint64) {
	for _, m := range metrics.All() {
		if m.Name() != retransSYN || m.Type() != pmetric.MetricTypeHistogram {
			continue
		}
		for _, dp := range m.Histogram().DataPoints().All() {
			if v, ok := count(dp); ok {
				n += v
			}
		}
	}
	return n
}

// span is the time of a point. A report says when it was made, and not since when it counts: both ends are that.
type span struct{ start, end pcommon.Timestamp }
