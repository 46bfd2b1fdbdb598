// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package streams

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/exphist"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

func TestEverySlotHasItsStream(t *testing.T) {
	require.Len(t, sumStreams, numSums)
	require.Len(t, histogramStreams, numHistograms)
	require.Len(t, openStreams, phases)

	for slot, want := range map[int]struct{ key, value string }{
		sent:                {key: "", value: flowattr.MetricSent},
		segmentsReceived:    {key: "", value: flowattr.MetricSegmentsReceived},
		retransmissions + 1: {key: flowattr.PhaseEstablished, value: flowattr.MetricRetransmissions},
		timeouts + 2:        {key: flowattr.PhaseClose, value: flowattr.MetricTimeouts},
		attempted:           {key: "", value: flowattr.MetricConnectionsAttempted},
		opened:              {key: "", value: flowattr.MetricConnectionsOpened},
		failed:              {key: flowattr.ErrorRefused, value: flowattr.MetricConnectionsFailed},
		failed + 4:          {key: flowattr.ErrorOther, value: flowattr.MetricConnectionsFailed},
		closed:              {key: "", value: flowattr.MetricConnectionsClosed},
		closed + 1:          {key: flowattr.ErrorReset, value: flowattr.MetricConnectionsClosed},
		closed + 4:          {key: flowattr.ErrorOther, value: flowattr.MetricConnectionsClosed},
		active:              {key: "", value: flowattr.MetricConnectionsActive},
		retransmitting:      {key: "", value: flowattr.MetricConnectionsRetransmitting},
		listenDrops:         {key: "", value: flowattr.MetricListenDrops},
		waited + 1:          {key: flowattr.LimitReceiverWindow, value: flowattr.MetricTime},
		typed + 2:           {key: flowattr.PhaseConnect + " " + flowattr.RetransmitTimeout, value: flowattr.MetricRetransmissions},
		typed + 2*4 + 3:     {key: flowattr.PhaseClose + " " + flowattr.RetransmitSpurious, value: flowattr.MetricRetransmissions},
		zeroWindows:         {key: "", value: flowattr.MetricZeroWindows},
		ecnMarks:            {key: "", value: flowattr.MetricECNMarks},
		synAcks:             {key: "", value: flowattr.MetricSynAckRetransmissions},
	} {
		got := sumStreams[slot]
		assert.Equal(t, want.value, flowattr.FlowMetrics[got.metric].Name, "metric of slot %d", slot)
		assert.Equal(t, want.key, values(got), "attributes of slot %d", slot)
	}
}

func values(s stream) string {
	var all []string
	for _, a := range s.attributes {
		all = append(all, a.value)
	}
	return strings.Join(all, " ")
}

func TestEveryMetricOfTheTableIsWrittenAsItsKind(t *testing.T) {
	written := map[int]flowattr.Kind{}
	for _, s := range sumStreams {
		written[s.metric] = flowattr.KindSum
	}
	for _, s := range openStreams {
		written[s.metric] = flowattr.KindGauge
	}
	for _, s := range histogramStreams {
		written[s.metric] = flowattr.KindExponentialHistogram
	}
	for i, m := range flowattr.FlowMetrics {
		kind, ok := written[i]
		assert.True(t, ok, "%s is not written", m.Name)
		assert.Equal(t, m.Kind, kind, m.Name)
	}
}

func TestNoTwoSlotsShareAStream(t *testing.T) {
	seen := map[string]bool{}
	for _, all := range [][]stream{sumStreams, histogramStreams, openStreams} {
		for _, s := range all {
			id := fmt.Sprint(s)
			assert.False(t, seen[id], id)
			seen[id] = true
		}
	}
}

func TestTheBitsOfBegunCoverAllStreams(t *testing.T) {
	assert.LessOrEqual(t, numStreams, 64)
	assert.LessOrEqual(t, phases, 8, "bits of shown")
	assert.Equal(t, 88, exphist.NBuckets)
}
