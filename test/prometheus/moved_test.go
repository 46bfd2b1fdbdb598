// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package prometheus

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
)

// TestAHostThatGoesToAnotherGatewayAndBackIsCountedOnce sends rounds to one of two gateways, to the other, and to the first
// again. All series begin at both gateways before the time that is asked for.
func TestAHostThatGoesToAnotherGatewayAndBackIsCountedOnce(t *testing.T) {
	t.Parallel()
	topology, err := filepath.Abs(filepath.Join(example, "topology.yaml"))
	require.NoError(t, err)
	gateway := func(t *testing.T, file string, variables ...string) (otlp string) {
		otlp = collector.FreeAddress(t)
		process := collector.StartExample(t, filepath.Join(example, file), append(variables, "FLOWMONITOR_OTLP="+collector.FreeAddress(t),
			"FLOWMONITOR_OTLP_HTTP="+otlp, "FLOWMONITOR_SELF_PORT="+port(collector.FreeAddress(t)), "FLOWMONITOR_TOPOLOGY="+topology)...)
		t.Cleanup(func() { process.Stop(t) })
		return otlp
	}
	t.Run("scraped", func(t *testing.T) {
		listen := []string{collector.FreeAddress(t), collector.FreeAddress(t)}
		otlp := []string{gateway(t, "gateway.yaml", "FLOWMONITOR_LISTEN="+listen[0]), gateway(t, "gateway.yaml", "FLOWMONITOR_LISTEN="+listen[1])}
		s := startServer(t, quick(t, listen[0]+", "+listen[1], "127.0.0.1:1"))
		f := newFleet(time.Now().Add(-30 * step).Truncate(step))
		// Until the server has what the gateway has been sent: what increase() grows by has to lie between samples.
		shows := func(gateway int, want float64) {
			require.Eventually(t, func() bool {
				got, err := s.ask(fmt.Sprintf(`sum(flow_tcp_sent_bytes_total{gateway=%q})`, listen[gateway]), time.Now())
				return err == nil && len(got) == 1 && got[0].value == want
			}, 30*time.Second, 100*time.Millisecond, "gateway %d: %v", gateway, want)
		}
		sent := []float64{0, 0}
		rounds := func(gateway, n int) {
			before := f.truth.metric["flow.tcp.sent"]
			for range n {
				send(t, otlp[gateway], f.next(false))
			}
			sent[gateway] += f.truth.metric["flow.tcp.sent"] - before
			shows(gateway, sent[gateway])
		}
		rounds(0, 40) // till the last conversation has begun
		rounds(1, 1)
		began, before := time.Now(), f.truth.copy()
		rounds(0, 1)
		rounds(1, 2)
		rounds(0, 2)
		time.Sleep(3 * time.Second) // some scrapes of both, in turn
		at := time.Now()
		for _, series := range []string{"flow_tcp_sent_bytes_total", "flow_cost_sent_bytes_total"} {
			expr := fmt.Sprintf("sum(%s) - sum(%s offset %dms)", series, series, at.Sub(began).Milliseconds())
			want := f.truth.metric["flow.tcp.sent"] - before.metric["flow.tcp.sent"]
			assert.Equal(t, want, s.value(t, expr, at), series)
			resets := s.value(t, fmt.Sprintf("sum(resets(%s[%dms]))", series, at.Sub(began).Milliseconds()), at)
			assert.Zero(t, resets, series)
		}
	})
	t.Run("written", func(t *testing.T) {
		s := startServer(t, "global: {}\n")
		write := "FLOWMONITOR_REMOTE_WRITE=http://" + s.address + "/api/v1/write"
		otlp := []string{gateway(t, "remote-write.yaml", write, "FLOWMONITOR_GATEWAY_NAME=a"), gateway(t, "remote-write.yaml", write, "FLOWMONITOR_GATEWAY_NAME=b")}
		f := newFleet(time.Now().Add(-50 * step).Truncate(step))
		for range 40 {
			send(t, otlp[0], f.next(false))
		}
		send(t, otlp[1], f.next(false))
		began, before := f.now, f.truth.copy()
		for i := range 6 {
			send(t, otlp[i/2%2], f.next(false))
		}
		at := f.now
		want := f.truth.metric["flow.tcp.sent"] - before.metric["flow.tcp.sent"]
		// flowlimit holds the newest round until its time is over.
		require.Eventually(t, func() bool {
			got, err := s.ask(fmt.Sprintf("sum(last_over_time(flow_tcp_sent_bytes_total[1h])) - sum(last_over_time(flow_tcp_sent_bytes_total[1h] offset %ds))", int(at.Sub(began).Seconds())), at)
			return err == nil && len(got) == 1 && got[0].value == want
		}, 30*time.Second, 200*time.Millisecond)
		assert.Zero(t, s.value(t, "sum(resets(flow_tcp_sent_bytes_total[1h]))", at))
	})
}
