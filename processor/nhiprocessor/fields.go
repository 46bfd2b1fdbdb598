// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nhiprocessor

import (
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"
)

// readers are the metrics that are evidence or belong to a monitor's sums.
var readers = map[string]func(*observation) evidence.Field{
	flowattr.MetricSent:                      always(evidence.Sent),
	flowattr.MetricReceived:                  always(evidence.Received),
	flowattr.MetricSegmentsSent:              always(evidence.Segments),
	flowattr.MetricRetransmissions:           (*observation).retransmission,
	flowattr.MetricTimeouts:                  (*observation).timeout,
	flowattr.MetricConnectionsAttempted:      always(evidence.Attempted),
	flowattr.MetricConnectionsOpened:         always(evidence.Opened),
	flowattr.MetricConnectionsFailed:         (*observation).failure,
	flowattr.MetricConnectionsClosed:         (*observation).closing,
	flowattr.MetricConnectionsActive:         always(evidence.Active),
	flowattr.MetricConnectionsRetransmitting: always(evidence.Retransmitting),
	flowattr.MetricTime:                      (*observation).waiting,
}

// evidenceReaders are the same of what another stage of role evidence has summed up.
var evidenceReaders = map[string]func(*observation) evidence.Field{
	flowattr.MetricEvidenceSegments:        always(evidence.Segments),
	flowattr.MetricEvidenceRetransmissions: (*observation).retransmission,
	flowattr.MetricEvidenceTimeouts:        (*observation).timeout,
	flowattr.MetricEvidenceConnections:     (*observation).connection,
	flowattr.MetricEvidenceRetransmitting:  always(evidence.Retransmitting),
	flowattr.MetricEvidenceTransferred:     (*observation).transferred,
	flowattr.MetricEvidenceTime:            (*observation).waiting,
}

func (o *observation) connection() evidence.Field {
	switch o.event {
	case flowattr.EventAttempted:
		return evidence.Attempted
	case flowattr.EventOpened:
		return evidence.Opened
	case flowattr.EventActive:
		return evidence.Active
	case flowattr.EventFailed:
		return o.failure()
	}
	return o.closing()
}

func (o *observation) transferred() evidence.Field {
	if o.direction == flowattr.DirectionReceive {
		return evidence.Received
	}
	return evidence.Sent
}

func (o *observation) waiting() evidence.Field {
	switch o.limit {
	case flowattr.LimitReceiverWindow:
		return evidence.ReceiverWindow
	case flowattr.LimitSendBuffer:
		return evidence.SendBuffer
	}
	return evidence.Busy
}

func always(f evidence.Field) func(*observation) evidence.Field {
	return func(*observation) evidence.Field { return f }
}

// spurious is the value of network.tcp.retransmit.type for a segment that the peer had.
const spurious = "spurious"

func (o *observation) retransmission() evidence.Field {
	switch {
	case o.phase == flowattr.PhaseConnect:
		return evidence.RetransmittedConnect
	case o.retransmitType == spurious:
		return evidence.RetransmittedSpurious
	}
	return evidence.Retransmitted
}

func (o *observation) timeout() evidence.Field {
	if o.phase == flowattr.PhaseConnect {
		return evidence.TimeoutsConnect
	}
	return evidence.Timeouts
}

func (o *observation) failure() evidence.Field {
	switch o.errorType {
	case flowattr.ErrorRefused:
		return evidence.FailedRefused
	case flowattr.ErrorTimedOut:
		return evidence.FailedTimedOut
	}
	return evidence.FailedOther
}

func (o *observation) closing() evidence.Field {
	switch o.errorType {
	case "":
		return evidence.ClosedOrderly
	case flowattr.ErrorReset:
		return evidence.ClosedReset
	}
	return evidence.ClosedOther
}
