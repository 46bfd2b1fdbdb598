// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package streams

import (
	"slices"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// How many values the kernel's enums have (flow.h).
const (
	phases   = 3
	failures = 5
	closures = 5
	limits   = 3
	// Types of retransmissions but for the one that is not told: that has no attribute.
	retransmitTypes = 4
)

// The sums of a flow, one slot per stream, in the order of the kernel's struct flow and
// struct detail.
const (
	sent = iota
	received
	segmentsSent
	segmentsReceived
	retransmissions
	timeouts       = retransmissions + phases
	attempted      = timeouts + phases
	opened         = attempted + 1
	failed         = opened + 1
	closed         = failed + failures
	active         = closed + closures
	retransmitting = active + 1
	listenDrops    = retransmitting + 1
	waited         = listenDrops + 1 // in microseconds
	typed          = waited + limits // retransmissions by phase, and then by type
	zeroWindows    = typed + phases*retransmitTypes
	ecnMarks       = zeroWindows + 1
	synAcks        = ecnMarks + 1
	numSums        = synAcks + 1
)

// The histograms of a flow. Their streams follow those of the sums.
const (
	rtt = iota
	connect
	numHistograms
)

// numStreams is how many streams of points with a start one flow can have. (Gauges
// have no start.)
const numStreams = numSums + numHistograms

// stream says where a slot goes: to a metric, with the attributes that tell the streams
// of this metric apart.
type stream struct {
	metric     int // index in flowattr.FlowMetrics
	attributes []attribute
}

type attribute struct{ key, value string }

var sumStreams = slices.Concat(
	one(flowattr.MetricSent),
	one(flowattr.MetricReceived),
	one(flowattr.MetricSegmentsSent),
	one(flowattr.MetricSegmentsReceived),
	byPhase(flowattr.MetricRetransmissions),
	byPhase(flowattr.MetricTimeouts),
	one(flowattr.MetricConnectionsAttempted),
	one(flowattr.MetricConnectionsOpened),
	split(flowattr.MetricConnectionsFailed, flowattr.ErrorType,
		flowattr.ErrorRefused, flowattr.ErrorTimedOut, flowattr.ErrorUnreachable, flowattr.ErrorAborted, flowattr.ErrorOther),
	one(flowattr.MetricConnectionsClosed), // orderly
	split(flowattr.MetricConnectionsClosed, flowattr.ErrorType,
		flowattr.ErrorReset, flowattr.ErrorAborted, flowattr.ErrorTimedOut, flowattr.ErrorOther),
	one(flowattr.MetricConnectionsActive),
	one(flowattr.MetricConnectionsRetransmitting),
	one(flowattr.MetricListenDrops),
	split(flowattr.MetricTime, flowattr.Limit, flowattr.LimitBusy, flowattr.LimitReceiverWindow, flowattr.LimitSendBuffer),
	byPhaseAndType(flowattr.MetricRetransmissions),
	one(flowattr.MetricZeroWindows),
	one(flowattr.MetricECNMarks),
	one(flowattr.MetricSynAckRetransmissions),
)

var histogramStreams = slices.Concat(
	one(flowattr.MetricRTT),
	one(flowattr.MetricConnectDuration),
)

var openStreams = byPhase(flowattr.MetricConnectionsOpen)

func one(metric string) []stream {
	return []stream{{metric: indexOf(metric)}}
}

func byPhaseAndType(metric string) (all []stream) {
	for _, phase := range byPhase(metric) {
		for _, t := range []string{flowattr.RetransmitFast, flowattr.RetransmitTailLossProbe, flowattr.RetransmitTimeout, flowattr.RetransmitSpurious} {
			all = append(all, stream{phase.metric, append(slices.Clone(phase.attributes), attribute{flowattr.RetransmitType, t})})
		}
	}
	return all
}

func byPhase(metric string) []stream {
	return split(metric, flowattr.Phase, flowattr.PhaseConnect, flowattr.PhaseEstablished, flowattr.PhaseClose)
}

func split(metric, key string, values ...string) []stream {
	all := make([]stream, len(values))
	for i, v := range values {
		all[i] = stream{indexOf(metric), []attribute{{key, v}}}
	}
	return all
}

func indexOf(metric string) int {
	return slices.IndexFunc(flowattr.FlowMetrics, func(m flowattr.Metric) bool { return m.Name == metric })
}
