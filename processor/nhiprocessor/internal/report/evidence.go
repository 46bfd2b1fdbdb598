// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/exphist"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"
)

// written is how a count looks on the wire.
type written struct {
	metric string
	extra  []string // attributes and their values
}

var wire = [evidence.NumFields]written{
	evidence.Sent:                  {flowattr.MetricEvidenceTransferred, []string{flowattr.IODirection, flowattr.DirectionTransmit}},
	evidence.Received:              {flowattr.MetricEvidenceTransferred, []string{flowattr.IODirection, flowattr.DirectionReceive}},
	evidence.Segments:              {flowattr.MetricEvidenceSegments, nil},
	evidence.Retransmitted:         {flowattr.MetricEvidenceRetransmissions, []string{flowattr.Phase, flowattr.PhaseEstablished}},
	evidence.RetransmittedConnect:  {flowattr.MetricEvidenceRetransmissions, []string{flowattr.Phase, flowattr.PhaseConnect}},
	evidence.RetransmittedSpurious: {flowattr.MetricEvidenceRetransmissions, []string{flowattr.Phase, flowattr.PhaseEstablished, flowattr.RetransmitType, "spurious"}},
	evidence.Timeouts:              {flowattr.MetricEvidenceTimeouts, []string{flowattr.Phase, flowattr.PhaseEstablished}},
	evidence.TimeoutsConnect:       {flowattr.MetricEvidenceTimeouts, []string{flowattr.Phase, flowattr.PhaseConnect}},
	evidence.Attempted:             {flowattr.MetricEvidenceConnections, []string{flowattr.ConnectionEvent, flowattr.EventAttempted}},
	evidence.Opened:                {flowattr.MetricEvidenceConnections, []string{flowattr.ConnectionEvent, flowattr.EventOpened}},
	evidence.FailedRefused:         {flowattr.MetricEvidenceConnections, []string{flowattr.ConnectionEvent, flowattr.EventFailed, flowattr.ErrorType, flowattr.ErrorRefused}},
	evidence.FailedTimedOut:        {flowattr.MetricEvidenceConnections, []string{flowattr.ConnectionEvent, flowattr.EventFailed, flowattr.ErrorType, flowattr.ErrorTimedOut}},
	evidence.FailedOther:           {flowattr.MetricEvidenceConnections, []string{flowattr.ConnectionEvent, flowattr.EventFailed, flowattr.ErrorType, flowattr.ErrorOther}},
	evidence.ClosedOrderly:         {flowattr.MetricEvidenceConnections, []string{flowattr.ConnectionEvent, flowattr.EventClosed}},
	evidence.ClosedReset:           {flowattr.MetricEvidenceConnections, []string{flowattr.ConnectionEvent, flowattr.EventClosed, flowattr.ErrorType, flowattr.ErrorReset}},
	evidence.ClosedOther:           {flowattr.MetricEvidenceConnections, []string{flowattr.ConnectionEvent, flowattr.EventClosed, flowattr.ErrorType, flowattr.ErrorOther}},
	evidence.Active:                {flowattr.MetricEvidenceConnections, []string{flowattr.ConnectionEvent, flowattr.EventActive}},
	evidence.Retransmitting:        {flowattr.MetricEvidenceRetransmitting, nil},
	evidence.Busy:                  {flowattr.MetricEvidenceTime, []string{flowattr.Limit, flowattr.LimitBusy}},
	evidence.ReceiverWindow:        {flowattr.MetricEvidenceTime, []string{flowattr.Limit, flowattr.LimitReceiverWindow}},
	evidence.SendBuffer:            {flowattr.MetricEvidenceTime, []string{flowattr.Limit, flowattr.LimitSendBuffer}},
}

// Evidence writes all that a window holds, so that a stage of role verdict has the same window
// as one that had seen the flows. It is empty when the window is.
func (w *Writer) Evidence(e *evidence.Window, start, end time.Time) pmetric.Metrics {
	md := pmetric.NewMetrics()
	b := newBatch(md, pcommon.NewTimestampFromTime(end), flowattr.EvidenceMetrics)
	from := pcommon.NewTimestampFromTime(start)
	row := func(c *evidence.Counts, describe func(pcommon.Map)) {
		for f, n := range c.N {
			if n == 0 {
				continue
			}
			p := b.metrics[wire[f].metric].Sum().DataPoints().AppendEmpty()
			p.SetStartTimestamp(from)
			p.SetTimestamp(b.at)
			if wire[f].metric == flowattr.MetricEvidenceTime {
				p.SetDoubleValue(float64(min(n, maxWritten)) / evidence.TimeUnits)
			} else {
				p.SetIntValue(int64(min(n, maxWritten)))
			}
			describe(p.Attributes())
			for i := 0; i < len(wire[f].extra); i += 2 {
				p.Attributes().PutStr(wire[f].extra[i], wire[f].extra[i+1])
			}
		}
	}
	histogram := func() pmetric.ExponentialHistogramDataPoint {
		p := b.metrics[flowattr.MetricEvidenceRTT].ExponentialHistogram().DataPoints().AppendEmpty()
		return p
	}
	for _, r := range e.Rows {
		k, c := r.Key, r.Counts
		row(c, func(m pcommon.Map) { describe(k, m) })
		if c.Times != nil {
			p := histogram()
			times(c.Times, p)
			p.SetStartTimestamp(from)
			p.SetTimestamp(b.at)
			describe(k, p.Attributes())
		}
	}
	ofMonitor := func(name string) func(pcommon.Map) {
		return func(m pcommon.Map) {
			m.PutStr(flowattr.MonitorName, name)
			m.PutBool(flowattr.Aggregated, true)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Extra)) {
		row(e.Extra[name], ofMonitor(name))
	}
	for _, name := range slices.Sorted(maps.Keys(e.RTT)) {
		p := histogram()
		e.RTT[name].CopyTo(p)
		p.Attributes().Clear()
		p.SetStartTimestamp(from)
		p.SetTimestamp(b.at)
		ofMonitor(name)(p.Attributes())
	}
	b.finish(w, flowattr.EvidenceMetrics)
	return md
}

// maxWritten is the largest count that a reader believes.
const maxWritten = 1 << 53

// describe writes what a key is known by.
func describe(k *evidence.Key, m pcommon.Map) {
	if len(k.Monitors.Names) == 1 {
		m.PutStr(flowattr.MonitorName, k.Monitors.Names[0])
	} else if len(k.Monitors.Names) > 1 {
		put(m, flowattr.MonitorName, k.Monitors.Names) // as on other points of monitors, here of several
	}
	if !k.Attributable {
		return
	}
	put(m, flowattr.ComponentSet, k.Path.Components)
	text := func(key, value string) {
		if value != "" {
			m.PutStr(key, value)
		}
	}
	at := &k.Path.Places
	id, vpc, address := k.Local.Describe()
	text(flowattr.LocalPrefix+flowattr.HostID, id)
	text(flowattr.LocalPrefix+flowattr.AWSVPCID, cmp.Or(vpc, at.LocalVPC))
	text(flowattr.NetworkLocalAddress, address)
	if addresses := k.Addresses(); len(addresses) > 0 {
		put(m, flowattr.LocalAddresses, addresses)
	}
	id, vpc, address = k.Remote.Describe()
	text(flowattr.RemotePrefix+flowattr.HostID, id)
	text(flowattr.RemotePrefix+flowattr.AWSVPCID, cmp.Or(vpc, at.RemoteVPC))
	text(flowattr.NetworkPeerAddress, address)
	text(flowattr.LocalPrefix+flowattr.AWSAZID, at.LocalZone)
	text(flowattr.RemotePrefix+flowattr.AWSAZID, at.RemoteZone)
	text(flowattr.RemoteAWSService, k.Service)
	switch k.Role {
	case evidence.RoleClient:
		m.PutStr(flowattr.Role, "client")
	case evidence.RoleServer:
		m.PutStr(flowattr.Role, "server")
	}
}

func put(m pcommon.Map, key string, values []string) {
	s := m.PutEmptySlice(key)
	s.EnsureCapacity(len(values))
	for _, v := range values {
		s.AppendEmpty().SetStr(v)
	}
}

// times writes round-trip times as the receiver does.
func times(t *evidence.Times, p pmetric.ExponentialHistogramDataPoint) {
	first, last := 0, len(t)-1
	for first < last && t[first] == 0 {
		first++
	}
	for last > first && t[last] == 0 {
		last--
	}
	p.SetScale(exphist.Scale)
	p.Positive().SetOffset(int32(exphist.Offset + first))
	total := uint64(0)
	counts := p.Positive().BucketCounts()
	counts.EnsureCapacity(last - first + 1)
	for _, n := range t[first : last+1] {
		counts.Append(uint64(n))
		total += uint64(n)
	}
	p.SetCount(total)
}
