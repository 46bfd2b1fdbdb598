// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nhiprocessor

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/fleet"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/metadatatest"
)

// span is a point of one stream, in seconds from the beginning; start -1 is not told.
type span struct {
	start, end float64
	change     func(pmetric.Metric, pmetric.NumberDataPoint)
}

func TestAPointIsEvidenceOfItsTimeOnce(t *testing.T) {
	port := func(port int64) func(pmetric.Metric, pmetric.NumberDataPoint) {
		return func(_ pmetric.Metric, p pmetric.NumberDataPoint) {
			p.Attributes().PutInt(flowattr.NetworkLocalPort, port)
		}
	}
	metric := func(name string) func(pmetric.Metric, pmetric.NumberDataPoint) {
		return func(m pmetric.Metric, _ pmetric.NumberDataPoint) { m.SetName(name) }
	}
	for _, tt := range []struct {
		name      string
		spans     []span
		evidence  int64
		misplaced map[string]int64
	}{
		{"one after the other", []span{{0, 2, nil}, {2, 4, nil}, {4, 6, nil}}, 3, nil},
		{"the same again", []span{{0, 2, nil}, {0, 2, nil}, {2, 4, nil}, {2, 4, nil}}, 2, map[string]int64{"duplicate": 2}},
		{"an older one again", []span{{0, 2, nil}, {2, 4, nil}, {4, 6, nil}, {0, 2, nil}}, 3, map[string]int64{"duplicate": 1}},
		{"one that has most of another", []span{{0, 2, nil}, {0.5, 3, nil}}, 1, map[string]int64{"duplicate": 1}},
		{"a clock that was set back by a little", []span{{0, 2, nil}, {1.8, 4, nil}}, 2, nil},
		{"out of order", []span{{2, 4, nil}, {0, 2, nil}}, 2, nil},
		{"out of order, and again", []span{{2, 4, nil}, {0, 2, nil}, {0, 2, nil}, {2, 4, nil}}, 2, map[string]int64{"duplicate": 2}},
		{"after a gap", []span{{0, 2, nil}, {6, 8, nil}, {6, 8, nil}}, 2, map[string]int64{"duplicate": 1}},
		{"without a start nothing is known", []span{{-1, 2, nil}, {-1, 2, nil}}, 2, nil},
		{"of two ports", []span{{0, 2, port(80)}, {0, 2, port(443)}}, 2, nil},
		{"of two metrics", []span{{0, 2, metric(flowattr.MetricSegmentsSent)}, {0, 2, metric(flowattr.MetricRetransmissions)}}, 2, nil},
		{"of two phases", []span{{0, 2, func(m pmetric.Metric, p pmetric.NumberDataPoint) {
			m.SetName(flowattr.MetricRetransmissions)
			p.Attributes().PutStr(flowattr.Phase, flowattr.PhaseEstablished)
		}}, {0, 2, func(m pmetric.Metric, p pmetric.NumberDataPoint) {
			m.SetName(flowattr.MetricRetransmissions)
			p.Attributes().PutStr(flowattr.Phase, flowattr.PhaseClose)
		}}}, 2, nil},
		{"of two windows", []span{{-2, 0, nil}, {0, 10, nil}}, 2, nil},
		{"of more than two windows", []span{{-2, 0, nil}, {0, 10.5, nil}, {10.5, 12, nil}}, 2, map[string]int64{"interval": 1}},
		{"a stream that was silent, of an agent that was not", []span{{-30, -28, port(80)}, {8, 10, port(443)}, {-28, 12, port(80)}}, 3, nil},
		{"of an hour, when the agent is first heard", []span{{-3590, 10, nil}}, 1, nil},
		{"of another stream out of order", []span{{-2, 0, nil}, {8, 10, nil}, {-20, 9, port(80)}}, 3, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// Nothing becomes due while points are consumed: what is out of order is not late.
				b := newBench(t, func(c *Config) { c.Lateness = time.Minute })
				begin := time.Now().Add(-12 * time.Second)
				sent := int64(0)
				for _, s := range tt.spans {
					at := func(s float64) pcommon.Timestamp {
						return pcommon.NewTimestampFromTime(begin.Add(time.Duration(s * float64(time.Second))))
					}
					b.consume(batch(func(m pmetric.Metric, p pmetric.NumberDataPoint) {
						if s.change != nil {
							s.change(m, p)
						}
						p.SetTimestamp(at(s.end))
						if s.start != -1 {
							p.SetStartTimestamp(at(s.start))
						}
					}))
					sent++
				}
				metadatatest.AssertEqualProcessorNhiPoints(t, b.telemetry, number(tt.evidence), anyTime)
				misplaced := int64(0)
				for _, n := range tt.misplaced {
					misplaced += n
				}
				assert.Equal(t, sent, tt.evidence+misplaced, "each is counted once")
				if misplaced > 0 {
					metadatatest.AssertEqualProcessorNhiPointsMisplaced(t, b.telemetry, byReason(tt.misplaced), anyTime)
				}
				b.stop()
			})
		})
	}
}

// A batch that comes twice, as exporters send it that heard no answer, says what it says once.
func TestBatchesThatComeTwiceChangeNoVerdict(t *testing.T) {
	play := func(times int) (out []said) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, nil)
			f, _, _ := fleet.TwoVPCs(1, 4, 3)
			f.Faults = []fleet.Fault{fleet.On("transit_gateway/tgw-1", fleet.Loss{Rate: 0.02, Burst: 1})}
			for range 12 {
				start := time.Now()
				time.Sleep(b.round)
				md := fleet.Points(f.Window(), start, time.Now())
				for range times {
					again := pmetric.NewMetrics()
					md.CopyTo(again)
					b.consume(again)
				}
			}
			b.settle()
			out = b.verdicts()
			b.stop()
		})
		return out
	}
	once, thrice := play(1), play(3)
	assert.NotEmpty(t, once)
	assert.Equal(t, once, thrice)
}
