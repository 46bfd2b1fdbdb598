// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nhiprocessor

import (
	"math"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"
)

// observation is what a batch says, read before the batch is handed on and counted once
// the next consumer took it.
type observation struct {
	points     []observed
	histograms []pmetric.ExponentialHistogramDataPoint // reused; the first used ones hold data
	used       int
	uncounted  [uncountedReasons]int64
	verdict    bool // evidence is read, not flows
	flows      bool // there were some all the same

	event, direction string
	addresses        []string

	identity                         evidence.Identity
	resource, series                 evidence.Series
	agents                           []*agent // of the resources; the last is that of the points at hand
	phase, errorType, retransmitType string
	limit                            string
}

// observed is one point that counts.
type observed struct {
	key       *evidence.Key // nil: no evidence, for the reason that refusal gives
	set       *evidence.MonitorSet
	start, at int64 // Unix time in ns; start 0: not told
	value     uint64
	histogram int32 // index of the point's histogram, or -1
	agent     int32 // index of the point's agent
	field     evidence.Field
	refusal   evidence.Refusal
	stream    *evidence.Stream
	// sums says that the point is a monitor's sum, and no evidence.
	sums bool
}

// uncounted says why a point counts in no sum.
type uncounted uint8

const (
	cumulative   uncounted = iota // only deltas can be counted
	malformed                     // a value or type that the metric cannot have
	unenriched                    // flowmonitor did not see the flow, or may not write on it
	monitorLimit                  // some monitor of the flow is past max_monitors
	undelivered                   // the next consumer refused the batch, which will come again
	uncountedReasons
)

var uncountedNames = [uncountedReasons]string{"cumulative", "malformed", "unenriched", "monitor_limit", "undelivered"}

// maxValue is the largest count that is believed: 2⁵³, up to which doubles are exact. Of
// bytes it is what 100 Gbit/s carry in eight days.
const maxValue = 1 << 53

func (o *observation) reset() {
	clear(o.points) // keys of a table are not held by an idle observation
	o.points = o.points[:0]
	o.used, o.flows = 0, false
	clear(o.agents)
	o.agents = o.agents[:0]
	o.uncounted = [uncountedReasons]int64{}
	o.identity = evidence.Identity{Path: o.identity.Path[:0], Monitors: o.identity.Monitors[:0]}
}

// read takes what counts out of a batch.
func (o *observation) read(md pmetric.Metrics, table *evidence.Table, known agents, limit int) {
	for i := range md.ResourceMetrics().Len() {
		rm := md.ResourceMetrics().At(i)
		host := ""
		if v, ok := rm.Resource().Attributes().Get(flowattr.HostID); ok {
			host = v.Str()
		}
		o.resource = 0
		if v, ok := rm.Resource().Attributes().Get(serviceInstance); ok {
			o.resource.Add(v.Str())
		}
		if host != "" {
			o.resource.Add(host)
		}
		var by *agent
		if o.resource != 0 {
			by = known.of(o.resource, limit)
		}
		o.agents = append(o.agents, by)
		for j := range rm.ScopeMetrics().Len() {
			metrics := rm.ScopeMetrics().At(j).Metrics()
			for k := range metrics.Len() {
				o.readMetric(metrics.At(k), host, table)
			}
		}
	}
}

// serviceInstance tells who wrote points: two stages may tell of the same flow.
const serviceInstance = "service.instance.id"

func (o *observation) readMetric(m pmetric.Metric, host string, table *evidence.Table) {
	name, rtt, by := m.Name(), flowattr.MetricRTT, readers
	o.series = o.resource
	o.series.Add(name)
	if o.verdict {
		rtt, by = flowattr.MetricEvidenceRTT, evidenceReaders
	}
	if name == rtt {
		o.readRTT(m, host, table)
		return
	}
	field := by[name]
	if field == nil {
		o.flows = o.flows || readers[name] != nil
		return
	}
	if m.Type() != pmetric.MetricTypeSum {
		o.uncounted[malformed] += points(m)
		return
	}
	if m.Sum().AggregationTemporality() != pmetric.AggregationTemporalityDelta {
		o.uncounted[cumulative] += points(m)
		return
	}
	units := 1.0
	if name == flowattr.MetricTime || name == flowattr.MetricEvidenceTime {
		units = evidence.TimeUnits
	}
	dps := m.Sum().DataPoints()
	for i := range dps.Len() {
		dp := dps.At(i)
		if dp.Flags().NoRecordedValue() {
			continue
		}
		value, ok := count(dp, units)
		if !ok {
			o.uncounted[malformed]++
			continue
		}
		if p := o.identify(dp.Attributes(), host, table); p != nil {
			p.start, p.at, p.value, p.field = int64(dp.StartTimestamp()), int64(dp.Timestamp()), value, field(o)
		}
	}
}

// identify reads whose point it is and appends it. It is nil for a point that cannot count.
func (o *observation) identify(attributes pcommon.Map, host string, table *evidence.Table) *observed {
	id := &o.identity
	id.Reset()
	o.phase, o.errorType, o.retransmitType, o.event, o.direction, o.limit = "", "", "", "", "", ""
	series := o.series
	o.addresses = o.addresses[:0]
	for k, v := range attributes.All() {
		switch k {
		case flowattr.NetworkLocalAddress:
			id.LocalAddress = v.Str()
		case flowattr.NetworkPeerAddress:
			id.RemoteAddress = v.Str()
		case flowattr.LocalPrefix + flowattr.HostID:
			id.LocalHost = v.Str()
		case flowattr.RemotePrefix + flowattr.HostID:
			id.RemoteHost = v.Str()
		case flowattr.LocalPrefix + flowattr.AWSVPCID:
			id.LocalVPC = v.Str()
		case flowattr.RemotePrefix + flowattr.AWSVPCID:
			id.RemoteVPC = v.Str()
		case flowattr.LocalPrefix + flowattr.AWSAZID:
			id.LocalZone = v.Str()
		case flowattr.RemotePrefix + flowattr.AWSAZID:
			id.RemoteZone = v.Str()
		case flowattr.Role:
			switch v.Str() {
			case "client":
				id.Role = evidence.RoleClient
			case "server":
				id.Role = evidence.RoleServer
			}
		case flowattr.RemoteAWSService:
			id.Service = v.Str()
		case flowattr.Category:
			id.Category = v.Str()
		case flowattr.Unresolved:
			id.Unresolved = true
		case flowattr.Aggregated:
			id.Aggregated = v.Bool()
		case flowattr.Path:
			id.Path = appendAll(id.Path, v)
		case flowattr.Monitors:
			id.Monitors = appendAll(id.Monitors, v)
		case flowattr.ComponentSet:
			if o.verdict {
				id.Path = appendAll(id.Path, v)
			}
		case flowattr.MonitorName:
			if o.verdict {
				if id.Monitors = appendAll(id.Monitors, v); v.Type() == pcommon.ValueTypeStr {
					id.Monitors = append(id.Monitors, v.Str())
				}
			}
		case flowattr.LocalAddresses:
			o.addresses = appendAll(o.addresses, v)
		case flowattr.ConnectionEvent:
			o.event = v.Str()
		case flowattr.IODirection:
			o.direction = v.Str()
		case flowattr.Phase:
			o.phase = v.Str()
		case flowattr.ErrorType:
			o.errorType = v.Str()
		case flowattr.Limit:
			o.limit = v.Str()
		case flowattr.RetransmitType:
			o.retransmitType = v.Str()
		case flowattr.NetworkTransport, flowattr.NetworkType, flowattr.LocalPrefix + flowattr.AWSSubnetID, flowattr.RemotePrefix + flowattr.AWSSubnetID:
			// The same for all streams of an identity.
		default:
			other(&series, k, v)
		}
	}
	for _, s := range [...]string{id.RemoteAddress, o.phase, o.errorType, o.retransmitType, o.event, o.direction, o.limit} {
		if s != "" {
			series.Add(s)
		}
	}
	if o.verdict {
		return o.identifyEvidence(series, table)
	}
	if !id.Enriched() {
		o.uncounted[unenriched]++
		return nil
	}
	if id.LocalHost == "" {
		id.LocalHost = host
	}
	key, set, refusal := table.Lookup(id)
	if set.Refused {
		o.uncounted[monitorLimit]++
	}
	o.points = append(o.points, observed{key: key, set: set, refusal: refusal, histogram: -1, agent: int32(len(o.agents) - 1), stream: table.Stream(id, series)})
	return &o.points[len(o.points)-1]
}

// identifyEvidence is the same for a row of evidence: what is no evidence was told apart by the
// stage before, and carries its monitors only.
func (o *observation) identifyEvidence(series evidence.Series, table *evidence.Table) *observed {
	id := &o.identity
	id.Evidence = true
	sums := id.Aggregated
	var key *evidence.Key
	var set *evidence.MonitorSet
	var refusal evidence.Refusal
	if len(o.addresses) == 0 {
		key, set, refusal = table.Lookup(id)
	}
	path, monitors, vpc, address := len(id.Path), len(id.Monitors), id.RemoteVPC, id.RemoteAddress
	for _, a := range o.addresses {
		// One look-up for each address, so that all of them are known to be the host's.
		id.Path, id.Monitors = id.Path[:path], id.Monitors[:monitors]
		id.LocalAddress, id.RemoteVPC, id.RemoteAddress = a, vpc, address
		key, set, refusal = table.Lookup(id)
	}
	if set.Refused {
		o.uncounted[monitorLimit]++
	}
	o.points = append(o.points, observed{key: key, set: set, refusal: refusal, histogram: -1, agent: int32(len(o.agents) - 1), sums: sums, stream: table.Stream(id, series)})
	return &o.points[len(o.points)-1]
}

// other mixes an attribute that is no part of the identity into the series. The length of its key
// tells local from peer.
func other(series *evidence.Series, key string, v pcommon.Value) {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		series.Add(v.Str())
	case pcommon.ValueTypeInt:
		series.AddInt(v.Int()<<8 + int64(len(key)))
	}
}

func appendAll(to []string, v pcommon.Value) []string {
	if v.Type() != pcommon.ValueTypeSlice {
		return to
	}
	s := v.Slice()
	for i := range s.Len() {
		to = append(to, s.At(i).Str())
	}
	return to
}

// count is a point's value as a count of units, of which one of the metric's unit is so many.
func count(dp pmetric.NumberDataPoint, units float64) (uint64, bool) {
	switch dp.ValueType() {
	case pmetric.NumberDataPointValueTypeInt:
		v := dp.IntValue()
		if units == 1 || v == 0 {
			return uint64(v), v >= 0 && v <= maxValue
		}
		return rounded(float64(v) * units)
	case pmetric.NumberDataPointValueTypeDouble:
		return rounded(dp.DoubleValue() * units)
	}
	return 0, false
}

func rounded(v float64) (uint64, bool) {
	if !(v >= 0 && v <= maxValue) { // false for NaN, too
		return 0, false
	}
	return uint64(math.Round(v)), true
}

// points counts the points of a metric of any type.
func points(m pmetric.Metric) int64 {
	switch m.Type() {
	case pmetric.MetricTypeSum:
		return int64(m.Sum().DataPoints().Len())
	case pmetric.MetricTypeGauge:
		return int64(m.Gauge().DataPoints().Len())
	case pmetric.MetricTypeHistogram:
		return int64(m.Histogram().DataPoints().Len())
	case pmetric.MetricTypeExponentialHistogram:
		return int64(m.ExponentialHistogram().DataPoints().Len())
	case pmetric.MetricTypeSummary:
		return int64(m.Summary().DataPoints().Len())
	}
	return 0
}
