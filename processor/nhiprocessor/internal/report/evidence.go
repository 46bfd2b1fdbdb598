// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"iter"
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

// partPoints is how many points a part of a window has, but for those of its last row. A point takes
// some 350 bytes, so that a part is less than half of the 4 MiB that a gRPC server accepts of one message
// unless it is told otherwise.
const partPoints = 4096

// Evidence writes all that a window holds, in parts, so that a stage of role verdict has the same window
// as one that had seen the flows. There are none when the window is empty. The window has to stay as it is
// until all parts are taken.
func (w *Writer) Evidence(e *evidence.Window, start, end time.Time) iter.Seq[pmetric.Metrics] {
	return func(yield func(pmetric.Metrics) bool) {
		p := parts{writer: w, from: pcommon.NewTimestampFromTime(start), to: pcommon.NewTimestampFromTime(end), yield: yield}
		p.begin()
		p.window(e)
		if p.points > 0 {
			p.end()
		}
	}
}

// parts is a window on its way out.
type parts struct {
	*batch
	writer   *Writer
	from, to pcommon.Timestamp
	points   int // of the part at hand
	yield    func(pmetric.Metrics) bool
}

func (p *parts) begin() {
	p.points = 0
	p.batch = newBatch(pmetric.NewMetrics(), p.to, flowattr.EvidenceMetrics)
}

// end hands the part at hand on. It is false when no more is wanted.
func (p *parts) end() bool {
	p.finish(p.writer, flowattr.EvidenceMetrics)
	return p.yield(p.md)
}

// full ends the part when it has its points. It is false when no more is wanted.
func (p *parts) full() bool {
	if p.points < partPoints {
		return true
	}
	if !p.end() {
		p.points = 0
		return false
	}
	p.begin()
	return true
}

func (p *parts) window(e *evidence.Window) {
	for _, r := range e.Rows {
		k, c := r.Key, r.Counts
		p.row(c, func(m pcommon.Map) { describe(k, m) })
		if c.Times != nil {
			times(c.Times, p.histogram(func(m pcommon.Map) { describe(k, m) }))
		}
		if !p.full() {
			return
		}
	}
	ofMonitor := func(name string) func(pcommon.Map) {
		return func(m pcommon.Map) {
			m.PutStr(flowattr.MonitorName, name)
			m.PutBool(flowattr.Aggregated, true)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Extra)) {
		p.row(e.Extra[name], ofMonitor(name))
		if !p.full() {
			return
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.RTT)) {
		exphist.Add(p.histogram(ofMonitor(name)), e.RTT[name])
		if !p.full() {
			return
		}
	}
}

// row writes counts that are not 0.
func (p *parts) row(c *evidence.Counts, describe func(pcommon.Map)) {
	for f, n := range c.N {
		if n == 0 {
			continue
		}
		p.points++
		pt := p.metrics[wire[f].metric].Sum().DataPoints().AppendEmpty()
		pt.SetStartTimestamp(p.from)
		pt.SetTimestamp(p.to)
		if wire[f].metric == flowattr.MetricEvidenceTime {
			pt.SetDoubleValue(float64(min(n, maxWritten)) / evidence.TimeUnits)
		} else {
			pt.SetIntValue(int64(min(n, maxWritten)))
		}
		describe(pt.Attributes())
		for i := 0; i < len(wire[f].extra); i += 2 {
			pt.Attributes().PutStr(wire[f].extra[i], wire[f].extra[i+1])
		}
	}
}

// histogram writes round-trip times.
func (p *parts) histogram(describe func(pcommon.Map)) pmetric.ExponentialHistogramDataPoint {
	p.points++
	pt := p.metrics[flowattr.MetricEvidenceRTT].ExponentialHistogram().DataPoints().AppendEmpty()
	pt.SetStartTimestamp(p.from)
	pt.SetTimestamp(p.to)
	describe(pt.Attributes())
	return pt
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
