// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package accuracy

import (
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/exphist"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// points writes a window as the receiver and the flowmonitor processor do: delta points on
// one resource for each host, enriched.
func points(window []Observed, start, end time.Time) pmetric.Metrics {
	md := pmetric.NewMetrics()
	hosts := map[*Host]map[string]pmetric.Metric{}
	from, to := pcommon.NewTimestampFromTime(start), pcommon.NewTimestampFromTime(end)
	for i := range window {
		o := &window[i]
		metrics := hosts[o.Local()]
		if metrics == nil {
			metrics = resource(md, o.Local())
			hosts[o.Local()] = metrics
		}
		sum := func(metric string, value int, extra ...string) {
			if value == 0 {
				return
			}
			p := metrics[metric].Sum().DataPoints().AppendEmpty()
			o.put(p.Attributes())
			for i := 0; i < len(extra); i += 2 {
				p.Attributes().PutStr(extra[i], extra[i+1])
			}
			p.SetStartTimestamp(from)
			p.SetTimestamp(to)
			p.SetIntValue(int64(value))
		}
		sum(flowattr.MetricSent, (o.Segments-o.Lost)*segmentBytes)
		sum(flowattr.MetricSegmentsSent, o.Segments)
		closing := o.Lost / 4
		sum(flowattr.MetricRetransmissions, o.Lost-closing, flowattr.Phase, flowattr.PhaseEstablished)
		sum(flowattr.MetricRetransmissions, closing, flowattr.Phase, flowattr.PhaseClose)
		sum(flowattr.MetricTimeouts, o.Timeouts, flowattr.Phase, flowattr.PhaseEstablished)
		sum(flowattr.MetricConnectionsAttempted, o.Attempted)
		sum(flowattr.MetricConnectionsOpened, o.Opened)
		sum(flowattr.MetricConnectionsClosed, o.Orderly)
		sum(flowattr.MetricConnectionsClosed, o.Resets, flowattr.ErrorType, flowattr.ErrorReset)
		sum(flowattr.MetricConnectionsActive, o.Active)
		sum(flowattr.MetricConnectionsRetransmitting, o.Retransmitting)
		if o.RTTCount > 0 {
			p := metrics[flowattr.MetricRTT].ExponentialHistogram().DataPoints().AppendEmpty()
			o.put(p.Attributes())
			p.SetStartTimestamp(from)
			p.SetTimestamp(to)
			o.histogram(p)
		}
	}
	return md
}

func resource(md pmetric.Metrics, h *Host) map[string]pmetric.Metric {
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "flowmonitor-agent")
	rm.Resource().Attributes().PutStr("service.instance.id", h.ID)
	rm.Resource().Attributes().PutStr(flowattr.HostID, h.ID)
	ms := rm.ScopeMetrics().AppendEmpty().Metrics()
	ms.EnsureCapacity(len(flowattr.FlowMetrics))
	metrics := map[string]pmetric.Metric{}
	for _, m := range flowattr.FlowMetrics {
		if m.Kind == flowattr.KindGauge {
			continue
		}
		out := ms.AppendEmpty()
		out.SetName(m.Name)
		out.SetUnit(m.Unit)
		if m.Kind == flowattr.KindSum {
			out.SetEmptySum().SetIsMonotonic(true)
			out.Sum().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		} else {
			out.SetEmptyExponentialHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		}
		metrics[m.Name] = out
	}
	return metrics
}

func (o *Observed) histogram(p pmetric.ExponentialHistogramDataPoint) {
	first, last := 0, bucketCount-1
	for first < last && o.RTT[first] == 0 {
		first++
	}
	for last > first && o.RTT[last] == 0 {
		last--
	}
	p.SetScale(exphist.Scale)
	p.SetCount(o.RTTCount)
	p.SetSum(o.RTTSum)
	p.SetMin(o.RTTMin)
	p.SetMax(o.RTTMax)
	p.Positive().SetOffset(int32(bucketOffset + first))
	for _, n := range o.RTT[first : last+1] {
		p.Positive().BucketCounts().Append(uint64(n))
	}
}

func (o *Observed) put(m pcommon.Map) {
	local, remote := o.Local(), o.Remote()
	m.EnsureCapacity(20)
	m.PutStr(flowattr.NetworkTransport, flowattr.TransportTCP)
	m.PutStr(flowattr.NetworkType, flowattr.TypeIPv4)
	m.PutStr(flowattr.NetworkLocalAddress, local.Address)
	m.PutStr(flowattr.NetworkPeerAddress, remote.Address)
	side := 0
	if o.AtClient {
		m.PutStr(flowattr.Role, flowattr.RoleClient.String())
		m.PutInt(flowattr.NetworkPeerPort, 443)
	} else {
		side = 1
		m.PutStr(flowattr.Role, flowattr.RoleServer.String())
		m.PutInt(flowattr.NetworkLocalPort, 443)
	}
	for _, end := range []struct {
		prefix string
		host   *Host
	}{{flowattr.LocalPrefix, local}, {flowattr.RemotePrefix, remote}} {
		for _, a := range [][2]string{
			{flowattr.HostID, end.host.ID}, {flowattr.AWSVPCID, end.host.VPC},
			{flowattr.AWSSubnetID, end.host.Subnet}, {flowattr.AWSAZID, end.host.AZ},
		} {
			if a[1] != "" {
				m.PutStr(end.prefix+a[0], a[1])
			}
		}
	}
	if remote.Service != "" {
		m.PutStr(flowattr.RemoteAWSService, remote.Service)
	}
	m.PutStr(flowattr.Category, o.Flow.Category)
	path := m.PutEmptySlice(flowattr.Path)
	for _, c := range o.path(nil) {
		path.AppendEmpty().SetStr(c)
	}
	if names := o.Flow.Monitors[side]; len(names) > 0 {
		s := m.PutEmptySlice(flowattr.Monitors)
		for _, name := range names {
			s.AppendEmpty().SetStr(name)
		}
	}
}
