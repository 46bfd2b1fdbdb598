// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package conformance

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
	"github.com/otel-flowmonitor/flowmonitor/test/internal/hosts"
)

func TestTimesFallIntoTheBucketsThatTheKernelAndTheApplicationsSay(t *testing.T) {
	const n = 20
	h := newTwoHosts(t)
	client, server := h.observed(t)
	_, to := h.serve(t, netlab.ServerConfig{})
	// 40 ms there and back lie in the middle of a bucket: 37.2 to 44.2 ms.
	_, err := h.server.Link().Fault(netlab.Delay{Delay: 20 * time.Millisecond}, netlab.Both)
	require.NoError(t, err)
	atClient := hosts.Watch(t, h.client)
	report, err := h.client.RunClient(t.Context(), netlab.ClientConfig{
		Targets: to, Connections: n, Concurrency: 4, Exchanges: 5, Upload: netlab.Exactly(100), Download: netlab.Exactly(100),
	})
	require.NoError(t, err)
	require.Equal(t, n, report.Opened)
	_, sockets := atClient.Sockets(t, n)
	batches := client.stop(t)
	server.stop(t)

	var waited time.Duration
	byApp := map[int]uint64{}
	for _, c := range report.Conns {
		waited += c.Connect
		byApp[bucketOf(c.Connect)]++
	}
	connect := histogramOf(batches, flowattr.MetricConnectDuration)
	assert.EqualValues(t, n, connect.count)
	assert.InEpsilon(t, waited, connect.sum, 0.05)
	assert.Greater(t, connect.min, 40*time.Millisecond)
	assert.Equal(t, mostOf(byApp), mostOf(connect.buckets))

	// The kernel keeps the smallest sample of each socket.
	least := uint32(math.MaxUint32)
	for _, s := range sockets {
		least = min(least, s.Info.MinRTT)
	}
	rtt := histogramOf(batches, flowattr.MetricRTT)
	assert.Equal(t, bucketOf(time.Duration(least)*time.Microsecond), bucketOf(rtt.min), "%d µs, %v", least, rtt.min)
	assert.InDelta(t, time.Duration(least)*time.Microsecond, rtt.min, float64(time.Millisecond))
	for i, count := range rtt.buckets {
		assert.GreaterOrEqual(t, i, bucketOf(rtt.min), "%d samples", count)
		assert.LessOrEqual(t, i, bucketOf(rtt.max), "%d samples", count)
	}
	assert.GreaterOrEqual(t, rtt.count, uint64(n*5), "at least one sample an exchange")
	assert.Equal(t, bucketOf(40*time.Millisecond), mostOf(rtt.buckets))
}

// mostOf is the bucket with the most samples.
func mostOf(buckets map[int]uint64) (best int) {
	for i, n := range buckets {
		if n > buckets[best] || buckets[best] == 0 {
			best = i
		}
	}
	return best
}
