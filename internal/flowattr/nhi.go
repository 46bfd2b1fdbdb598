// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowattr

// Names of the evidence that led to a suspected component. They are gauges of one
// window, not sums: a component is reported only while it is suspected and shortly
// after, and a sum with such gaps would have no contiguous stream.
const (
	MetricComponentSegments        = "flow.component.segments"
	MetricComponentRetransmissions = "flow.component.retransmissions"
	MetricComponentTimeouts        = "flow.component.timeouts"
	MetricComponentLocalHosts      = "flow.component.local_hosts"
	MetricComponentRemoteHosts     = "flow.component.remote_hosts"
	MetricComponentHostPairs       = "flow.component.host_pairs"
)

// NHIMetrics is the table of the nhi processor's metrics in the order in which they
// are written and documented. The processor's README is generated from it.
var NHIMetrics = []Metric{
	{MetricMonitorDataTransferred, KindSum, "By", "Payload bytes sent and received by the monitor's flows, per observation: a connection observed at both ends counts at both.", []string{MonitorName}},
	{MetricMonitorRetransmissions, KindSum, "{segment}", "Segments that the monitor's flows retransmitted, in every phase.", []string{MonitorName}},
	{MetricMonitorTimeouts, KindSum, "{timeout}", "Retransmission timeouts of the monitor's flows, in every phase.", []string{MonitorName}},
	{MetricMonitorRoundTripTime, KindExponentialHistogram, "s", "Round-trip times of the monitor's flows. Absent in a window without a sample.", []string{MonitorName}},
	{MetricMonitorHealthIndicator, KindGauge, "{indicator}", "1 degraded, 0 healthy. No value while the evidence is insufficient; the first such window carries one no-recorded-value point.", []string{MonitorName}},
	{MetricMonitorHealthState, KindGauge, "{indicator}", "One point per state (`healthy`, `degraded`, `insufficient_data`): 1 for the present one, else 0. All 0 once: the monitor is forgotten.", []string{MonitorName, HealthState}},
	{MetricMonitorHealthCause, KindGauge, "{indicator}", "One point per cause (`none`, `network`, `local_host`, `remote_host`, `remote_service`, `application`): 1 for the present one, else 0.", []string{MonitorName, HealthCause}},
	{MetricComponentHealthIndicator, KindGauge, "{indicator}", "1 while the component, or the set that cannot be told apart from it, is suspected; 0 for three windows after.", componentAttributes},
	{MetricComponentConfidence, KindGauge, "1", "How much more likely this explanation is than the others that were weighed, 0 to 1.", componentAttributes},
	{MetricComponentSegments, KindGauge, "{segment}", "Evidence of the window: segments sent across the component.", componentAttributes},
	{MetricComponentRetransmissions, KindGauge, "{segment}", "Evidence of the window: retransmissions among them, in phases `established` and `close`.", componentAttributes},
	{MetricComponentTimeouts, KindGauge, "{timeout}", "Evidence of the window: retransmission timeouts of the flows across the component.", componentAttributes},
	{MetricComponentLocalHosts, KindGauge, "{host}", "Evidence of the window: distinct hosts that observed and sent across the component.", componentAttributes},
	{MetricComponentRemoteHosts, KindGauge, "{host}", "Evidence of the window: distinct hosts that they sent to.", componentAttributes},
	{MetricComponentHostPairs, KindGauge, "{pair}", "Evidence of the window: distinct (sending, receiving) pairs of hosts.", componentAttributes},
}

// A component of its own carries type and id; components that were crossed by exactly
// the same flows carry the set instead.
var componentAttributes = []string{ComponentType, ComponentID, ComponentSet}
