// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sockopsreceiver

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// attributes documents what points carry.
var attributes = []struct{ name, example, note string }{
	{flowattr.NetworkTransport, "tcp", ""},
	{flowattr.NetworkType, "ipv4", "or `ipv6`. An IPv4-mapped IPv6 address is IPv4"},
	{flowattr.NetworkLocalAddress, "10.0.1.17", ""},
	{flowattr.NetworkLocalPort, "443", "servers and listeners only; at role `unknown` if it is the server's port"},
	{flowattr.NetworkPeerAddress, "10.0.2.9", ""},
	{flowattr.NetworkPeerPort, "443", "clients only; at role `unknown` if it is the server's port"},
	{flowattr.Role, "client", "`client`, `server`, `unknown`: who opened the connection. `unknown` only for adopted connections of which neither the kernel, nor a listener, nor an ephemeral port tells"},
	{flowattr.NATLocalAddress, "10.2.0.2", "`nat`: what the socket itself holds, where translation changed it; likewise the next three: see [translation](#translation)"},
	{flowattr.NATLocalPort, "8443", "servers only"},
	{flowattr.NATPeerAddress, "172.20.0.10", ""},
	{flowattr.NATPeerPort, "443", "clients only"},
	{flowattr.ContainerID, "3f4a…", "64 digits, where the socket's cgroup tells: see [containers](#containers)"},
	{flowattr.PodUID, "9ac48755-3968-48e4-b9dc-6d4b69f3bb42", "likewise"},
	{flowattr.Overflow, "true", "the overflow flow: besides it only `network.type` and `flow.role`"},
	{flowattr.Phase, "established", "state of the socket when it happened: `connect` is SYN_SENT and SYN_RECV, `established` ESTABLISHED, `close` every later state, data included"},
	{flowattr.RetransmitType, "fast", "`detail: [retransmit_type]`: see `flow.tcp.retransmissions`"},
	{flowattr.Limit, "receiver_window", "`detail: [limits]`: see `flow.tcp.time`"},
	{flowattr.Netns, "4026531840", "`detail: [netns]`: inode of the network namespace, as `/proc/<pid>/ns/net` shows it"},
	{flowattr.ErrorType, "refused", "see the metrics that carry it; absent for an orderly end"},
}

// generated gives the parts of the README that are made from tables.
func generated() map[string]string {
	var metrics, attrs strings.Builder
	metrics.WriteString("| metric | type | unit | extra attributes | meaning |\n| --- | --- | --- | --- | --- |\n")
	for _, m := range flowattr.FlowMetrics {
		extra := ""
		for _, a := range m.Attributes {
			if extra != "" {
				extra += ", "
			}
			extra += "`" + a + "`"
		}
		fmt.Fprintf(&metrics, "| `%s` | %s | %s | %s | %s |\n", m.Name, m.Kind, m.Unit, extra, m.Description)
	}
	attrs.WriteString("| attribute | example | note |\n| --- | --- | --- |\n")
	for _, a := range attributes {
		fmt.Fprintf(&attrs, "| `%s` | `%s` | %s |\n", a.name, a.example, a.note)
	}
	return map[string]string{"metrics": metrics.String(), "attributes": attrs.String()}
}

// The README's tables are those of the code. -update writes them.
func TestTheTablesOfTheREADME(t *testing.T) {
	b, err := os.ReadFile("README.md")
	require.NoError(t, err)
	readme := string(b)
	for name, table := range generated() {
		begin, end := "<!-- begin generated "+name+" -->\n", "<!-- end generated "+name+" -->"
		before, rest, ok := strings.Cut(readme, begin)
		require.True(t, ok, begin)
		present, after, ok := strings.Cut(rest, end)
		require.True(t, ok, end)
		if *update {
			readme = before + begin + table + end + after
			continue
		}
		assert.Equal(t, table, present, "run: go test ./receiver/sockopsreceiver -run README -update")
	}
	if *update {
		require.NoError(t, os.WriteFile("README.md", []byte(readme), 0o644))
	}
}

// Every attribute that is written is in the table, and every one of the table is written.
func TestTheAttributesOfTheREADMEAreThoseOfThePoints(t *testing.T) {
	var sink consumertest.MetricsSink
	synctest.Test(t, func(t *testing.T) {
		play(t, &fakeKernel{rounds: [][]counted{{
			{web, everything(), everyDetail()},
			{in(api, 3), everything(), nil},
			{bpf.FlowKey{Kind: bpf.KindOverflowIPv4, Role: bpf.RoleClient}, everything(), nil},
			{bpf.FlowKey{Local: address("::"), LocalPort: 443, Role: bpf.RoleListener}, bpf.Flow{ListenDrops: 1}, nil},
			{serviceRow, everything(), nil},
			{hostPortRow, everything(), nil},
		}}, tracked: translations(), cgroups: cgroups, synAcks: map[uint32]int64{4026531840: 2}}, &sink, func(c *Config) { c.Detail, c.NAT = detailGroupNames, true })
	})
	written := map[string]bool{}
	extra := map[string]map[string]bool{} // by metric
	eachPoint(sink.AllMetrics(), func(metric string, m pcommon.Map) {
		if extra[metric] == nil {
			extra[metric] = map[string]bool{}
		}
		for k := range m.All() {
			written[k] = true
			switch k {
			case flowattr.Phase, flowattr.ErrorType, flowattr.RetransmitType, flowattr.Limit:
				extra[metric][k] = true
			}
		}
	})
	documented := map[string]bool{}
	for _, a := range attributes {
		documented[a.name] = true
	}
	assert.Equal(t, documented, written)
	for _, m := range flowattr.FlowMetrics {
		want := map[string]bool{}
		for _, a := range m.Attributes {
			want[a] = true
		}
		assert.Equal(t, want, extra[m.Name], m.Name)
	}
}

func eachPoint(batches []pmetric.Metrics, visit func(metric string, attributes pcommon.Map)) {
	for _, md := range batches {
		eachPointOf(md, visit)
	}
}

func eachPointOf(md pmetric.Metrics, visit func(metric string, attributes pcommon.Map)) {
	for _, m := range md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().All() {
		switch m.Type() {
		case pmetric.MetricTypeSum:
			for _, p := range m.Sum().DataPoints().All() {
				visit(m.Name(), p.Attributes())
			}
		case pmetric.MetricTypeGauge:
			for _, p := range m.Gauge().DataPoints().All() {
				visit(m.Name(), p.Attributes())
			}
		case pmetric.MetricTypeExponentialHistogram:
			for _, p := range m.ExponentialHistogram().DataPoints().All() {
				visit(m.Name(), p.Attributes())
			}
		}
	}
}

// Each key of the configuration has its row.
func TestEveryOptionIsInTheREADME(t *testing.T) {
	b, err := os.ReadFile("README.md")
	require.NoError(t, err)
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		if key := field.Tag.Get("mapstructure"); key != "" {
			assert.Contains(t, string(b), "| `"+key+"` |")
		}
	}
}

// Each of the receiver's own metrics is in the README.
func TestEveryOwnMetricIsInTheREADME(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	conf, err := confmaptest.LoadConf("metadata.yaml")
	require.NoError(t, err)
	own, ok := conf.Get("telemetry::metrics").(map[string]any)
	require.True(t, ok)
	for name := range own {
		assert.Contains(t, string(readme), "`otelcol_"+name+"`")
	}
}
