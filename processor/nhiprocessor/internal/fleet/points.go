// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/exphist"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// segmentBytes is the payload of a segment on Ethernet, with time stamps.
const segmentBytes = 1448

// Points writes a window as the receiver and the flowmonitor processor do: delta points on
// one resource for each host, enriched.
func Points(window []Observed, start, end time.Time) pmetric.Metrics {
	md := pmetric.NewMetrics()
	type host struct {
		rm      pmetric.ResourceMetrics
		metrics map[string]pmetric.Metric
	}
	hosts := map[*Host]*host{}
	for i := range window {
		o := &window[i]
		h := hosts[o.Local()]
		if h == nil {
			h = &host{rm: md.ResourceMetrics().AppendEmpty(), metrics: map[string]pmetric.Metric{}}
			hosts[o.Local()] = h
			h.rm.Resource().Attributes().PutStr(flowattr.HostID, o.Local().ID)
			ms := h.rm.ScopeMetrics().AppendEmpty().Metrics()
			ms.EnsureCapacity(len(flowattr.FlowMetrics))
			for _, m := range flowattr.FlowMetrics {
				out := ms.AppendEmpty()
				out.SetName(m.Name)
				out.SetUnit(m.Unit)
				switch m.Kind {
				case flowattr.KindSum:
					out.SetEmptySum().SetIsMonotonic(true)
					out.Sum().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
				case flowattr.KindGauge:
					out.SetEmptyGauge()
				case flowattr.KindExponentialHistogram:
					out.SetEmptyExponentialHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
				}
				h.metrics[m.Name] = out
			}
		}
		sum := func(metric string, value int, extra ...string) {
			if value == 0 {
				return
			}
			p := h.metrics[metric].Sum().DataPoints().AppendEmpty()
			o.put(p.Attributes())
			for i := 0; i < len(extra); i += 2 {
				p.Attributes().PutStr(extra[i], extra[i+1])
			}
			p.SetStartTimestamp(pcommon.NewTimestampFromTime(start))
			p.SetTimestamp(pcommon.NewTimestampFromTime(end))
			p.SetIntValue(int64(value))
		}
		sum(flowattr.MetricSent, (o.Segments-o.Lost)*segmentBytes)
		sum(flowattr.MetricReceived, o.Connections*segmentBytes)
		sum(flowattr.MetricSegmentsSent, o.Segments)
		sum(flowattr.MetricSegmentsReceived, o.Connections)
		closing := o.Lost / 4
		sum(flowattr.MetricRetransmissions, o.Lost-closing, flowattr.Phase, flowattr.PhaseEstablished)
		sum(flowattr.MetricRetransmissions, closing, flowattr.Phase, flowattr.PhaseClose)
		sum(flowattr.MetricTimeouts, o.Lost/8, flowattr.Phase, flowattr.PhaseEstablished)
		if o.Up {
			sum(flowattr.MetricConnectionsAttempted, o.Connections)
			sum(flowattr.MetricConnectionsFailed, o.Refused, flowattr.ErrorType, flowattr.ErrorRefused)
		}
		sum(flowattr.MetricConnectionsOpened, o.Connections-o.Refused)
		sum(flowattr.MetricConnectionsClosed, o.Connections-o.Refused-o.Reset)
		sum(flowattr.MetricConnectionsClosed, o.Reset, flowattr.ErrorType, flowattr.ErrorReset)
		if o.Segments > 0 {
			p := h.metrics[flowattr.MetricRTT].ExponentialHistogram().DataPoints().AppendEmpty()
			o.put(p.Attributes())
			p.SetStartTimestamp(pcommon.NewTimestampFromTime(start))
			p.SetTimestamp(pcommon.NewTimestampFromTime(end))
			p.SetScale(exphist.Scale)
			p.SetCount(uint64(o.Segments))
			p.SetSum(float64(o.Segments) / 1024) // exact in binary: sums do not depend on their order
			p.SetMin(1.0 / 1024)
			p.SetMax(1.0 / 1024)
			p.Positive().SetOffset(-10*4 - 1) // the bucket that ends at 2⁻¹⁰ s
			p.Positive().BucketCounts().FromRaw([]uint64{uint64(o.Segments)})
		}
	}
	return md
}

// name is the host's id as the topology knows it.
func (h *Host) name() string {
	if h.Nameless {
		return ""
	}
	return h.ID
}

func (o *Observed) put(m pcommon.Map) {
	local, remote := o.Local(), o.Remote()
	m.EnsureCapacity(20)
	m.PutStr(flowattr.NetworkTransport, flowattr.TransportTCP)
	m.PutStr(flowattr.NetworkType, flowattr.TypeIPv4)
	m.PutStr(flowattr.NetworkLocalAddress, local.Address)
	m.PutStr(flowattr.NetworkPeerAddress, remote.Address)
	if o.Up {
		m.PutStr(flowattr.Role, flowattr.RoleClient.String())
		m.PutInt(flowattr.NetworkPeerPort, 443)
	} else {
		m.PutStr(flowattr.Role, flowattr.RoleServer.String())
		m.PutInt(flowattr.NetworkLocalPort, 443)
	}
	for _, end := range []struct {
		prefix string
		host   *Host
	}{{flowattr.LocalPrefix, local}, {flowattr.RemotePrefix, remote}} {
		for _, a := range [][2]string{
			{flowattr.HostID, end.host.name()}, {flowattr.AWSVPCID, end.host.VPC},
			{flowattr.AWSSubnetID, end.host.Subnet}, {flowattr.AWSAZID, end.host.AZ},
		} {
			if a[1] != "" {
				m.PutStr(end.prefix+a[0], a[1])
			}
		}
	}
	if o.Flow.Service != "" && o.Up {
		m.PutStr(flowattr.RemoteAWSService, o.Flow.Service)
	}
	m.PutStr(flowattr.Category, o.Flow.Category)
	path := m.PutEmptySlice(flowattr.Path)
	path.AppendEmpty().SetStr(flowattr.ComponentENI + "/eni-" + local.Address)
	for _, c := range o.Path() {
		path.AppendEmpty().SetStr(c)
	}
	path.AppendEmpty().SetStr(flowattr.ComponentENI + "/eni-" + remote.Address)
	monitors := o.Flow.Monitors
	if !o.Up {
		monitors = o.Flow.ServerMonitors
	}
	if len(monitors) > 0 {
		s := m.PutEmptySlice(flowattr.Monitors)
		for _, name := range monitors {
			s.AppendEmpty().SetStr(name)
		}
	}
}
