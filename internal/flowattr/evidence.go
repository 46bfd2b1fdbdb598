// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowattr

// Names of the evidence that one nhi stage sends to another: what the flows of one pair of
// hosts along one path did in a window, summed up.
const (
	MetricEvidenceSegments        = "flow.evidence.segments"
	MetricEvidenceRetransmissions = "flow.evidence.retransmissions"
	MetricEvidenceTimeouts        = "flow.evidence.timeouts"
	MetricEvidenceConnections     = "flow.evidence.connections"
	MetricEvidenceRetransmitting  = "flow.evidence.connections.retransmitting"
	MetricEvidenceTransferred     = "flow.evidence.data_transferred"
	MetricEvidenceTime            = "flow.evidence.time"
	MetricEvidenceRTT             = "flow.evidence.rtt"
)

// Attributes of evidence beside those of a flow. [ComponentSet] is the flow's path without
// its ends, in the order crossed.
const (
	ConnectionEvent = "flow.connection.event" // attempted, opened, active, failed, closed
	IODirection     = "network.io.direction"  // transmit, receive
	LocalAddresses  = "flow.local.addresses"  // of a host that has several
)

// Values of [ConnectionEvent] and [IODirection].
const (
	EventAttempted    = "attempted"
	EventOpened       = "opened"
	EventActive       = "active"
	EventFailed       = "failed"
	EventClosed       = "closed"
	DirectionTransmit = "transmit"
	DirectionReceive  = "receive"
)

var evidenceAttributes = []string{
	ComponentSet, LocalPrefix + HostID, RemotePrefix + HostID, NetworkLocalAddress, LocalAddresses, NetworkPeerAddress,
	LocalPrefix + AWSVPCID, RemotePrefix + AWSVPCID, LocalPrefix + AWSAZID, RemotePrefix + AWSAZID, RemoteAWSService, Role, MonitorName, Monitors, Aggregated,
}

func evidence(extra ...string) []string {
	return append(append([]string{}, evidenceAttributes...), extra...)
}

// EvidenceMetrics is the table of the evidence in the order in which it is written and
// documented.
var EvidenceMetrics = []Metric{
	{MetricEvidenceSegments, KindSum, "{segment}", "Data segments sent, retransmissions included.", evidence()},
	{MetricEvidenceRetransmissions, KindSum, "{segment}", "Segments retransmitted; `established` includes `close`.", evidence(Phase, RetransmitType)},
	{MetricEvidenceTimeouts, KindSum, "{timeout}", "Retransmission timeouts; `established` includes `close`.", evidence(Phase)},
	{MetricEvidenceConnections, KindSum, "{connection}", "Connections by what became of them.", evidence(ConnectionEvent, ErrorType)},
	{MetricEvidenceRetransmitting, KindSum, "{connection}", "Of the active connections, those that retransmitted.", evidence()},
	{MetricEvidenceTransferred, KindSum, "By", "Payload bytes.", evidence(IODirection)},
	{MetricEvidenceTime, KindSum, "s", "What senders waited for, by `flow.limit`.", evidence(Limit)},
	{MetricEvidenceRTT, KindExponentialHistogram, "s", "Round-trip times. With `flow.aggregated`: of all flows of a monitor.", evidence()},
}
