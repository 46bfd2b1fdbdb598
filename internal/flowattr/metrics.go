// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowattr

// Kind is the type of a metric.
type Kind int

// The kinds of metrics. Sums are monotonic and delta by default; levels are
// gauges, because the CloudWatch EMF exporter turns UpDownCounters into differences.
const (
	KindSum Kind = iota
	KindGauge
	KindExponentialHistogram
)

func (k Kind) String() string {
	switch k {
	case KindSum:
		return "sum"
	case KindGauge:
		return "gauge"
	case KindExponentialHistogram:
		return "exponential histogram"
	}
	return "unknown"
}

// Metric names and documents one metric. Attributes lists what it carries beyond
// the flow's identity.
type Metric struct {
	Name        string
	Kind        Kind
	Unit        string // UCUM
	Description string
	Attributes  []string
}

// Names of the flow metrics.
const (
	MetricSent                      = "flow.tcp.sent"
	MetricReceived                  = "flow.tcp.received"
	MetricSegmentsSent              = "flow.tcp.segments.sent"
	MetricSegmentsReceived          = "flow.tcp.segments.received"
	MetricRetransmissions           = "flow.tcp.retransmissions"
	MetricTimeouts                  = "flow.tcp.timeouts"
	MetricConnectionsAttempted      = "flow.tcp.connections.attempted"
	MetricConnectionsOpened         = "flow.tcp.connections.opened"
	MetricConnectionsFailed         = "flow.tcp.connections.failed"
	MetricConnectionsClosed         = "flow.tcp.connections.closed"
	MetricConnectionsOpen           = "flow.tcp.connections.open"
	MetricConnectionsActive         = "flow.tcp.connections.active"
	MetricConnectionsRetransmitting = "flow.tcp.connections.retransmitting"
	MetricListenDrops               = "flow.tcp.listen.drops"
	MetricRTT                       = "flow.tcp.rtt"
	MetricConnectDuration           = "flow.tcp.connect.duration"
	MetricTime                      = "flow.tcp.time"
	MetricZeroWindows               = "flow.tcp.zero_windows"
	MetricECNMarks                  = "flow.tcp.ecn.marks"
	MetricSynAckRetransmissions     = "flow.tcp.syn_ack.retransmissions"
)

// FlowMetrics is the table of the flow metrics in the order in which they are
// written and documented. The receiver's README is generated from it.
var FlowMetrics = []Metric{
	{MetricSent, KindSum, "By", "Payload bytes acknowledged by the peer: the kernel's `bytes_acked` without the sequence numbers of SYN and FIN.", nil},
	{MetricReceived, KindSum, "By", "Payload bytes received in order: the kernel's `bytes_received` without the peer's FIN.", nil},
	{MetricSegmentsSent, KindSum, "{segment}", "Data segments sent, retransmissions of data included (`data_segs_out`).", nil},
	{MetricSegmentsReceived, KindSum, "{segment}", "Data segments received (`data_segs_in`).", nil},
	{MetricRetransmissions, KindSum, "{segment}", "Segments retransmitted (growth of `total_retrans`). With `detail: [retransmit_type]` by what made the kernel do so: `fast`, `tail_loss_probe`, `timeout`, or `spurious` if the peer had it already (DSACK); without type if that is not known.", []string{Phase, RetransmitType}},
	{MetricTimeouts, KindSum, "{timeout}", "Timer expirations that led to a retransmission (`total_rto`).", []string{Phase}},
	{MetricConnectionsAttempted, KindSum, "{connection}", "Handshakes started (first SYN) by clients.", nil},
	{MetricConnectionsOpened, KindSum, "{connection}", "Connections that reached ESTABLISHED.", nil},
	{MetricConnectionsFailed, KindSum, "{connection}", "Connections that ended before ESTABLISHED, by cause: `refused` (RST), `timed_out` (the kernel gave up), `unreachable` (ICMP), `aborted` (the application closed first), `_OTHER`.", []string{ErrorType}},
	{MetricConnectionsClosed, KindSum, "{connection}", "Connections that ended after ESTABLISHED. `error.type` is absent for an orderly end; else `reset` (RST received), `aborted` (RST sent by this end), `timed_out`, `_OTHER`.", []string{ErrorType}},
	{MetricConnectionsOpen, KindGauge, "{connection}", "Connections open now.", []string{Phase}},
	{MetricConnectionsActive, KindSum, "{connection}", "Connections that sent at least one data segment in the round.", nil},
	{MetricConnectionsRetransmitting, KindSum, "{connection}", "Of the active ones, those that retransmitted in phase `established` or `close`.", nil},
	{MetricListenDrops, KindSum, "{connection}", "SYNs and finished handshakes that a listener dropped (`sk_drops`). Carries the listener's address and port only.", nil},
	{MetricRTT, KindExponentialHistogram, "s", "Round-trip time: every sample that the kernel hands to the RTT callback.", nil},
	{MetricConnectDuration, KindExponentialHistogram, "s", "Time from SYN to ESTABLISHED, clients.", nil},
	{MetricTime, KindSum, "s", "`detail: [limits]`. What the sender waited for (the kernel's `chrono`): `receiver_window`, `send_buffer`, or `busy`: acknowledgements, and neither of the others. Together `tcpi_busy_time`.", []string{Limit}},
	{MetricZeroWindows, KindSum, "{segment}", "`detail: [zero_windows]`. Segments by which the peer closed its receive window.", nil},
	{MetricECNMarks, KindSum, "{segment}", "`detail: [ecn]`. Segments sent that the network marked and the peer acknowledged as such (`delivered_ce`).", nil},
	{MetricSynAckRetransmissions, KindSum, "{segment}", "SYN-ACKs sent again for handshakes that were not completed. Of the host, or with `detail: [netns]` of a network namespace: it carries `flow.netns` only.", nil},
}

// Names of the nhi processor's metrics.
const (
	MetricMonitorDataTransferred   = "flow.monitor.data_transferred"
	MetricMonitorRetransmissions   = "flow.monitor.retransmissions"
	MetricMonitorTimeouts          = "flow.monitor.timeouts"
	MetricMonitorRoundTripTime     = "flow.monitor.round_trip_time"
	MetricMonitorHealthIndicator   = "flow.monitor.health_indicator"
	MetricMonitorHealthState       = "flow.monitor.health.state"
	MetricMonitorHealthCause       = "flow.monitor.health.cause"
	MetricComponentHealthIndicator = "flow.component.health_indicator"
	MetricComponentConfidence      = "flow.component.confidence"
)
